"""Bounds on what clients may take: time, connections, memory."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field


class TooManyGuessesError(Exception):
    """A client that guesses passwords, or asks for more checks than there is time for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of one server; flags fill it.

    Attributes:
        connections: open at once.
        slow: clients at once that do not take their answer as fast as it comes.
        read_seconds: for a request to arrive once it began, and for a TLS handshake.
        idle_seconds: for which a connection may wait for its next request.
        write_seconds: for a client to take an answer.
        head_bytes: of a request line with its headers.
    """

    connections: int = 512
    slow: int = 40
    read_seconds: float = 10.0
    idle_seconds: float = 120.0
    write_seconds: float = 30.0
    head_bytes: int = 16 * 1024


@dataclass(slots=True)
class Bucket:
    """A token bucket: `burst` at once, then one each `interval` seconds."""

    interval: float
    burst: int
    clock: Callable[[], float] = time.monotonic
    _tokens: float = field(init=False)
    _seen: float = field(init=False)

    def __post_init__(self) -> None:
        """A bucket begins full."""
        self._tokens, self._seen = float(self.burst), self.clock()

    def _fill(self) -> None:
        now = self.clock()
        self._tokens = min(self.burst, self._tokens + (now - self._seen) / self.interval)
        self._seen = now

    @property
    def is_empty(self) -> bool:
        """Whether there is no token now."""
        self._fill()
        return self._tokens < 1

    def take(self) -> bool:
        """Take a token; False where there is none."""
        if self.is_empty:
            return False
        self._tokens -= 1
        return True


class Buckets:
    """A bucket for each client; of at most `size` clients, those seen last.

    Args:
        interval, burst: of each bucket.
        size: how many clients are remembered.
    """

    def __init__(self, interval: float, burst: int, size: int = 1024) -> None:
        self._interval = interval
        self._burst = burst
        self._size = size
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def of(self, client: str) -> Bucket:
        """The bucket of a client."""
        bucket = self._buckets.get(client)
        if bucket is None:
            bucket = self._buckets[client] = Bucket(self._interval, self._burst)
            if len(self._buckets) > self._size:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(client)
        return bucket
