"""A small HTTP/1.1 client; h11 reads headers, and bodies never leave buffers that are zeroed.

Kubernetes' and the runtimes' client packages take 30 to 70 MiB, and h11 copies bodies, in which
manifests hold the environment of containers.
"""

import contextlib
import re
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import h11

from cgexporter import __version__
from cgexporter.names.door import wipe
from cgexporter.names.pick import Picked, Shape, pick
from cgexporter.names.wire import (
    BUFFER_BYTES,
    Gathered,
    TooMuchError,
    Wire,
    connected,
    connected_by_path,
    trusting,
)
from cgexporter.parse.formats import ParseError

_IDLE_SECONDS = 10.0
MAX_BYTES = 64 << 20
# RFC 9112, section 7.1; what a size is followed by says nothing to us.
_CHUNK_SIZE = re.compile(rb"([0-9a-fA-F]{1,15})[ \t]*(?:;.*)?\r?\n", re.DOTALL)
_TOKEN = re.compile("[!-~]+")
_FAILURES = (OSError, TimeoutError, TooMuchError, h11.RemoteProtocolError)


class HttpError(Exception):
    """A request that brought no answer to use.

    Attributes:
        status: of the response; 0 where there was none.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where requests go.

    Attributes:
        url: origin, ``http://`` or ``https://``.
        socket: path of a UNIX socket instead.
        token_file, ca_file: for ``https://`` alone.
    """

    url: str = "http://localhost"
    socket: str = ""
    token_file: str = ""
    ca_file: str = ""

    def __str__(self) -> str:
        """For messages."""
        return self.socket or self.url

    @contextlib.contextmanager
    def get(self, target: str, idle_seconds: float) -> Iterator["Response"]:
        """Send a GET request; the connection is closed at the end of the block.

        Args:
            target: path and query.
            idle_seconds: how long to wait for each piece of the answer.

        Raises:
            HttpError: no connection, no trust, or a status other than 200.
        """
        url = urlsplit(self.url)
        headers = [("Host", url.netloc), ("Accept", "application/json")]
        headers += [("User-Agent", f"cgexporter/{__version__}"), ("Connection", "close")]
        with contextlib.ExitStack() as stack:
            try:
                context = trusting(self.ca_file) if url.scheme == "https" else None
                if context is not None and self.token_file:
                    # Kubernetes replaces the file long before the token expires.
                    headers.append(("Authorization", f"Bearer {_token(self.token_file)}"))
                if self.socket:
                    wire = stack.enter_context(connected_by_path(self.socket, idle_seconds))
                else:
                    port = url.port or (443 if context else 80)
                    to = connected(url.hostname or "", port, context, idle_seconds)
                    wire = stack.enter_context(to)
            except (OSError, TimeoutError, ValueError) as exc:
                raise HttpError(f"cannot connect: {_said(exc)}") from exc
            try:
                protocol = h11.Connection(h11.CLIENT, max_incomplete_event_size=BUFFER_BYTES)
                request = h11.Request(method="GET", target=target, headers=headers)
                wire.send(protocol.send(request) + protocol.send(h11.EndOfMessage()))
                response = Response(protocol, wire)
                response.begin()
                yield response
            except _FAILURES as exc:
                raise HttpError(f"connection lost: {_said(exc)}") from exc

    def pick(self, target: str, shape: Shape) -> Picked:
        """What a shape picks of a JSON answer, whose buffer is then zeroed.

        Raises:
            HttpError: as `get`, or the answer has not that form.
        """
        with self.get(target, _IDLE_SECONDS) as response:
            body = response.body()
        try:
            return pick(body, shape)
        except ParseError as exc:
            raise HttpError(str(exc)) from exc
        finally:
            wipe(body)


