"""The HTTP server as a process: its answers, its bounds, and how it stops."""

import contextlib
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import Serve
from tests.integration.processes import Connection, Server, cgexporter
from tests.integration.support import eventually

TEXT = "text/plain; version=0.0.4; charset=utf-8"
PLAIN = "text/plain; charset=utf-8"


class SlowHost:
    """A made-up host whose scans end only when the test lets them.

    Each scan reads /proc/partitions once; here that is a named pipe.
    """

    def __init__(self, directory: Path) -> None:
        (directory / "cgroup").mkdir()
        (directory / "cgroup/cgroup.procs").touch()
        (directory / "proc/self").mkdir(parents=True)
        (directory / "proc/self/mountinfo").write_text(
            "24 1 0:22 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
        )
        self._pipe = directory / "proc/partitions"
        os.mkfifo(self._pipe)
        self.flags = (f"--path.cgroupfs={directory}/cgroup", f"--path.procfs={directory}/proc")

    def held_scan(self) -> int:
        """Wait for a scan to reach the pipe; it goes on when the descriptor is closed."""

        def opened() -> int | None:
            try:
                return os.open(self._pipe, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:  # nobody reads
                return None

        return eventually(opened, "a scan")

    def release_scans(self, stop: threading.Event) -> None:
        """Let every scan go on."""
        while not stop.wait(0.001):
            try:
                os.close(os.open(self._pipe, os.O_WRONLY | os.O_NONBLOCK))
            except OSError:  # nobody reads
                continue


@pytest.fixture
def slow_host(tmp_path: Path) -> SlowHost:
    """A host whose scans end when the test says so."""
    return SlowHost(tmp_path)


def _status(answer: bytes) -> int:
    version, status, _ = answer.split(b" ", 2)
    assert version == b"HTTP/1.1"
    return int(status)


def _scans(metrics: str) -> int:
    (line,) = [line for line in metrics.splitlines() if line.startswith("cgexporter_scans_total{")]
    assert 'result="success"' in line
    return round(float(line.rpartition(" ")[2]))


@pytest.mark.parametrize(
    ("path", "status", "content_type", "content"),
    [
        ("/metrics", 200, TEXT, "cgexporter_scan_success 1"),
        ("/metrics?collect=all", 200, TEXT, "cgexporter_scan_success 1"),
        ("/-/healthy", 200, PLAIN, "healthy\n"),
        ("/-/ready", 200, PLAIN, "ready\n"),
        ("/", 200, "text/html; charset=utf-8", "<a href='/metrics'>"),
        ("/metrics/", 404, PLAIN, "not found\n"),
        ("/favicon.ico", 404, PLAIN, "not found\n"),
        ("/%2e%2e/etc/passwd", 404, PLAIN, "not found\n"),
    ],
)
def test_paths(server: Server, path: str, status: int, content_type: str, content: str) -> None:
    """Each path has its answer, and every other is not found; HEAD gives the same headers."""
    connection = Connection(server.port)
    answer = connection.get(path)
    assert (answer.status, answer.headers["content-type"]) == (status, content_type)
    assert content in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"
    connection.send("HEAD", path)
    head = connection.receive()
    assert (head.status, head.headers.keys(), head.body) == (status, answer.headers.keys(), b"")
    assert connection.get(path).status == status, "the connection goes on"
    connection.close()


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["/metrics", "/", "/-/healthy"])
def test_other_methods_are_refused(server: Server, method: str, path: str) -> None:
    """There is nothing to change: GET and HEAD are all that is allowed."""
    connection = Connection(server.port)
    connection.send(method, path, {"Content-Length": "0"})
    answer = connection.receive()
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")
    assert connection.get("/-/healthy").status == 200, "the connection goes on"
    connection.close()


def test_bodies_are_refused(server: Server) -> None:
    """A body nobody asked for ends the connection, and is never taken for a request."""
    body = b"GET /-/ready HTTP/1.1\r\n\r\n"
    post = b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    get = b"GET /-/healthy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = server.exchange(post + body + get)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert _status(answer) == 413
    assert b"\r\nconnection: close\r\n" in answer


def test_expected_continue(server: Server) -> None:
    """A client that waits for leave to send its body gets none."""
    with socket.create_connection(("127.0.0.1", server.port), 5) as client:
        client.sendall(
            b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
            b"Expect: 100-continue\r\n\r\n"
        )
        assert _status(client.recv(65536)) == 413


