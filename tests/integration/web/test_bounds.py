"""Bounds: slow, silent, greedy, too many and malformed clients do not stop a scrape.

bench/slow_clients.py is the long version: two minutes, and 100,000 malformed requests.
"""

import asyncio
import contextlib
import re
import resource
import socket
import time
from pathlib import Path

import pytest

from tests.integration.conftest import Serve
from tests.integration.processes import Connection, Server
from tests.integration.support import PATIENCE_SECONDS, eventually
from tests.tools import slow


def _status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


def _counted(server: Server, family: str, label: str = r'\w+="\w+"') -> float:
    found = re.search(rf"{family}\{{{label}\}} (\S+)", server.get("/metrics").text)
    return float(found[1]) if found else 0.0


def _ended(server: Server, reason: str) -> float:
    return _counted(server, "cgexporter_web_connections_ended_total", f'reason="{reason}"')


def _resident_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def _open_sockets(server: Server) -> int:
    return sum(name.startswith("socket:") for name in server.descriptors)


def test_a_crowd_of_slow_clients(serve: Serve) -> None:
    """500 slow and 200 idle clients: each scrape is whole and in time, memory is bounded."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    server = serve()
    server.get("/metrics")

    async def crowd() -> list[float]:
        took = []
        people = slow.Crowd(server.port)
        for kind in (slow.drip, slow.drip_later, slow.sip, slow.say_nothing):
            people.add(kind, 125)
        people.add(slow.idle, 200)
        await asyncio.sleep(1)
        for _ in range(12):
            duration, answer = await slow.scrape(server.port)
            assert slow.is_whole(answer), answer[:200]
            took.append(duration)
            await asyncio.sleep(0.5)
        await people.close()
        return took

    before = _resident_kib(server.process.pid)
    took = asyncio.run(crowd())
    assert max(took) < 5, "Prometheus' patience is 10 s"
    assert _resident_kib(server.process.pid) - before < 64 * 1024
    assert _ended(server, "full") > 0
    eventually(lambda: _open_sockets(server) < 30, "their connections to be closed")
    assert server.get("/-/healthy").status == 200


@pytest.mark.parametrize("seed", [1, 2])
def test_malformed_requests(serve: Serve, seed: int) -> None:
    """Thousands of malformed requests: no crash, no leak, no wrong answer afterwards."""
    server = serve()
    asyncio.run(slow.fuzz(server.port, 500, seed=0))
    before = _resident_kib(server.process.pid), _open_sockets(server)
    answered = asyncio.run(slow.fuzz(server.port, 3000, seed=seed))
    assert answered > 2000
    _, answer = asyncio.run(slow.scrape(server.port))
    assert slow.is_whole(answer)
    assert _resident_kib(server.process.pid) - before[0] < 32 * 1024
    eventually(lambda: _open_sockets(server) <= before[1] + 2, "their connections to be closed")
    assert "level=error" not in server.log


def test_a_request_that_is_late(serve: Serve) -> None:
    """A request that began and does not end in time is told so; silence is just ended."""
    server = serve("--web.read-timeout=500ms")
    began = time.monotonic()
    assert _status(server.exchange(b"GET /metrics HTTP/1.1\r\nHost:")) == 408
    assert server.exchange(b"") == b""
    assert time.monotonic() - began < PATIENCE_SECONDS / 2
    whole = b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n"
    assert server.exchange(whole + whole + b"GET").count(b"HTTP/1.1 200") == 2
    assert _ended(server, "timeout") == 3


def test_dripping_does_not_extend_the_time(serve: Serve) -> None:
    """Each byte buys no more time: the whole request has one limit, later ones too."""
    server = serve("--web.read-timeout=1s", "--web.idle-timeout=1h")
    for greeting in (b"", b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", server.port), 10) as client:
            client.sendall(greeting)
            answer = b"" if greeting else b"healthy\n"
            while not answer.endswith(b"healthy\n"):
                answer += client.recv(65536)
            began = time.monotonic()
            with contextlib.suppress(ConnectionError):
                for byte in b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 1000:
                    client.sendall(bytes((byte,)))
                    time.sleep(0.05)
                    if client in _readable(client):
                        break
            assert _status(client.recv(65536)) == 408
            assert 0.5 < time.monotonic() - began < 10


def _readable(client: socket.socket) -> list[socket.socket]:
    client.setblocking(False)
    try:
        client.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return []
    finally:
        client.settimeout(10)
    return [client]


def test_idle_connections_are_closed(serve: Serve) -> None:
    """A client that vanished without a word does not keep its connection for ever."""
    server = serve("--web.idle-timeout=500ms")
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE_SECONDS) as client:
        client.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = b""
        while data := client.recv(65536):
            answer += data
        assert answer.endswith(b"healthy\n")


def test_a_client_that_takes_nothing(serve: Serve) -> None:
    """Who does not take the answer is hung up on in time."""
    server = serve("--web.write-timeout=500ms")
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", server.port))
    with contextlib.suppress(OSError):
        client.settimeout(5)
        for _ in range(400):  # more answers than the kernel's buffers take
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 10)
    eventually(lambda: _ended(server, "timeout") >= 1, "the client to be hung up on")
    client.close()


def test_the_one_that_waited_longest_goes(serve: Serve) -> None:
    """With all connections taken a newcomer is served, and a busy client stays."""
    server = serve("--web.max-connections=8")
    first = [Connection(server.port) for _ in range(8)]
    for connection in first:
        assert connection.get("/-/healthy").status == 200
    assert first[0].get("/-/healthy").status == 200  # now it has waited shortest
    newcomer = Connection(server.port)
    assert newcomer.get("/-/healthy").status == 200
    assert first[0].get("/-/healthy").status == 200
    with pytest.raises(ConnectionError):
        first[1].get("/-/healthy")
    assert first[2].get("/-/healthy").status == 200
    for connection in (*first, newcomer):
        connection.close()
    assert _ended(server, "full") >= 1


def test_many_scrapes_at_once(serve: Serve) -> None:
    """Scrapes at once share scans and pages, so that a crowd of them takes no scrape's place."""
    server = serve()

    async def together() -> list[bool]:
        answers = await asyncio.gather(*(slow.scrape(server.port) for _ in range(200)))
        return [slow.is_whole(answer) for _, answer in answers]

    assert all(asyncio.run(together()))
    assert _counted(server, "cgexporter_scans_total") < 150


def test_bodies_are_refused_whatever_their_form(server: Server) -> None:
    """No body is read, with a length or in chunks, by GET or another method."""
    for head in (b"Content-Length: 3", b"Transfer-Encoding: chunked"):
        for method in (b"GET", b"POST"):
            request = method + b" /metrics HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n\r\n"
            assert _status(server.exchange(request)) == 413
    assert server.get("/-/healthy").status == 200


def test_no_answer_waits_for_an_acknowledgement(server: Server) -> None:
    """On a connection that is kept, an answer is there at once, not after 40 ms."""
    connection = Connection(server.port)
    took = []
    for _ in range(20):
        before = time.perf_counter()
        assert connection.get("/-/healthy").status == 200
        took.append(time.perf_counter() - before)
    connection.close()
    assert min(took[1:]) < 0.03
