"""A kubelet, an API server and runtimes' sockets that tell of containers, secrets and all.

They answer as the real ones do: in chunks, over TLS, an event of a watch when it happens.
"""

import contextlib
import http.server
import json
import secrets
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.tools.certificates import Authority
from tests.tools.hosts import hex_id

Answer = Callable[[str], Iterator[bytes] | None]


def handler(answer: Answer, *, chunked: bool) -> type[http.server.BaseHTTPRequestHandler]:
    """Answers a path with pieces, or with 404."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            pieces = answer(self.path)
            if pieces is None:
                self.send_error(404)
                return
            self.send_response(200)
            whole = b""
            if chunked:
                self.send_header("Transfer-Encoding", "chunked")
            else:
                whole = b"".join(pieces)
                self.send_header("Content-Length", str(len(whole)))
            self.end_headers()
            with contextlib.suppress(OSError):  # who asked has gone
                for piece in pieces:
                    self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                self.wfile.write(b"0\r\n\r\n" if chunked else whole)

        def address_string(self) -> str:
            return ""

        def log_message(self, *words: object) -> None:
            """Say nothing."""

    return Handler


class Tellers:
    """All of them, with a secret for each.

    Attributes:
        secrets: by where they are told, what may be nowhere else.
        names: by the same, what has to be in the memory of who was told.
    """

    def __init__(self, home: Path, tls: ssl.TLSVersion) -> None:
        self.secrets: dict[str, bytes] = {}
        self.names: dict[str, bytes] = {}
        self._home = home
        self._ended = threading.Event()
        self._news = threading.Event()
        authority = Authority(home)
        self.ca_file = authority.certificate
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.minimum_version = self._context.maximum_version = tls
        self._context.load_cert_chain(*authority.issue("server"))
        self._servers: list[socketserver.BaseServer] = []
        self._pods = {number: self._pod("kubelet", number) for number in range(20)}
        self._listed = {number: self._pod("list", number) for number in range(20, 40)}

    def _secret(self, where: str, number: int) -> str:
        secret = self.secrets.setdefault(where, secrets.token_hex(24).encode())
        self.names[where] = f"{where}-{number}".encode()  # the last of many
        return secret.decode()

    def _pod(
        self, where: str, number: int, *, variables: int | None = None, fill: int = 0
    ) -> dict[str, Any]:
        """A pod with a secret where pods have them; larger than a TLS record for most numbers."""
        secret = self._secret(where, number)
        env = [{"name": "DB_PASSWORD", "value": secret}]
        many = number if variables is None else variables
        env += [{"name": f"F{n}", "value": secret * (1 + n)} for n in range(many)]
        app = {"name": "app", "env": env, "args": ["--password", secret], "filler": "x" * fill}
        return {
            "metadata": {
                "name": f"{where}-{number}",
                "namespace": "shop",
                "uid": f"{number:08x}-0000-4000-8000-000000000000",
                "resourceVersion": "5",
                "labels": {"app": f"app-{where}-{number}", "private": secret},
                "annotations": {
                    "kubectl.kubernetes.io/last-applied-configuration": json.dumps({"spec": app})
                },
            },
            "spec": {"initContainers": [], "containers": [app]},
            "status": {
                "qosClass": "Guaranteed",
                "message": secret,
                "containerStatuses": [
                    {"name": "app", "containerID": f"containerd://{hex_id(f'pod-{number}')}"}
                ],
            },
        }

    @staticmethod
    def path(number: int) -> str:
        """Path of the cgroup of a pod's container."""
        uid = f"{number:08x}_0000_4000_8000_000000000000"
        scope = f"cri-containerd-{hex_id(f'pod-{number}')}.scope"
        return f"/kubepods.slice/kubepods-pod{uid}.slice/{scope}"

    def kubelet(self) -> str:
        """Serve ``/pods``, in a body of a known length."""

        def answer(path: str) -> Iterator[bytes] | None:
            return _torn({"items": list(self._pods.values())}) if path == "/pods" else None

        return self._over_tls(handler(answer, chunked=False))

    def api(self) -> str:
        """Serve lists and watches: news come when `tell` is called, and then it is quiet."""

        def answer(path: str) -> Iterator[bytes] | None:
            if not path.startswith("/api/v1/pods?"):
                return None
            if "watch=1" in path:
                return self._watch()
            return _torn({"metadata": {"resourceVersion": "1"}, "items": [*self._listed.values()]})

        return self._over_tls(handler(answer, chunked=True))

    def tell(self) -> None:
        """Let the watch tell of pods: one new, large and in pieces, others changed."""
        self._news.set()

    def _watch(self) -> Iterator[bytes]:
        self._news.wait()
        yield from _torn({"type": "ADDED", "object": self._pod("watch", 40, fill=300_000)})
        for number in range(20, 40):
            yield from _torn({"type": "MODIFIED", "object": self._pod("changed", number)})
        small = {"type": "MODIFIED", "object": self._pod("last", 20, variables=1)}
        yield json.dumps(small).encode() + b"\n"
        self._ended.wait()

    def docker(self) -> Path:
        """Serve the list of containers, with what the real one does not tell either."""
        listed = [
            {
                "Id": hex_id(f"socket-{n}"),
                "Names": [f"/docker-{n}"],
                "Env": self._secret("docker", n),
            }
            for n in range(20)
        ]
        return self._on_socket("docker", {"/containers/json": listed})

    def crio(self) -> Path:
        """Serve CRI-O's inspection of each container."""
        told = {
            f"/containers/{hex_id(f'crio-{n}')}": {
                "name": f"crio-{n}",
                "image": "lab:1",
                "annotations": {
                    "io.kubernetes.container.name": f"crio-{n}",
                    "org.example.env": self._secret("crio", n) * (1 + 40 * n),
                },
            }
            for n in range(20)
        }
        return self._on_socket("crio", told)

    def _on_socket(self, name: str, told: Mapping[str, object]) -> Path:
        def answer(path: str) -> Iterator[bytes] | None:
            return _torn(told[path]) if path in told else None

        path = self._home / name
        server = socketserver.ThreadingUnixStreamServer(str(path), handler(answer, chunked=True))
        self._serve(server)
        return path

    def _over_tls(self, kind: type[http.server.BaseHTTPRequestHandler]) -> str:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind)
        server.socket = self._context.wrap_socket(server.socket, server_side=True)
        self._serve(server)
        return f"https://127.0.0.1:{server.server_port}"

    def _serve(self, server: socketserver.BaseServer) -> None:
        self._servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        """End all."""
        self._ended.set()
        self._news.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()


def _torn(told: object) -> Iterator[bytes]:
    """One line of JSON in pieces of many sizes."""
    line = json.dumps(told).encode() + b"\n"
    size, start = 1, 0
    while start < len(line):
        yield line[start : start + size]
        start += size
        size = size * 3 % 50_021 + 1
