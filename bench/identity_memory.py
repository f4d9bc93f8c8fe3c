"""Memory that naming containers costs, step by step, at 250 containers.

    python3 bench/identity_memory.py [--count 250] [--limit MIB]

Lays a Kubernetes node by hand (cgroups, log links, runc state and bundles of the sizes that
containerd writes, an API over TLS on loopback), serves it with each step of the ladder, scrapes
until all names are there and 20 times more, and compares the memory that is the process's own
with that of step 0. With --limit it fails where a step costs more. Needs openssl.
"""

import argparse
import contextlib
import http.server
import json
import ssl
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.tools.hosts import Host, hex_id
from tests.tools.served import served

SCRAPES = 20
ENV = [f"SERVICE_{number}_ADDRESS=10.0.0.{number}:8080" for number in range(60)]
# Mounts, devices and masks: what else a real state.json or config.json is full of.
FILLER = [{"destination": f"/run/{number}", "type": "bind", "flags": 4096} for number in range(200)]


def pod_name(number: int) -> str:
    """A name as a Deployment makes them."""
    return f"checkout-service-7d9f8b6c5d-{number:05d}"


def pod_uid(number: int) -> str:
    """A pod's UID."""
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, str(number)))


def lay(host: Host, count: int) -> None:
    """One pod with one container and a sandbox, for each container."""
    for number in range(count):
        uid = pod_uid(number)
        about = {
            "io.kubernetes.cri.sandbox-name": pod_name(number),
            "io.kubernetes.cri.sandbox-namespace": "shop",
            "io.kubernetes.cri.sandbox-uid": uid,
            "io.kubernetes.cri.container-type": "container",
            "io.kubernetes.cri.container-name": "app",
            "io.kubernetes.cri.image-name": "registry.example/shop/checkout:v1.2.3",
        }
        for kind in ("app", "sandbox"):
            id_ = hex_id(f"{kind}-{number}")
            path = f"/kubepods.slice/kubepods-pod{uid.replace('-', '_')}.slice"
            path += f"/cri-containerd-{id_}.scope"
            host.cgroup(path, pid=number + 2 if kind == "sandbox" else None)
            told = about | ({} if kind == "app" else {"io.kubernetes.cri.container-type": kind})
            state = host.runc("/run/containerd/runc/k8s.io", id_, path, told)
            grow(state, {"config": {"mounts": FILLER}})
            tasks = "/run/containerd/io.containerd.runtime.v2.task/k8s.io"
            grow(host.bundle(f"{tasks}/{id_}", told), {"process": {"env": ENV}, "mounts": FILLER})
        host.process(number + 2, oom_score_adj=-998)  # so that step 0 knows the sandbox too
        host.log(pod_name(number), "shop", "app", hex_id(f"app-{number}"), uid)


def grow(file: Path, more: dict[str, dict[str, object]]) -> None:
    """Add to a JSON file what real ones have."""
    content = json.loads(file.read_text())
    for key, value in more.items():
        content[key] = {**content.get(key, {}), **value} if isinstance(value, dict) else value
    file.write_text(json.dumps(content))


def pods(count: int) -> list[object]:
    """The same pods as the API has them."""
    return [
        {
            "metadata": {
                "name": pod_name(number),
                "namespace": "shop",
                "uid": pod_uid(number),
                "labels": {"app": "checkout", "pod-template-hash": "7d9f8b6c5d"},
                "managedFields": FILLER[:40],
            },
            "spec": {
                "containers": [
                    {
                        "name": "app",
                        "env": [{"name": word} for word in ENV],
                        "resources": {"requests": {"cpu": "100m"}, "limits": {"memory": "1Gi"}},
                    }
                ]
            },
            "status": {
                "qosClass": "Burstable",
                "containerStatuses": [
                    {"name": "app", "containerID": f"containerd://{hex_id(f'app-{number}')}"}
                ],
            },
        }
        for number in range(count)
    ]


@contextlib.contextmanager
def api(home: Path, count: int) -> Iterator[str]:
    """An API server that lists pods in pages over TLS, and whose watches say nothing."""
    items = pods(count)
    quiet = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if "watch=1" in self.path:
                self.send_response(200)
                self.end_headers()
                quiet.wait()
                return
            start = int(self.path.partition("continue=")[2].partition("&")[0] or 0)
            end = start + 50
            metadata = {"resourceVersion": "1", "continue": str(end) if end < count else ""}
            body = json.dumps({"metadata": metadata, "items": items[start:end]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: object) -> None:
            """Say nothing."""

    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key"),
            *("-out", "ca.crt", "-subj", "/CN=x", "-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        cwd=home,
        check=True,
        capture_output=True,
    )
    (home / "token").write_text("token")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(home / "ca.crt", home / "key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"https://127.0.0.1:{server.server_port}"
    finally:
        quiet.set()
        server.shutdown()


def own_bytes(home: Path, host: Host, flags: Sequence[str | Path], source: str, count: int) -> int:
    """Memory of a server with these flags, once all is told."""
    paths = ("--path.cgroupfs", host.cgroupfs, "--path.procfs", host.procfs)
    with served(home / "log", [*paths, "--identity.root", host.root, *flags]) as server:
        if source:
            told = f'cgexporter_identity_answers{{source="{source}"}} {count}\n'
            assert told in server.eventually(lambda page: told in page), server.log.read_text()
        for _ in range(SCRAPES):
            server.page()
        return server.resident_bytes()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=250)
    parser.add_argument("--limit", type=float, default=float("inf"))
    chosen = parser.parse_args()
    count, nothing = chosen.count, ("--no-identity.logs", "--no-identity.state")
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        home = Path(name)
        host = Host(home)
        lay(host, count)
        url = stack.enter_context(api(home, count))
        server = ("--identity.api", url, "--identity.node", "n1", "--identity.labels", "app")
        files = ("--identity.token-file", home / "token", "--identity.ca-file", home / "ca.crt")
        steps: list[tuple[str, Sequence[str | Path], str, int]] = [
            ("0", nothing, "", 0),
            ("0, 1", nothing[1:], "logs", count),
            ("0, 2", nothing[:1], "state", 2 * count),
            ("0, 4", (*nothing, *server, *files), "api", 2 * count),
            ("all", (*server, *files), "api", 2 * count),
        ]
        print(f"{count} containers, {count} sandboxes\n")
        print("| Steps | Own memory (MiB) | More than step 0 (MiB) |\n|---|---|---|")
        own = []
        for step, flags, source, told in steps:
            own.append(own_bytes(home, host, flags, source, told) / (1 << 20))
            print(f"| {step} | {own[-1]:.1f} | {own[-1] - own[0]:.1f} |", flush=True)
    if max(own) - own[0] > chosen.limit:
        sys.exit(f"more than {chosen.limit} MiB above step 0")


if __name__ == "__main__":
    main()
