"""Two hosts full of sick containers, their exporters, and a Prometheus that scrapes both.

``docker-1`` is this machine: real containers of runc in cgroups as Docker makes them, really
throttled, killed, short of memory and of tasks. ``kubernetes-1`` is a captured node whose counters
`moving` moves on, for this machine may have neither cgroup v2 nor pressure of containers.

    python -m tests.tools.sickbay --minutes 10
"""

import argparse
import contextlib
import http.server
import json
import re
import secrets
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.integration.processes import Server
from tests.integration.prometheus import Prometheus
from tests.integration.runc import Container, Runc, block_device
from tests.integration.support import need_root, program
from tests.tools.moving import MovingNode

RULES = Path(__file__).resolve().parents[2] / "dashboards/rules"
PREVIEW = RULES.parent / "preview/preview.mjs"
DOCKER, KUBERNETES = "docker-1:9753", "kubernetes-1:9753"
MIB = 1 << 20
# The child asks to be the OOM killer's victim, so that the container itself lives on.
_EATS = """\
while :; do
  sh -c 'echo 1000 > /proc/self/oom_score_adj; x=a; while :; do x=$x$x; done'
  sleep 2
done
"""
_WRITES = "while :; do dd if=/dev/zero of=/data/file bs=64k count=16 conv=fsync; sleep 0.2; done"
_READS = "while :; do dd if=/data/file of=/dev/null bs=64k iflag=direct; sleep 0.2; done"
# A file system in memory counts as the container's, and cannot be reclaimed.
_HOLDS = "dd if=/dev/zero of=/dev/shm/held bs=1M count=30; while :; do sleep 1; done"
# A file larger than the limit, read again and again: pages are needed as soon as they are gone.
_SEEKS = """\
dd if=/dev/zero of=/data/index bs=1M count=24 conv=fsync
while :; do cat /data/index > /dev/null; done
"""
# A shell that cannot fork ends, so a shell of its own tries it.
_FORKS = """\
for n in 1 2 3 4 5 6; do sleep 1000 & done
while :; do ( sleep 1 & sleep 1 & ); sleep 1; done
"""


class _Scraper(Prometheus):
    """A Prometheus with both hosts and our rules."""

    def __init__(self, directory: Path, targets: dict[str, int], rules: list[Path]) -> None:
        self._targets = targets
        self._rules = rules
        super().__init__(program("prometheus", "prometheus"), directory, 0)

    def configuration(self, target: int) -> str:  # noqa: ARG002 - there are two
        """Two targets under the names of their hosts."""
        return json.dumps(
            {
                "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                "rule_files": [str(file) for file in self._rules],
                "scrape_configs": [
                    {
                        "job_name": "cgexporter",
                        "static_configs": [
                            {"targets": [f"127.0.0.1:{port}"], "labels": {"instance": host}}
                            for host, port in self._targets.items()
                        ],
                    }
                ],
            }
        )

    def rule_errors(self) -> list[str]:
        """What went wrong with rules; each has been evaluated."""
        groups = json.loads(self._fetch("rules"))["data"]["groups"]
        return [
            f"{rule['name']}: {rule['health']} {rule.get('lastError', '')}"
            for group in groups
            for rule in group["rules"]
            if rule["health"] != "ok"
        ]

    @property
    def url(self) -> str:
        """Where its API is."""
        return f"http://127.0.0.1:{self._port}"


@dataclass(frozen=True, slots=True)
class Sickbay:
    """What a test asks."""

    prometheus: _Scraper

    def firing(self) -> set[tuple[str, str]]:
        """Alerts that fire, with the host each is about."""
        found = self.prometheus.query('ALERTS{alertstate="firing"}')
        return {(each["metric"]["alertname"], each["metric"].get("instance", "")) for each in found}


def hastened(text: str) -> str:
    """The rules with seconds for minutes, which a test can wait for."""
    windows = {"1m": "5s", "5m": "10s", "10m": "20s", "30m": "20s", "1h": "30s"}
    text = re.sub(r"\[(\w+)\]", lambda m: f"[{windows.get(m[1], m[1])}]", text)
    return re.sub(r"for: \w+", "for: 0s", text)


@contextlib.contextmanager
def sickbay(directory: Path, *, fast: bool) -> Iterator[Sickbay]:
    """Start everything, for the time of a `with` block.

    Args:
        directory: for all files; on a disk, for one container writes to it.
        fast: shorten the windows of the rules.
    """
    need_root()
    with contextlib.ExitStack() as stack:
        runc = Runc(
            program("runc", "runc"), program("busybox", "busybox-static"), directory / "runc"
        )
        stack.callback(runc.close)
        root = directory / "root"
        _patients(runc, directory, root, stack)
        node = MovingNode(directory / "node")
        stack.enter_context(_moved(node))
        kubelet = stack.enter_context(_kubelet(node))
        flags = {
            DOCKER: ("--identity.root", str(root)),
            KUBERNETES: (
                *("--path.cgroupfs", str(node.cgroupfs), "--path.procfs", str(node.procfs)),
                *("--identity.root", str(node.root), "--identity.kubelet", kubelet),
            ),
        }
        targets = {}
        for host, words in flags.items():
            server = Server(directory / f"{host}.log", *words)
            stack.callback(server.kill)
            server.wait_until_listening()
            targets[host] = server.port
        rules = []
        for file in sorted(RULES.glob("*.yaml")):
            rules.append(directory / file.name)
            rules[-1].write_text(hastened(file.read_text()) if fast else file.read_text())
        (directory / "prometheus").mkdir()
        prometheus = _Scraper(directory / "prometheus", targets, rules)
        stack.callback(prometheus.stop)
        prometheus.wait_until_ready()
        yield Sickbay(prometheus)


