"""Answers of servers, however they are cut into pieces, end up whole, and nowhere else."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator, Sequence

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgexporter.names import http
from cgexporter.names.http import HttpError, Response
from cgexporter.names.wire import BUFFER_BYTES, Gathered, TooMuchError, Wire

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def tellings(answer: bytes, cuts: Sequence[int]) -> Iterator[bytes]:
    """An answer in pieces."""
    places = sorted({cut % (len(answer) + 1) for cut in cuts})
    for start, end in zip([0, *places], [*places, len(answer)], strict=True):
        yield answer[start:end]


@contextlib.contextmanager
def asked(answer: bytes, cuts: Sequence[int] = (), *, end: bool = True) -> Iterator[Response]:
    """Ask a server that says `answer`; it hangs up at the end, or says nothing more."""
    ours, its = socket.socketpair()

    def tell() -> None:
        with contextlib.suppress(OSError):
            for piece in tellings(answer, cuts):
                its.sendall(piece)
            if end:
                its.shutdown(socket.SHUT_RDWR)

    teller = threading.Thread(target=tell)
    teller.start()
    wire = Wire(ours, 0.5)
    protocol = h11.Connection(h11.CLIENT)
    request = h11.Request(method="GET", target="/", headers=[("Host", "x")])
    protocol.send(request)
    protocol.send(h11.EndOfMessage())
    try:
        response = Response(protocol, wire)
        response.begin()
        yield response
    finally:
        wire.close()
        assert not any(wire._data)
        its.close()
        teller.join()


def chunks(body: bytes, cuts: Sequence[int]) -> bytes:
    """A body in the chunked transfer coding."""
    coded = b"".join(b"%x;e=1\r\n%b\r\n" % (len(c), c) for c in tellings(body, cuts) if c)
    return CHUNKED + coded + b"0\r\nTrailer: x\r\n\r\n"


CUTS = st.lists(st.integers(0, 200_000), max_size=8)
BODIES = st.binary(max_size=200) | st.integers(1, 150_000).map(lambda size: b"ab\n" * (size // 3))


@given(BODIES, CUTS, CUTS, st.sampled_from(["length", "chunked", "end"]))
def test_any_pieces(body: bytes, cuts: list[int], chunked: list[int], framing: str) -> None:
    """However a body is framed and cut, it arrives as it is."""
    answer = {
        "length": OK + b"Content-Length: %d\r\n\r\n" % len(body) + body,
        "chunked": chunks(body, chunked),
        "end": OK + b"\r\n" + body,
    }[framing]
    with asked(answer, cuts) as response:
        whole = response.body()
    assert bytes(whole[: len(body)]) == body
    assert not whole[len(body) :].strip(b" ")
    lines: list[bytes] = []
    with asked(answer, cuts) as response:
        response.each_line(lambda line: lines.append(bytes(line)))
    assert lines == body.split(b"\n")[:-1]


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (OK + b"Content-Length: 9\r\n\r\nshort", "in the middle"),
        (chunks(b"abc", [])[:-25], "in the middle"),
        (CHUNKED + b"4\r\nabcdef\r\n0\r\n\r\n", "not as long"),
        (CHUNKED + b"-4\r\nabcd\r\n0\r\n\r\n", "no size"),
        (CHUNKED + b"\r\n", "no size"),
        (CHUNKED + b"9" * 20 + b"\r\n", "no size"),
    ],
)
def test_what_is_cut_off(answer: bytes, problem: str) -> None:
    """Half an answer is none."""
    with asked(answer) as response, pytest.raises(HttpError, match=problem):
        response.body()


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"HTTP/1.1 302 Found\r\nLocation: http://other/\r\n\r\n", "status 302"),
        (OK[:-4], "closed before"),
        (b"", "closed before"),
        (OK + b"X: " + b"x" * BUFFER_BYTES + b"\r\n\r\n", "more than"),
        (OK + b"X: x\r\n" * BUFFER_BYTES, "more than"),
        (OK + b"Transfer-Encoding: gzip\r\n\r\n", "Transfer-Encoding"),
        (OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", "Content-Length"),
        (b"\r\n\r\n", "response line"),
        (b"SSH-2.0\r\n\r\n", "status line"),
    ],
)
def test_what_is_no_answer(answer: bytes, problem: str) -> None:
    """A redirect, and what is not HTTP, bring nothing."""
    failures = (HttpError, TooMuchError, h11.RemoteProtocolError)
    with pytest.raises(failures, match=problem), asked(answer):
        pass


def test_continue() -> None:
    """An answer may be announced."""
    with asked(b"HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n" + OK + b"\r\nbody") as response:
        assert bytes(response.body()).rstrip() == b"body"


def test_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is larger than it may be is not gathered: neither a body nor a line."""
    monkeypatch.setattr(http, "MAX_BYTES", 100_000)
    answer = OK + b"\r\n" + b"x" * 200_000
    with asked(answer) as response, pytest.raises(TooMuchError):
        response.body()
    with asked(answer) as response, pytest.raises(TooMuchError):
        response.each_line(print)


def test_silence() -> None:
    """Who says nothing more is not waited for longer than asked."""
    with asked(OK + b"\r\n", end=False) as response, pytest.raises(TimeoutError):
        response.body()


def test_interrupted() -> None:
    """Another thread may end the waiting."""
    with asked(CHUNKED + b"2\r\na\n\r\n", end=False) as response:
        lines: list[bytes] = []
        later = threading.Timer(0.1, response.interrupt)
        later.start()
        before = time.monotonic()
        with pytest.raises(HttpError, match="in the middle"):
            response.each_line(lambda line: lines.append(bytes(line)))
        assert time.monotonic() - before < 0.4
        later.join()
    assert lines == [b"a"]
    response.interrupt()  # it is closed


def test_lines_that_fail() -> None:
    """A line that nobody can take is zeroed like the others."""
    given: list[bytearray] = []

    def take(line: bytearray) -> None:
        given.append(line)
        raise ValueError

    with asked(OK + b"\r\nsecret\nmore\n") as response, pytest.raises(ValueError, match=r"^$"):
        response.each_line(take)
    assert given == [bytearray(6)]


@given(st.lists(st.binary(max_size=40) | st.integers(60_000, 70_000), max_size=12))
def test_gathered(parts: list[bytes | int]) -> None:
    """Lines come out whole and in order, and what was taken is zero in the buffer."""
    pieces = [b"x" * part if isinstance(part, int) else part for part in parts]
    gathered, lines, buffers = Gathered(1 << 20), [], []
    for piece in pieces:
        buffers.append(gathered._data)
        gathered.add(memoryview(piece))
        while (line := gathered.line()) is not None:
            lines.append(bytes(line))
    whole = b"".join(pieces)
    assert lines == whole.split(b"\n")[:-1]
    buffers = [buffer for buffer in buffers if buffer is not gathered._data]
    assert not any(any(buffer) for buffer in buffers)
    rest = whole.rpartition(b"\n")[2]
    assert bytes(gathered._data).strip(b"\0") == rest.strip(b"\0")
    gathered.wipe()
    assert not any(gathered._data)
