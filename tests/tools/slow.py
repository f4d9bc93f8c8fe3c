"""Clients that cost a server time and memory: slow, silent, greedy and malformed ones.

One asyncio loop plays hundreds of them against a server on loopback.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
_SCRAPE = b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n"


@dataclass(slots=True)
class Crowd:
    """Keeps clients of several kinds at a server until it is closed.

    A client that the server hangs up on comes again a moment later.
    """

    port: int
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def add(self, kind: Callable[[Streams], Coroutine[None, None, None]], count: int) -> None:
        """Add clients of a kind."""
        self._tasks |= {asyncio.create_task(self._again(kind)) for _ in range(count)}

    async def _again(self, kind: Callable[[Streams], Coroutine[None, None, None]]) -> None:
        while True:
            with contextlib.suppress(OSError, EOFError):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                try:
                    await kind((reader, writer))
                finally:
                    writer.transport.abort()
            await asyncio.sleep(random.uniform(0.5, 1.5))

    async def close(self) -> None:
        """Send all away."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)  # their sockets are closed now


async def drip(streams: Streams) -> None:
    """Sends a header that never ends, a byte at a time."""
    reader, writer = streams
    for byte in b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: ":
        writer.write(bytes((byte,)))
        await writer.drain()
        await asyncio.sleep(0.2)
    while not reader.at_eof():
        writer.write(b"z")
        await writer.drain()
        await asyncio.sleep(0.5)


async def drip_later(streams: Streams) -> None:
    """The same on a connection that asked for something before."""
    reader, writer = streams
    writer.write(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.readuntil(b"healthy\n")
    await drip(streams)


async def sip(streams: Streams) -> None:
    """Asks for metrics again and again, and hardly takes the answers."""
    reader, writer = streams
    for _ in range(20):
        writer.write(_SCRAPE)
    await writer.drain()
    while True:
        await reader.readexactly(10)
        await asyncio.sleep(1)


async def say_nothing(streams: Streams) -> None:
    """Connects and is silent."""
    await streams[0].read()


async def idle(streams: Streams) -> None:
    """Asks once, and keeps its connection."""
    reader, writer = streams
    writer.write(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.readuntil(b"healthy\n")
    await reader.read()


async def scrape(port: int) -> tuple[float, bytes]:
    """One scrape on a connection of its own: seconds that it took, and the whole answer."""
    before = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(
            b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Prometheus-Scrape-Timeout-Seconds: 10\r\n"
            b"Connection: close\r\n\r\n"
        )
        answer = await reader.read()
    finally:
        writer.close()
    return time.perf_counter() - before, answer


def is_whole(answer: bytes) -> bool:
    """Whether an answer is a page of metrics from its first byte to its last."""
    head, _, body = answer.partition(b"\r\n\r\n")
    length = next(
        (int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:")), -1
    )
    return (
        head.startswith(b"HTTP/1.1 200 ")
        and len(body) == length
        and b"\ncgexporter_scan_success 1\n" in body
    )


_PIECES = (
    *(b"GET", b"HEAD", b"POST", b"CONNECT", b"OPTIONS", b"PRI", b" ", b"  ", b"\t", b"\r\n"),
    *(b"\r", b"\n", b"\0", b"/metrics", b"/-/healthy", b"*", b"http://x/metrics", b"//", b"?a=b"),
    *(b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/0.9", b"HTTP/1.1 ", b"Host: x", b"Host:"),
    *(b"Content-Length: 5", b"Content-Length: -1", b"Content-Length: 99999999999999999999"),
    *(b"Content-Length: 5, 6", b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked"),
    *(b"Expect: 100-continue", b"Upgrade: h2c", b"Connection: close", b"Connection: upgrade"),
    *(b"Accept: */*;q=x", b"Accept-Encoding: gzip;q=nan", b"Authorization: Basic ===", b" folded"),
    *(b"X-Prometheus-Scrape-Timeout-Seconds: 1e999", b"A: " + b"a" * 5000, b":", b"\xff\xfe"),
    *(b"\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"0\r\n\r\n", b"5\r\n", b"/%00"),
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
)
_GOOD = b"GET /-/healthy HTTP/1.1\r\nHost: x\r\nAccept: text/plain\r\nUser-Agent: fuzz\r\n\r\n"


def malformed(chance: random.Random) -> bytes:
    """A request that is broken in some way; now and then one that is whole by accident."""
    match chance.randrange(4):
        case 0:  # words of the protocol in any order
            return b"".join(chance.choices(_PIECES, k=chance.randrange(1, 16)))
        case 1:  # bytes
            return chance.randbytes(chance.randrange(1, 200))
        case 2:  # a good one with some bytes changed, dropped or doubled
            data = bytearray(_GOOD)
            for _ in range(chance.randrange(1, 6)):
                place = chance.randrange(len(data))
                match chance.randrange(3):
                    case 0:
                        data[place] = chance.randrange(256)
                    case 1:
                        del data[place]
                    case _:
                        data[place:place] = chance.choice(_PIECES)
            return bytes(data)
        case _:  # good ones behind each other, with something between
            return _GOOD + chance.choice(_PIECES) + _GOOD


async def fuzz(port: int, count: int, seed: int, at_once: int = 16) -> int:
    """Send malformed requests, each on a connection of its own.

    Returns:
        How many were answered, with whatever status.
    """
    chance = random.Random(seed)
    answered = 0
    left = count

    async def client() -> None:
        nonlocal answered, left
        while left > 0:
            left -= 1
            data, cut = malformed(chance), chance.random() < 0.3
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                with contextlib.suppress(OSError):
                    if cut:
                        place = chance.randrange(len(data))
                        writer.write(data[:place])
                        await asyncio.sleep(0)
                        data = data[place:]
                    writer.write(data)
                    writer.write_eof()
                    answer = await asyncio.wait_for(reader.read(), 30)
                    assert not answer or answer.startswith(b"HTTP/1.1 "), answer[:80]
                    answered += bool(answer)
            finally:
                writer.transport.abort()

    await asyncio.gather(*(client() for _ in range(at_once)))
    await asyncio.sleep(0)  # their sockets are closed now
    return answered
