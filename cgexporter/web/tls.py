"""A web configuration's TLS section → an `ssl.SSLContext`."""

import contextlib
import ipaddress
import os
import ssl
import stat
from asyncio import sslproto
from collections.abc import Iterator
from typing import Any

from cgexporter.document import ConfigError
from cgexporter.web.config import Tls

_VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
_VERIFY = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
# Forward secrecy and authenticated encryption alone: Mozilla's "intermediate" less DHE.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
# asyncio gives each TLS connection a buffer of 256 KiB, which for 500 idle clients are 140 MB. Two
# records of TLS are enough for what comes in.
_BUFFER_BYTES = 32 * 1024


def context(path: str, tls: Tls) -> ssl.SSLContext:
    """What handshakes are made with.

    Args:
        path: name of the web configuration, for messages.
        tls: its section.

    Raises:
        ConfigError: a certificate or key cannot be used.
    """
    sslproto.SSLProtocol.max_size = _BUFFER_BYTES
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = _VERSIONS[tls.min_version]
    made.maximum_version = _VERSIONS[tls.max_version]
    # Renegotiation has no use over HTTP/1.1, and costs the server more than the client.
    made.options |= ssl.OP_NO_RENEGOTIATION
    if tls.prefer_server_ciphers:
        made.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    else:
        made.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    made.set_alpn_protocols(["http/1.1"])
    try:
        made.set_ciphers(":".join(tls.ciphers) or _CIPHERS)
    except ssl.SSLError as exc:
        raise ConfigError(path, f"cipher_suites: this OpenSSL has none of them: {exc}") from None
    _set_curves(path, made, tls.curves)
    _load_certificate(path, made, tls)
    if tls.client_ca_file or tls.client_ca:
        _load_authority(path, made, tls)
    made.verify_mode = _VERIFY[tls.client_auth]
    return made


def _set_curves(path: str, made: Any, curves: tuple[str, ...]) -> None:
    if not curves:
        return
    if len(curves) > 1 and not hasattr(made, "set_groups"):
        raise ConfigError(
            path,
            "curve_preferences: Python before 3.15 can set one curve only; name one, or none "
            "for OpenSSL's choice",
        )
    try:
        if len(curves) > 1:
            made.set_groups(":".join(curves))
        else:
            made.set_ecdh_curve(curves[0])
    except (ValueError, ssl.SSLError) as exc:
        raise ConfigError(path, f"curve_preferences: this OpenSSL refuses them: {exc}") from None


def _load_certificate(path: str, made: ssl.SSLContext, tls: Tls) -> None:
    with _named(tls.cert_file, tls.cert) as cert, _named(tls.key_file, tls.key) as key:
        place = tls.cert_file or path
        try:
            made.load_cert_chain(cert, key, password=_no_password)
        except ssl.SSLError as exc:
            problem = {
                "KEY_VALUES_MISMATCH": "the certificate is not that of the key",
                "EE_KEY_TOO_SMALL": "the certificate's key is too short",
                "CA_MD_TOO_WEAK": "the certificate's signature is too weak",
            }.get(exc.reason or "", exc.reason or "no certificate or key in PEM form")
            raise ConfigError(place, problem) from None
        except _EncryptedKeyError:
            raise ConfigError(tls.key_file or path, "the key is encrypted; decrypt it") from None
        except OSError as exc:
            for file in (tls.cert_file, tls.key_file):
                if file and not os.access(file, os.R_OK):
                    place = file
            raise ConfigError(place, exc.strerror or str(exc)) from None


def _load_authority(path: str, made: ssl.SSLContext, tls: Tls) -> None:
    place = tls.client_ca_file or path
    try:
        made.load_verify_locations(tls.client_ca_file or None, cadata=tls.client_ca or None)
    except (ssl.SSLError, ValueError):
        raise ConfigError(place, "client_ca: no certificate in PEM form") from None
    except OSError as exc:
        raise ConfigError(place, exc.strerror or str(exc)) from None
    if not made.cert_store_stats()["x509"]:
        raise ConfigError(place, "client_ca: no certificate in it")


class _EncryptedKeyError(Exception):
    """A key that only a person could open."""


def _no_password() -> str:
    raise _EncryptedKeyError  # OpenSSL would ask on the terminal


@contextlib.contextmanager
def _named(file: str, text: str) -> Iterator[str]:
    """The name of a file with a certificate or key; an inline one never reaches a disk."""
    if file:
        yield file
        return
    fd = os.memfd_create("pem", os.MFD_CLOEXEC)
    try:
        os.write(fd, text.encode())
        yield f"/dev/fd/{fd}"
    finally:
        os.close(fd)


def exposed_key(tls: Tls) -> str:
    """The key file, where every user of the host may read it; "" otherwise."""
    if tls.key_file and os.stat(tls.key_file).st_mode & (stat.S_IROTH | stat.S_IWOTH):
        return tls.key_file
    return ""


def is_allowed(tls: Tls, certificate: dict[str, Any] | None) -> bool:
    """Whether a client's verified certificate has one of the names that the configuration asks for.

    Args:
        tls: the section.
        certificate: as `ssl.SSLSocket.getpeercert` gives it; None where the client has none,
            which only VerifyClientCertIfGiven lets through.
    """
    if not tls.allowed_sans or not certificate:
        return True
    names = set()
    for kind, text in certificate.get("subjectAltName", ()):
        if kind == "IP Address":
            with contextlib.suppress(ValueError):
                names.add(str(ipaddress.ip_address(text.strip())))
        elif kind in ("DNS", "email", "URI"):
            names.add(text)
    return not names.isdisjoint(tls.allowed_sans)
