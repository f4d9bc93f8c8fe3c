"""Connections: HTTP/1.1 over sockets that we accept, within bounds.

h11 keeps the protocol; nothing here parses HTTP by hand. Who is slow, silent or too many loses the
connection, so that a scrape finds one: when there are too many, the one goes that has waited
longest for its client.
"""

import asyncio
import contextlib
import errno
import gc
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import h11

from cgexporter.web.limits import Limits, TooManyGuessesError
from cgexporter.web.status import WebStatus

if TYPE_CHECKING:  # imported where there is a web configuration
    from cgexporter.web.live import Active, Live

log = logging.getLogger(__name__)

_CHUNK_BYTES = 64 * 1024
# How long, and for how much, a client is heard out after an answer that ends its connection:
# to close at once could take the answer from it.
_LINGER_SECONDS = 1.0
_LINGER_BYTES = 2 << 20
_CLOSE_SECONDS = 10.0
# asyncio's transports refer to themselves, 2 kB each: how many may lie about.
_LEFT_OVER = 256
# Nothing can be accepted for lack of descriptors or memory: wait so long.
_PAUSE_SECONDS = 0.1
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Answer(NamedTuple):
    """A response, before it meets the protocol."""

    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()


class Request(NamedTuple):
    """A request, as far as anything here depends on it."""

    method: str
    target: str
    headers: Mapping[str, str]


Handler = Callable[[Request], Awaitable[Answer]]
_TRY_LATER = (("Retry-After", "1"),)
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 21\r\nRetry-After: 1\r\n"
    b"Connection: close\r\n\r\ntoo many connections\n"
)
_UNAUTHORIZED = Answer(
    401,
    b"a name and password are needed\n",
    headers=(("WWW-Authenticate", 'Basic realm="cgexporter", charset="UTF-8"'),),
)