class ServerSource:
    """What sources that ask a server have in common; `_problem` may be called in any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._problems: dict[str, str] = {}

    def _problem(self, where: str, why: str) -> None:
        with self._lock:
            self._problems[where] = why

    def problems(self) -> Mapping[str, str]:
        """What went wrong since the last call: where, and why."""
        with self._lock:
            problems, self._problems = self._problems, {}
        return problems

    def denied(self) -> Sequence[str]:
        """No file of the host is read."""
        return ()

    def close(self) -> None:
        """No connection is held."""


class Response:
    """An answer whose status was 200."""

    def __init__(self, protocol: h11.Connection, wire: Wire) -> None:
        self._protocol = protocol
        self._wire = wire
        self._headers: dict[bytes, bytes] = {}

    def begin(self) -> None:
        """Wait for the header.

        Raises:
            HttpError: the status is another than 200.
        """
        event = self._header()
        while isinstance(event, h11.InformationalResponse):
            event = self._header()
        if not isinstance(event, h11.Response):
            raise HttpError("connection closed before the answer")
        if event.status_code != 200:
            raise HttpError(f"status {event.status_code}", event.status_code)
        self._headers = dict(event.headers)

    def _header(self) -> object:
        """Read one header, and not what follows it."""
        header = b""
        while not header.endswith((b"\n\r\n", b"\n\n")):
            line = self._wire.find(b"\n")
            if line is None:
                return None
            header += line
            if len(header) > BUFFER_BYTES:
                raise HttpError(f"a header of more than {BUFFER_BYTES} bytes")
        self._protocol.receive_data(header)
        return self._protocol.next_event()

    def body(self) -> bytearray:
        """The whole body, followed by spaces; whoever asks for it zeroes it.

        Raises:
            HttpError: it is larger than MAX_BYTES, or cut off.
        """
        whole = Gathered(MAX_BYTES)
        try:
            for piece in self._pieces():
                whole.add(piece)
        except BaseException:
            whole.wipe()
            raise
        return whole.document()

    def each_line(self, take: Callable[[bytearray], None]) -> None:
        """Give each line to `take` as it arrives, and zero it afterwards.

        Raises:
            HttpError: one is larger than MAX_BYTES, or the body is cut off.
        """
        lines = Gathered(MAX_BYTES)
        try:
            for piece in self._pieces():
                lines.add(piece)
                while (line := lines.line()) is not None:
                    try:
                        take(line)
                    finally:
                        wipe(line)
        finally:
            lines.wipe()

    def interrupt(self) -> None:
        """Let whoever waits for it see its end; from any thread."""
        self._wire.interrupt()

    def _pieces(self) -> Iterator[memoryview]:
        """The body as it arrives. Each piece is zeroed once the next is asked for."""
        length = self._headers.get(b"content-length")
        if b"transfer-encoding" in self._headers:  # h11 lets only "chunked" pass
            while size := self._chunk_size():
                yield from self._exactly(size)
                if self._wire.find(b"\n") not in (b"\r\n", b"\n"):
                    raise HttpError("a chunk is not as long as it says")
        elif length is not None:
            yield from self._exactly(int(length))
        else:
            while piece := self._wire.take(BUFFER_BYTES):
                yield piece

    def _chunk_size(self) -> int:
        line = self._wire.find(b"\n")
        size = None if line is None else _CHUNK_SIZE.fullmatch(line)
        if size is None:
            raise HttpError("connection closed in the middle of the answer, or no size of a chunk")
        return int(size[1], 16)

    def _exactly(self, size: int) -> Iterator[memoryview]:
        while size:
            piece = self._wire.take(size)
            if not piece:
                raise HttpError("connection closed in the middle of the answer")
            size -= len(piece)
            yield piece


def _token(path: str) -> str:
    with open(path, encoding="ascii") as file:
        token = file.read().strip()
    if _TOKEN.fullmatch(token) is None:
        raise ValueError(f"{path} holds no token")  # h11 would say what it holds
    return token


def _said(exc: BaseException) -> str:
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"the certificate is not trusted: {exc.verify_message}"
    if isinstance(exc, TimeoutError):
        return "no answer in time"
    if isinstance(exc, OSError) and exc.strerror:
        return f"{exc.filename}: {exc.strerror}" if exc.filename else exc.strerror
    return str(exc)