def _patients(runc: Runc, directory: Path, root: Path, stack: contextlib.ExitStack) -> None:
    (directory / "runc").mkdir()
    data = directory / "data"
    data.mkdir()
    device = block_device(data)
    throttle = {"major": device[0], "minor": device[1], "rate": 2 * MIB} if device else None
    limits: dict[str, tuple[str, dict[str, object]]] = {
        "web": ("while :; do :; done", {"cpu": {"quota": 5_000, "period": 100_000}}),
        "worker": (_EATS, {"memory": {"limit": 32 * MIB, "swap": 32 * MIB}}),
        "db": (_WRITES, {"blockIO": {"throttleWriteBpsDevice": [throttle]}} if throttle else {}),
        "cache": (_READS, {}),
        "api": (_HOLDS, {"memory": {"limit": 32 * MIB, "swap": 32 * MIB}}),
        "search": (_SEEKS, {"memory": {"limit": 16 * MIB, "swap": 16 * MIB}}),
        "forker": (_FORKS, {"pids": {"limit": 8}}),
    }
    started = {}
    for name, (script, resources) in limits.items():
        id_ = secrets.token_hex(32)
        started[name] = runc.run(
            name,
            script,
            resources=resources,  # type: ignore[arg-type]
            cgroups_path=f"/docker/{id_}",
            binds={"/data": data} if name in ("db", "cache", "search") else None,
        )
        _told_by_docker(root, id_, name)
    _connect(started["web"], started["db"], stack)


def _told_by_docker(root: Path, id_: str, name: str) -> None:
    file = root / f"var/lib/docker/containers/{id_}/config.v2.json"
    file.parent.mkdir(parents=True)
    labels = {"com.docker.compose.project": "shop", "com.docker.compose.service": name}
    config = {
        "State": {"Running": True, "Pid": 1},
        "ID": id_,
        "Name": f"/{name}",
        "RestartCount": 0,
        "Config": {"Image": f"example.invalid/{name}:1", "Labels": labels},
    }
    file.write_text(json.dumps(config))


def _connect(first: Container, second: Container, stack: contextlib.ExitStack) -> None:
    """A cable between two containers' own networks, and a ping over it."""
    ip = program("ip", "iproute2")
    ends = {first.pid: "10.212.0.1/24", second.pid: "10.212.0.2/24"}
    subprocess.run(
        [
            ip,
            "link",
            "add",
            "eth0",
            "netns",
            str(first.pid),
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            str(second.pid),
        ],
        check=True,
    )
    for pid, address in ends.items():
        inside = ["nsenter", "-t", str(pid), "-n", ip]
        subprocess.run([*inside, "address", "add", address, "dev", "eth0"], check=True)
        subprocess.run([*inside, "link", "set", "eth0", "up"], check=True)
    ping = subprocess.Popen(
        [
            "nsenter",
            "-t",
            str(first.pid),
            "-n",
            program("busybox", "busybox-static"),
            "ping",
            "-q",
            "-s",
            "1000",
            "10.212.0.2",
        ],
        stdout=subprocess.DEVNULL,
    )
    stack.callback(ping.wait)
    stack.callback(ping.kill)


@contextlib.contextmanager
def _moved(node: MovingNode) -> Iterator[None]:
    stop = threading.Event()
    began = time.monotonic()

    def move() -> None:
        done = 0
        while not stop.wait(0.1):
            # Seconds of the clock, so that a busy machine slows no counter down.
            while done < time.monotonic() - began:
                node.advance()
                done += 1

    thread = threading.Thread(target=move)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextlib.contextmanager
def _kubelet(node: MovingNode) -> Iterator[str]:
    answer = node.pods()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def main() -> None:
    """Run for some minutes with the rules as they are; say what fired and what had no data."""
    from tests.tools.answers import Answers, gaps  # it imports from here

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument(
        "--pictures",
        metavar="DIRECTORY",
        help="take pictures of the dashboards at the end (needs npm ci in dashboards/preview)",
    )
    asked = parser.parse_args()
    minutes = asked.minutes
    with (
        tempfile.TemporaryDirectory(dir="/var/tmp") as directory,
        sickbay(Path(directory), fast=False) as bay,
    ):
        fired: set[tuple[str, str]] = set()
        until = time.monotonic() + 60 * minutes
        print(f"{minutes:g} minutes of load; Prometheus at {bay.prometheus.url}", flush=True)
        while time.monotonic() < until:
            time.sleep(5)
            for alert in sorted(bay.firing() - fired):
                left = until - time.monotonic()
                print(f"{minutes - left / 60:5.1f} min  {' '.join(alert)}", flush=True)
                fired.add(alert)
        answers = Answers(bay.prometheus, rate="1m", span=f"{max(1, round(minutes))}m")
        count, empty = gaps(answers)
        print(f"{count} queries asked of Prometheus")
        for gap in sorted(empty):
            print("no data:", *gap)
        if asked.pictures:
            subprocess.run(
                [program("node", "nodejs"), PREVIEW, bay.prometheus.url, asked.pictures], check=True
            )


if __name__ == "__main__":
    main()
