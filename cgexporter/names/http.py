"""A small HTTP/1.1 client over asyncio streams; h11 keeps the protocol.

Kubernetes' and the runtimes' client packages take 30 to 70 MiB. Bodies stay in buffers that are
zeroed after use, for manifests hold the environment of containers.
"""

import asyncio
import contextlib
import os
import ssl
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import h11

from cgexporter import __version__
from cgexporter.names.door import wipe
from cgexporter.names.pick import Picked, Shape, pick
from cgexporter.parse.formats import ParseError

_CONNECT_SECONDS = 5.0
_MAX_HEADER_BYTES = 64 * 1024
_CHUNK = 64 * 1024
_IDLE_SECONDS = 10.0
MAX_BYTES = 64 << 20


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

    @contextlib.asynccontextmanager
    async def get(self, target: str, idle_seconds: float) -> AsyncIterator["Response"]:
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
        try:
            context = self._trust() if url.scheme == "https" else None
            if context is not None and self.token_file:
                # Kubernetes replaces the file long before the token expires.
                headers.append(("Authorization", f"Bearer {_line(self.token_file)}"))
            async with asyncio.timeout(_CONNECT_SECONDS):
                reader, writer = await self._connect(url.hostname or "", url.port, context)
        except (OSError, TimeoutError, ValueError) as exc:
            raise HttpError(f"cannot connect: {_said(exc)}") from exc
        try:
            protocol = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEADER_BYTES)
            request = h11.Request(method="GET", target=target, headers=headers)
            writer.write(protocol.send(request) + protocol.send(h11.EndOfMessage()))
            response = Response(protocol, reader, idle_seconds)
            await response.begin()
            yield response
        except (OSError, TimeoutError, h11.RemoteProtocolError) as exc:
            raise HttpError(f"connection lost: {_said(exc)}") from exc
        finally:
            writer.transport.abort()

    async def pick(self, target: str, shape: Shape) -> Picked:
        """What a shape picks of a JSON answer, whose buffer is then zeroed.

        Raises:
            HttpError: as `get`, or the answer has not that form.
        """
        async with self.get(target, _IDLE_SECONDS) as response:
            body = await response.body()
        try:
            return pick(body, shape)
        except ParseError as exc:
            raise HttpError(str(exc)) from exc
        finally:
            wipe(body)

    async def _connect(
        self, host: str, port: int | None, context: ssl.SSLContext | None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self.socket:
            return await asyncio.open_unix_connection(self.socket)
        return await asyncio.open_connection(
            host, port or (443 if context else 80), ssl=context, limit=_CHUNK
        )

    def _trust(self) -> ssl.SSLContext:
        if not self.ca_file or not os.path.exists(self.ca_file):
            raise ValueError(f"no certificates in {self.ca_file!r}: give --identity.ca-file")
        return ssl.create_default_context(cafile=self.ca_file)


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

    def __init__(
        self, protocol: h11.Connection, reader: asyncio.StreamReader, idle_seconds: float
    ) -> None:
        self._protocol = protocol
        self._reader = reader
        self._idle_seconds = idle_seconds

    async def begin(self) -> None:
        """Wait for the header.

        Raises:
            HttpError: the status is another than 200.
        """
        event = await self._next()
        while isinstance(event, h11.InformationalResponse):
            event = await self._next()
        if not isinstance(event, h11.Response):
            raise HttpError("connection closed before the answer")
        if event.status_code != 200:
            raise HttpError(f"status {event.status_code}", event.status_code)

    async def chunks(self) -> AsyncIterator[bytearray]:
        """The body as it arrives. Each piece is zeroed once the next is asked for."""
        while isinstance(event := await self._next(), h11.Data):
            piece = bytearray(event.data)
            yield piece
            piece[:] = bytes(len(piece))

    async def body(self) -> bytearray:
        """The whole body; whoever asks for it zeroes it.

        Raises:
            HttpError: it is larger than MAX_BYTES.
        """
        whole = bytearray()
        async for piece in self.chunks():
            if len(whole) + len(piece) > MAX_BYTES:
                raise HttpError(f"more than {MAX_BYTES} bytes")
            whole += piece
        return whole

    async def _next(self) -> object:
        while (event := self._protocol.next_event()) is h11.NEED_DATA:
            async with asyncio.timeout(self._idle_seconds):
                self._protocol.receive_data(await self._reader.read(_CHUNK))
        return event


def _line(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read().strip()


def _said(exc: BaseException) -> str:
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"the certificate is not trusted: {exc.verify_message}"
    if isinstance(exc, TimeoutError):
        return "no answer in time"
    if isinstance(exc, OSError) and exc.strerror:
        return f"{exc.filename}: {exc.strerror}" if exc.filename else exc.strerror
    return str(exc)