@pytest.mark.parametrize(
    "request_",
    [
        b"\r\n\r\n\x00\x01\x02\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200) + b"\r\n\r\n",  # TLS
        b"GET\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\n\r\n",  # no Host
        b"GET /metrics HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "GET /metricsé HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
    ],
)
def test_malformed_request(server: Server, request_: bytes) -> None:
    """What is no HTTP request is refused, and the server lives on."""
    assert _status(server.exchange(request_)) == 400
    assert server.get("/-/healthy").status == 200
    assert server.get("/metrics").status == 200


@pytest.mark.parametrize("size", [17 * 1024, 60_000, 1_000_000])
def test_oversize_header(server: Server, size: int) -> None:
    """Headers beyond the bound are refused, and the server lives on."""
    with socket.create_connection(("127.0.0.1", server.port), 10) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nCookie: ")
        with contextlib.suppress(ConnectionError):  # the server need not take all of it
            client.sendall(b"x" * size)
        assert _status(client.recv(65536)) == 431
    assert server.get("/-/healthy").status == 200


def test_pipelined_requests(server: Server) -> None:
    """Requests sent at once are answered in their order."""
    paths = ["/-/healthy", "/metrics", "/nothing", "/-/ready", "/metrics", "/-/healthy"]
    requests = [f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n" for path in paths[:-1]]
    requests.append(f"GET {paths[-1]} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    answer = server.exchange("".join(requests).encode())
    seen = []
    while answer:
        head, _, rest = answer.partition(b"\r\n\r\n")
        (length,) = (
            int(line.split()[1])
            for line in head.lower().split(b"\r\n")
            if line.startswith(b"content-length:")
        )
        seen.append((_status(head), rest[:length].startswith(b"# HELP"), rest[:9]))
        answer = rest[length:]
    assert [status for status, _, _ in seen] == [200, 200, 404, 200, 200, 200]
    assert [metrics for _, metrics, _ in seen] == [False, True, False, False, True, False]
    assert [start[:5] for _, metrics, start in seen if not metrics] == [
        b"healt",
        b"not f",
        b"ready",
        b"healt",
    ]


def test_old_client(server: Server) -> None:
    """HTTP/1.0 is answered too, and the connection closed."""
    answer = server.exchange(b"GET /-/healthy HTTP/1.0\r\n\r\n")
    assert _status(answer) == 200
    assert answer.endswith(b"\r\n\r\nhealthy\n")


def test_clients_that_hang_up(slow_host: SlowHost, serve: Serve) -> None:
    """A client that goes away in the middle of a scan costs the others nothing."""
    server = serve(*slow_host.flags)
    leaver, stayer = Connection(server.port), Connection(server.port)
    leaver.send("GET", "/metrics")
    scan = slow_host.held_scan()
    stayer.send("GET", "/metrics")
    leaver.close()
    assert server.get("/-/healthy").status == 200
    stop = threading.Event()
    releaser = threading.Thread(target=slow_host.release_scans, args=(stop,))
    releaser.start()
    os.close(scan)
    try:
        assert stayer.receive().status == 200
    finally:
        stop.set()
        releaser.join()
    stayer.close()


def test_scrapes_share_a_scan(slow_host: SlowHost, serve: Serve) -> None:
    """Scrapes that arrive while a scan is under way get that one and start none."""
    server = serve(*slow_host.flags)
    clients = [Connection(server.port) for _ in range(8)]
    for client in clients:
        assert client.get("/-/healthy").status == 200  # each is being served
    for client in clients:
        client.send("GET", "/metrics")
    scan = slow_host.held_scan()
    for _ in range(3):
        assert server.get("/-/healthy").status == 200, "no scan blocks the server"
    stop = threading.Event()
    releaser = threading.Thread(target=slow_host.release_scans, args=(stop,))
    releaser.start()
    os.close(scan)
    try:
        answers = [client.receive() for client in clients]
        scans = _scans(server.get("/metrics").text) - 1
    finally:
        stop.set()
        releaser.join()
    for client in clients:
        client.close()
    assert {answer.status for answer in answers} == {200}
    assert 1 <= scans < len(clients)


def test_scan_that_takes_too_long(slow_host: SlowHost, serve: Serve) -> None:
    """A scrape whose time runs out gets the last snapshot; one that finds none learns why."""
    server = serve(*slow_host.flags)
    client = Connection(server.port)
    patience = {"X-Prometheus-Scrape-Timeout-Seconds": "1"}
    client.send("GET", "/metrics", patience)
    scan = slow_host.held_scan()
    nothing_yet = client.receive()
    assert (nothing_yet.status, nothing_yet.headers["content-type"]) == (503, PLAIN)
    assert "no scan of this host finished" in nothing_yet.text
    client.send("GET", "/metrics")
    assert server.get("/-/healthy").status == 200
    os.close(scan)
    assert client.receive().status == 200
    client.send("GET", "/metrics", patience)
    scan = slow_host.held_scan()
    try:
        last = client.receive()
    finally:
        os.close(scan)
    assert last.status == 200
    assert "cgexporter_scan_success 1" in last.text
    client.close()


def test_sigterm_finishes_what_is_under_way(slow_host: SlowHost, serve: Serve) -> None:
    """A request that was accepted before SIGTERM is answered; no new one is; exit status 0."""
    server = serve(*slow_host.flags)
    idle = Connection(server.port)
    assert idle.get("/-/healthy").status == 200
    busy = Connection(server.port)
    busy.send("GET", "/metrics")
    scan = slow_host.held_scan()
    server.terminate()

    def refuses() -> bool:
        try:
            Connection(server.port).close()
        except ConnectionRefusedError:
            return True
        return False

    eventually(refuses, "the port to close")
    os.close(scan)
    answer = busy.receive()
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    assert "cgexporter_scan_success 1" in answer.text
    assert server.process.wait(60) == 0
    assert "Traceback" not in server.log
    idle.close()
    busy.close()


def test_telemetry_path(serve: Serve) -> None:
    """Metrics are where the flag says and nowhere else, and the landing page links to them."""
    server = serve("--web.telemetry-path=/deep/metrics")
    assert server.get("/deep/metrics").headers["content-type"] == TEXT
    assert server.get("/metrics").status == 404
    assert "<a href='/deep/metrics'>" in server.get("/").text


@pytest.fixture
def busy_port() -> Iterator[int]:
    """A port of 127.0.0.1 on which another listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_busy_port(busy_port: int) -> None:
    """An address that is taken is one line on stderr and exit status 1."""
    done = cgexporter("--web.listen-address", f"127.0.0.1:{busy_port}")
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"cgexporter: cannot listen on 127.0.0.1:{busy_port}: ")
    assert "in use" in line


def test_one_of_two_ports_busy(busy_port: int) -> None:
    """All addresses or none: the one that is taken ends the program."""
    addresses = ("--web.listen-address=127.0.0.1:0", f"--web.listen-address=127.0.0.1:{busy_port}")
    done = cgexporter(*addresses)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "in use" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["--no-such-flag"], 2),
        (["positional"], 2),
        (["--web.listen-address", "nowhere"], 2),
        (["--web.listen-address", "127.0.0.1:99999"], 2),
        (["--web.telemetry-path", "metrics"], 2),
        (["--web.telemetry-path", "/-/metrics"], 2),
        (["--format", "json"], 2),
        (["--once", "--web.listen-address", ":0"], 2),
        (["--scan.max-cgroups", "-1"], 2),
        (["--path.cgroupfs", "/nowhere"], 1),
        (["--path.procfs", "/nowhere"], 1),
        (["--once", "--path.cgroupfs", "/dev"], 1),
        (["--web.listen-address", "192.0.2.1:0"], 1),  # TEST-NET-1: nobody has it
        (["--web.listen-address", "no.such.host.invalid:0"], 1),
    ],
)
def test_refusals(arguments: list[str], status: int) -> None:
    """What cannot be done is said, in words: 2 for the command line, 1 for the host."""
    done = cgexporter(*arguments)
    assert (done.returncode, done.stdout) == (status, "")
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("cgexporter: ")
    if status == 1:
        assert len(done.stderr.splitlines()) == 1


def test_when_it_started(serve: Serve) -> None:
    """The time of its start is there, as in each of Prometheus' clients."""
    before = time.time()
    page = serve().get("/metrics").text
    (found,) = re.findall(r"^process_start_time_seconds (\S+)$", page, re.MULTILINE)
    # The kernel's boot time is a whole second.
    assert before - 2 < float(found) < time.time() + 1
