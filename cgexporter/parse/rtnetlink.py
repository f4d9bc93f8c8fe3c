"""Messages of rtnetlink(7). Source: include/uapi/linux/{netlink,rtnetlink,if_link}.h."""

import struct
import sys
from collections.abc import Iterator
from typing import NamedTuple

from cgexporter.parse.formats import ParseError
from cgexporter.parse.proc import name_of

_NLMSG = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_IFINFOMSG = struct.Struct("=BxHiII")  # family, type, index, flags, change
_NLATTR = struct.Struct("=HH")  # length, type
_RTGENMSG_SIZE = 4
_TYPE = 0x3FFF  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER

NLMSG_ERROR, NLMSG_DONE = 2, 3
RTM_NEWLINK, RTM_NEWNSID = 16, 88
_IFLA_IFNAME, _IFLA_LINK, _IFLA_MASTER, _IFLA_LINKINFO, _IFLA_LINK_NETNSID = 3, 5, 10, 18, 37
_IFLA_INFO_KIND = 1
_NETNSA_NSID = 1


class Message(NamedTuple):
    """One netlink message."""

    type: int
    sequence: int
    body: bytes


class Link(NamedTuple):
    """One interface of the namespace that was asked.

    Attributes:
        kind: "veth", "bridge", …; "" for hardware and the loopback interface.
        peer_index: index of the other end (IFLA_LINK), in the namespace `peer_nsid`.
        peer_nsid: what the asked namespace calls the other end's; None where it is the same.
        master: index of the bridge (or bond, VRF) that it is a port of.
    """

    ifindex: int
    name: str
    kind: str
    peer_index: int | None
    peer_nsid: int | None
    master: int | None


def parse_messages(data: bytes) -> Iterator[Message]:
    """Split one datagram into messages.

    Raises:
        ParseError: a message is longer than what is there.
    """
    while len(data) >= _NLMSG.size:
        length, kind, _, sequence, _ = _NLMSG.unpack_from(data)
        if not _NLMSG.size <= length <= len(data):
            raise ParseError(f"expected a message of {length} bytes, found {len(data)}")
        yield Message(kind, sequence, data[_NLMSG.size : length])
        data = data[(length + 3) & ~3 :]


def _attributes(data: bytes) -> dict[int, bytes]:
    found = {}
    while len(data) >= _NLATTR.size:
        length, kind = _NLATTR.unpack_from(data)
        if not _NLATTR.size <= length <= len(data):
            raise ParseError(f"expected an attribute of {length} bytes, found {len(data)}")
        found[kind & _TYPE] = data[_NLATTR.size : length]
        data = data[(length + 3) & ~3 :]
    return found


def _text(value: bytes | None) -> str:
    return name_of((value or b"").partition(b"\0")[0])


def _integer(value: bytes | None) -> int | None:
    return None if value is None else int.from_bytes(value, sys.byteorder, signed=True)


def parse_link(body: bytes) -> Link:
    """Parse the body of RTM_NEWLINK.

    Raises:
        ParseError: it is cut short.
    """
    if len(body) < _IFINFOMSG.size:
        raise ParseError(f"expected an ifinfomsg, found {len(body)} bytes")
    index = _IFINFOMSG.unpack_from(body)[2]
    found = _attributes(body[_IFINFOMSG.size :])
    info = _attributes(found.get(_IFLA_LINKINFO, b""))
    return Link(
        index,
        _text(found.get(_IFLA_IFNAME)),
        _text(info.get(_IFLA_INFO_KIND)),
        _integer(found.get(_IFLA_LINK)),
        _integer(found.get(_IFLA_LINK_NETNSID)),
        _integer(found.get(_IFLA_MASTER)),
    )


def parse_nsid(body: bytes) -> int | None:
    """Parse the body of RTM_NEWNSID, the answer to RTM_GETNSID; None is "has none".

    Raises:
        ParseError: it is cut short.
    """
    nsid = _integer(_attributes(body[_RTGENMSG_SIZE:]).get(_NETNSA_NSID))
    return None if nsid is None or nsid < 0 else nsid
