"""What a server says, in buffers of our own that are zeroed after use: sockets, TLS, time.

asyncio's streams and `http.client` keep what arrives in objects that cannot be erased. Here the
kernel and OpenSSL write into one `bytearray`, and OpenSSL erases what it had decrypted:
docs/decisions/0005-secrets.md.
"""

import contextlib
import os
import socket
import ssl
import threading
from collections.abc import Iterator

from cgexporter.names.door import wipe

BUFFER_BYTES = 64 * 1024
_CONNECT_SECONDS = 5.0
# OpenSSL 3.0 ssl.h; Python has no name for it. What was copied to us, and its buffers when they
# are freed, are overwritten.
_OP_CLEANSE_PLAINTEXT = 1 << 1
# Before, the bit is reserved.
CLEANSES = ssl.OPENSSL_VERSION_INFO >= (3,)


class TooMuchError(Exception):
    """A server says more at once than is kept."""


def trusting(ca_file: str) -> ssl.SSLContext:
    """A context that believes what these certificates have signed.

    Raises:
        ValueError: there is no such file.
    """
    if not ca_file or not os.path.exists(ca_file):
        raise ValueError(f"no certificates in {ca_file!r}: give --identity.ca-file")
    context = ssl.create_default_context(cafile=ca_file)
    # Chain, time and name are verified. What Python 3.13 asks for beside, EKS and MicroK8s do not
    # have: key identifiers. Source: github.com/Twingate/kubernetes-operator/issues/1128.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if CLEANSES:
        context.options |= _OP_CLEANSE_PLAINTEXT
    return context


class Wire:
    """A connection, and the last bytes that came by it.

    Each method that waits raises TimeoutError after `idle_seconds`.
    """

    def __init__(self, connected: socket.socket, idle_seconds: float) -> None:
        connected.settimeout(idle_seconds)
        self._socket = connected
        self._lock = threading.Lock()
        self._open = True
        self._data = bytearray(BUFFER_BYTES)
        self._view = memoryview(self._data)
        # What came and was not taken yet. Before it all is zero, but for what was taken last.
        self._start = self._end = 0

    def send(self, request: bytes) -> None:
        """Send all of a request."""
        self._socket.sendall(request)

    def find(self, sought: bytes) -> bytes | None:
        """Take all up to the end of `sought`; None where the connection ends before.

        What is taken so is copied: only for what cannot be a secret.

        Raises:
            TooMuchError: there is more before it than the buffer holds.
        """
        looked = self._start
        while (found := self._data.find(sought, looked, self._end)) < 0:
            looked = max(self._start, self._end - len(sought) + 1)
            moved = self._start
            if self._start == 0 and self._end == BUFFER_BYTES:
                raise TooMuchError(f"more than {BUFFER_BYTES} bytes before {sought!r}")
            if not self._receive():
                return None
            looked -= moved - self._start
        return bytes(self.take(found + len(sought) - self._start))

    def take(self, most: int) -> memoryview:
        """Take what is there, up to `most` bytes; nothing where the connection has ended.

        It is zeroed when something else is asked for.
        """
        if self._start == self._end and not self._receive():
            return self._view[:0]
        start = self._start
        self._zero(0, start)
        self._start = min(self._end, start + most)
        return self._view[start : self._start]

    def _receive(self) -> int:
        """Wait for more; how much came, 0 at the end."""
        self._zero(0, self._start)
        if self._end == BUFFER_BYTES or self._start == self._end:
            left = self._end - self._start
            self._view[:left] = self._view[self._start : self._end]
            self._zero(left, self._end)
            self._start, self._end = 0, left
        came = self._socket.recv_into(self._view[self._end :])
        self._end += came
        return came

    def _zero(self, start: int, end: int) -> None:
        self._view[start:end] = bytes(end - start)

    def interrupt(self) -> None:
        """Let whoever waits see the end of the connection; from any thread."""
        with self._lock, contextlib.suppress(OSError):  # the server was faster
            if self._open:
                # Not that of SSLSocket, which would go on in plain text.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """End it, and zero what came."""
        with self._lock:
            self._open = False
            self._socket.close()
        wipe(self._data)


@contextlib.contextmanager
def connected(
    host: str, port: int, context: ssl.SSLContext | None, idle_seconds: float
) -> Iterator[Wire]:
    """Connect by TCP, and TLS where there is a context."""
    plain = socket.create_connection((host, port), _CONNECT_SECONDS)
    try:
        # The handshake has the same time again. Once done it is the new socket that is open.
        raw = context.wrap_socket(plain, server_hostname=host) if context else plain
    except BaseException:
        plain.close()
        raise
    with contextlib.closing(Wire(raw, idle_seconds)) as wire:
        yield wire


@contextlib.contextmanager
def connected_by_path(path: str, idle_seconds: float) -> Iterator[Wire]:
    """Connect to a UNIX socket."""
    raw = socket.socket(socket.AF_UNIX)
    try:
        raw.settimeout(_CONNECT_SECONDS)
        raw.connect(path)
    except BaseException:
        raw.close()
        raise
    with contextlib.closing(Wire(raw, idle_seconds)) as wire:
        yield wire


class Gathered:
    """Bytes put together. A buffer that became too small is zeroed.

    Args:
        most: bytes at once.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._data = bytearray(BUFFER_BYTES)
        self._start = self._end = self._looked = 0

    def add(self, piece: memoryview) -> None:
        """Add a copy of a piece.

        Raises:
            TooMuchError: it gets more than that.
        """
        kept = self._end - self._start
        needed = kept + len(piece)
        if needed > self._most:
            raise TooMuchError(f"more than {self._most} bytes")
        if self._end + len(piece) > len(self._data):
            larger = bytearray(max(BUFFER_BYTES, kept + max(kept, len(piece))))
            # By way of views: a slice of a bytearray that is assigned to makes a copy first.
            memoryview(larger)[:kept] = memoryview(self._data)[self._start : self._end]
            wipe(self._data)
            self._data, self._looked = larger, self._looked - self._start
            self._start, self._end = 0, kept
        memoryview(self._data)[self._end : self._end + len(piece)] = piece
        self._end += len(piece)

    def line(self) -> bytearray | None:
        """Take the first line, without its end, in a buffer of its own; None without one."""
        end = self._data.find(b"\n", self._looked, self._end)
        if end < 0:
            self._looked = self._end
            return None
        with memoryview(self._data) as view:
            line = bytearray(view[self._start : end])
            view[self._start : end + 1] = bytes(end + 1 - self._start)
        self._start = self._looked = end + 1
        if self._start == self._end:
            self._start = self._end = self._looked = 0
            if len(self._data) > BUFFER_BYTES:
                self._data = bytearray(BUFFER_BYTES)  # the larger one is all zero
        return line

    def document(self) -> bytearray:
        """All of it, followed by spaces: a buffer that is cut may be moved, and leave a copy."""
        self._data[self._end :] = b" " * (len(self._data) - self._end)
        return self._data

    def wipe(self) -> None:
        """Zero it."""
        wipe(self._data)
