"""Whom a client of the API server and the kubelet believes."""

import contextlib
import socket
import ssl
import threading
from pathlib import Path

import pytest

from cgexporter.names.http import HttpError, Server
from tests.integration.support import program
from tests.tools.certificates import Authority

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


def ask(certificate: tuple[Path, Path], ca_file: Path) -> bytes:
    """Ask a server with this certificate; its answer."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)

    def answer(listening: socket.socket) -> None:
        # The client hangs up on whom it does not believe.
        with contextlib.suppress(OSError):
            accepted, _ = listening.accept()
            with context.wrap_socket(accepted, server_side=True) as connection:
                connection.recv(4096)
                connection.sendall(_ANSWER)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=answer, args=[listening])
        thread.start()
        url = f"https://127.0.0.1:{listening.getsockname()[1]}"
        try:
            with Server(url=url, ca_file=str(ca_file)).get("/", 5) as response:
                return bytes(response.body()).strip()  # padded
        finally:
            thread.join()


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """One whose certificates have no key identifiers, and Python as strict as from 3.13 on."""
    program("openssl", "openssl")
    default = ssl.create_default_context

    def strict(cafile: str) -> ssl.SSLContext:
        context = default(cafile=cafile)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", strict)
    return Authority(tmp_path)


def test_no_key_identifiers(authority: Authority) -> None:
    """A server is believed whose certificate has none, as EKS's and MicroK8s' have not."""
    certificate = authority.issue("server", "IP:127.0.0.1", "authorityKeyIdentifier=none\n")
    assert ask(certificate, authority.certificate) == b"{}"


def test_others_are_refused(authority: Authority, tmp_path: Path) -> None:
    """One of another authority, or with another name, is not believed."""
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(HttpError, match="the certificate is not trusted"):
        ask(Authority(other).issue("server", "IP:127.0.0.1"), authority.certificate)
    with pytest.raises(HttpError, match="certificate is not valid for"):
        ask(authority.issue("named", "IP:192.0.2.1"), authority.certificate)
