"""Messages of rtnetlink, packed as the kernel packs them."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgexporter.parse.formats import ParseError
from cgexporter.parse.rtnetlink import Link, Message, parse_link, parse_messages, parse_nsid


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded."""
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def message(kind: int, body: bytes) -> bytes:
    """One message, padded."""
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 7, 0) + body + b"\0" * (-len(body) % 4)


_HEAD = struct.pack("=BxHiII", 0, 1, 3, 0, 0)


def test_veth() -> None:
    """A veth says its other end, in which namespace that is, and its bridge."""
    body = (
        _HEAD
        + attribute(3, b"vethab\0")
        + attribute(5, struct.pack("=i", 2))
        + attribute(10, struct.pack("=i", 9))
        + attribute(18, attribute(1, b"veth\0"))
        + attribute(37, struct.pack("=i", 0))
    )
    assert parse_link(body) == Link(3, "vethab", "veth", 2, 0, 9)


def test_plain_interface() -> None:
    """What an interface does not have is None."""
    assert parse_link(_HEAD + attribute(3, b"eth0\0")) == Link(3, "eth0", "", None, None, None)


def test_name_of_a_namespace() -> None:
    """-1 is no name."""
    assert parse_nsid(b"\0\0\0\0" + attribute(1, struct.pack("=i", 5))) == 5
    assert parse_nsid(b"\0\0\0\0" + attribute(1, struct.pack("=i", -1))) is None
    assert parse_nsid(b"\0\0\0\0") is None


def test_datagram() -> None:
    """A datagram holds one message behind the other."""
    data = message(16, b"abc") + message(3, b"")
    assert list(parse_messages(data)) == [Message(16, 7, b"abc"), Message(3, 7, b"")]


@pytest.mark.parametrize("body", [b"", _HEAD[:8], _HEAD + struct.pack("=HH", 99, 3)])
def test_cut_short(body: bytes) -> None:
    """What is cut short is refused."""
    with pytest.raises(ParseError):
        parse_link(body)


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    """Any bytes are read or refused, and nothing else happens."""
    for parse in (parse_link, parse_nsid, lambda data: list(parse_messages(data))):
        try:
            parse(data)
        except ParseError:
            continue