class _EndedError(Exception):
    """A connection that cannot go on.

    Args:
        reason: for the count.
        answer: to be sent first, if any.
    """

    def __init__(self, reason: str, answer: Answer | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.answer = answer


@dataclass(slots=True, eq=False)
class _Client:
    """One connection.

    Attributes:
        active: the configuration that it was accepted with.
        is_new: no request has come yet.
    """

    address: str
    protocol: h11.Connection
    task: asyncio.Task[None] | None = None
    active: "Active | None" = None
    is_new: bool = True


async def _somebody_waits(listener: socket.socket) -> None:
    """Wait for a connection that can be accepted.

    `loop.sock_accept` is no help: cancelled in the moment in which somebody comes, it accepts all
    the same, loses the connection and has the loop report an InvalidStateError.
    """
    loop = asyncio.get_running_loop()
    somebody = asyncio.Event()
    loop.add_reader(listener, somebody.set)
    try:
        await somebody.wait()
    finally:
        loop.remove_reader(listener)


class Connections:
    """Accepts connections and answers what is asked on them.

    Args:
        handler: gives the answers.
        limits: bounds.
        live: the web configuration; None for plain HTTP that anybody may ask.
        status: where to count.
    """

    def __init__(
        self, handler: Handler, limits: Limits, live: "Live | None", status: WebStatus
    ) -> None:
        self._handler = handler
        self._limits = limits
        self._live = live
        self._status = status
        self._clients: set[_Client] = set()
        # Those that wait for their client to ask or to take its answer, longest first.
        self._waiting: dict[_Client, None] = {}
        self._sending: dict[_Client, None] = {}
        self._answering: set[_Client] = set()
        self._left_over = 0
        self.closing = False

    async def accept(self, listener: socket.socket) -> None:
        """Accept until cancelled; the listener must stay open until this has ended."""
        said = False
        while True:
            await _somebody_waits(listener)
            try:
                connection, place = listener.accept()
            except OSError as exc:
                if exc.errno not in _EXHAUSTED:
                    continue  # the client was gone already
                if not said:
                    log.warning("cannot accept connections for now: %s", exc.strerror)
                    said = True
                self._make_room()
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            said = False
            self._begin(connection, str(place[0]))

    def _begin(self, connection: socket.socket, address: str) -> None:
        if len(self._clients) >= self._limits.connections and not self._make_room():
            self._status.ended["full"] += 1
            if self._live is None:
                with contextlib.suppress(OSError):
                    connection.send(_FULL)
            connection.close()
            return
        protocol = h11.Connection(h11.SERVER, max_incomplete_event_size=self._limits.head_bytes)
        client = _Client(address, protocol)
        self._clients.add(client)
        self._status.connections = len(self._clients)
        self._waiting[client] = None
        client.task = asyncio.create_task(self._connected(client, connection))

    def _make_room(self) -> bool:
        """Hang up on who has kept us waiting longest; False where nobody does."""
        client = next(iter(self._waiting), None) or next(iter(self._sending), None)
        if client is None:
            return False
        self._hang_up(client, "full")
        return True

    def _hang_up(self, client: _Client, reason: str) -> None:
        self._status.ended[reason] += 1
        self._forget(client)
        if client.task is not None:
            client.task.cancel()

    def _forget(self, client: _Client) -> None:
        self._clients.discard(client)
        self._waiting.pop(client, None)
        self._sending.pop(client, None)
        self._answering.discard(client)
        self._status.connections = len(self._clients)

    async def _connected(self, client: _Client, connection: socket.socket) -> None:
        """Serve one connection until either side closes it."""
        writer = None
        try:
            reader, writer = await self._open(client, connection)
            await self._serve(client, reader, writer)
        except _EndedError as exc:
            self._status.ended[exc.reason] += 1
        except (OSError, TimeoutError) as exc:
            log.debug("connection ended: %s", exc)
        except asyncio.CancelledError:
            pass  # the server stops, or another takes its place
        except Exception:
            log.exception("connection failed")
        finally:
            self._forget(client)
            if writer is not None:
                writer.transport.abort()
                self._left_over += 1
                if self._left_over == _LEFT_OVER:
                    self._left_over = 0
                    gc.collect(0)

    async def _open(
        self, client: _Client, connection: socket.socket
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Make streams of a socket, over TLS where that is configured."""
        connection.setblocking(False)
        try:
            client.active = active = await self._live.current() if self._live else None
        except BaseException:
            connection.close()  # later on it is the transport's to close
            raise
        context = active.context if active else None
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=self._limits.head_bytes)
        protocol = asyncio.StreamReaderProtocol(reader)
        options: dict[str, Any] = {}
        if context is not None:
            options = {
                "ssl": context,
                "ssl_handshake_timeout": self._limits.read_seconds,
                "ssl_shutdown_timeout": _LINGER_SECONDS,
            }
        try:
            transport, _ = await loop.connect_accepted_socket(
                lambda: protocol, connection, **options
            )
        except (OSError, TimeoutError) as exc:
            log.debug("no TLS with %s: %s", client.address, exc)
            raise _EndedError("tls") from None
        if active is not None and active.context is not None and active.config.tls is not None:
            from cgexporter.web.tls import is_allowed

            if not is_allowed(active.config.tls, transport.get_extra_info("peercert")):
                transport.abort()
                raise _EndedError("certificate")
        transport.set_write_buffer_limits(high=0)  # drain() waits for every byte
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)

    async def _serve(
        self, client: _Client, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        protocol = client.protocol
        while True:
            try:
                request = await self._next_request(client, reader)
                if request is None:
                    break
                self._waiting.pop(client, None)
                self._answering.add(client)
                answer = await self._answer(client, request)
            except _EndedError as exc:
                if exc.answer is not None:
                    await self._send(client, writer, exc.answer, last=True)
                    await self._linger(reader, writer)
                raise
            stale = self._is_stale(client)
            await self._send(
                client, writer, answer, head=request.method == "HEAD", last=stale or self.closing
            )
            self._answering.discard(client)
            self._waiting[client] = None
            if protocol.our_state is not h11.DONE or protocol.their_state is not h11.DONE:
                break
            protocol.start_next_cycle()
        await self._finish(writer)

    async def _next_request(self, client: _Client, reader: asyncio.StreamReader) -> Request | None:
        """Read up to the end of a request; None where the client has no more.

        Raises:
            _EndedError: what came is no request, has a body or is late.
        """
        limits, protocol = self._limits, client.protocol
        loop = asyncio.get_running_loop()
        begun = bool(protocol.trailing_data[0])
        wait = limits.read_seconds if begun or client.is_new else limits.idle_seconds
        client.is_new = False
        try:
            async with asyncio.timeout(wait) as patience:
                event = protocol.next_event()
                while event is h11.NEED_DATA:
                    data = await reader.read(_CHUNK_BYTES)
                    if data and not begun:
                        begun = True
                        patience.reschedule(loop.time() + limits.read_seconds)
                    protocol.receive_data(data)
                    event = protocol.next_event()
                if not isinstance(event, h11.Request):
                    return None  # hung up between requests
                if not isinstance(protocol.next_event(), h11.EndOfMessage):
                    raise _EndedError("body", Answer(413, b"no request here has a body\n"))
        except TimeoutError:
            late = Answer(408, b"the request did not come in time\n") if begun else None
            raise _EndedError("timeout", late) from None
        except h11.RemoteProtocolError as exc:
            if protocol.their_state is h11.ERROR and not begun:
                return None
            status = exc.error_status_hint
            text = b"too large\n" if status == 431 else b"bad request\n"
            raise _EndedError("malformed", Answer(status, text)) from None
        headers: dict[str, str] = {}
        for name, value in event.headers:
            word, text_ = name.decode(), value.decode("latin-1")
            headers[word] = f"{headers[word]}, {text_}" if word in headers else text_
        return Request(event.method.decode(), event.target.decode("ascii", "replace"), headers)

    async def _answer(self, client: _Client, request: Request) -> Answer:
        if self._live is None:
            return await self._handled(request)
        active = await self._live.current()
        if client.active is None or client.active.demands != active.demands:
            # It was let in by rules that are no longer in force. A client that kept its
            # connection for long takes this for an end in idleness, and asks again.
            raise _EndedError("config")
        answer = await self._admitted(active, client, request)
        return answer._replace(headers=(*answer.headers, *active.config.headers))

    async def _admitted(self, active: "Active", client: _Client, request: Request) -> Answer:
        """The answer, where the configuration lets the client have it."""
        assert self._live is not None
        if active.limiter is not None and not active.limiter.take():
            return Answer(429, b"too many requests\n", headers=_TRY_LATER)
        if active.config.users:
            try:
                right = await self._live.authenticator.is_right(
                    active.config.users, request.headers.get("authorization", ""), client.address
                )
            except TooManyGuessesError:
                return Answer(429, b"too many wrong passwords\n", headers=_TRY_LATER)
            if not right:
                return _UNAUTHORIZED
        return await self._handled(request)

    async def _handled(self, request: Request) -> Answer:
        try:
            return await self._handler(request)
        except Exception:
            log.exception("request failed")
            return Answer(500, b"internal error; see the log\n")

    def _is_stale(self, client: _Client) -> bool:
        """Whether a new connection would get another certificate."""
        return self._live is not None and client.active is not self._live.active

    async def _send(
        self,
        client: _Client,
        writer: asyncio.StreamWriter,
        answer: Answer,
        *,
        head: bool = False,
        last: bool = False,
    ) -> None:
        protocol = client.protocol
        if protocol.our_state not in (h11.SEND_RESPONSE, h11.IDLE):
            return
        # A configured header stands in for our own of the same name.
        headers = {
            "content-type": answer.content_type,
            "content-length": str(len(answer.body)),
            "x-content-type-options": "nosniff",
            **{name.lower(): value for name, value in answer.headers},
        }
        if last:
            headers["connection"] = "close"
        self._status.requests[answer.status] += 1
        data = protocol.send(h11.Response(status_code=answer.status, headers=list(headers.items())))
        writer.write(data or b"")
        if not head:
            writer.write(protocol.send(h11.Data(data=answer.body)) or b"")
        protocol.send(h11.EndOfMessage())
        self._sending[client] = None
        if len(self._sending) > self._limits.slow:  # each may hold a page in its buffer
            self._hang_up(next(iter(self._sending)), "slow")
        try:
            async with asyncio.timeout(self._limits.write_seconds):
                await writer.drain()
        except TimeoutError:
            raise _EndedError("timeout") from None
        finally:
            self._sending.pop(client, None)

    async def _linger(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take what a client still sends, so that it gets to read the answer."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_SECONDS):
                if writer.can_write_eof():
                    writer.write_eof()
                left = _LINGER_BYTES
                while left > 0 and (data := await reader.read(_CHUNK_BYTES)):
                    left -= len(data)

    async def _finish(self, writer: asyncio.StreamWriter) -> None:
        """Close as TLS wants it: with a word of farewell."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_SECONDS):
                writer.close()
                await writer.wait_closed()

    async def close(self) -> None:
        """Let requests under way finish, then close what is left."""
        self.closing = True
        tasks = {c.task for c in self._clients if c.task is not None}
        busy = {c.task for c in self._answering if c.task is not None}
        for task in tasks - busy:
            task.cancel()
        if busy:
            await asyncio.wait(busy, timeout=_CLOSE_SECONDS)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_LINGER_SECONDS)
