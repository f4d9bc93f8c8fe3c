"""The door to rtnetlink(7): asks the kernel for interfaces and names of network namespaces.

All of it is allowed to anyone: RTM_GETLINK and RTM_GETNSID are no changes, and the group that
tells of changed links is open to all. What is asked is the network namespace of this process.
"""

import errno
import os
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Protocol

from cgexporter.kernel import Missing, reason
from cgexporter.parse.formats import ParseError
from cgexporter.parse.rtnetlink import (
    NLMSG_DONE,
    NLMSG_ERROR,
    RTM_NEWLINK,
    RTM_NEWNSID,
    Link,
    Message,
    parse_link,
    parse_messages,
    parse_nsid,
)

_RTM_GETLINK, _RTM_GETNSID = 18, 90
_NLM_F_REQUEST, _NLM_F_DUMP = 1, 0x300
_RTMGRP_LINK = 1
_NETNSA_PID, _NETNSA_FD = 2, 3
_RECEIVE_BYTES = 1 << 17
_TIMEOUT_SECONDS = 1.0


class Links(Protocol):
    """What is asked of rtnetlink: see `Rtnetlink`."""

    def changed(self) -> bool:
        """See `Rtnetlink`."""

    def all(self) -> list[Link]:
        """See `Rtnetlink`."""

    def nsid_of_process(self, pid: int) -> int | Missing | None:
        """See `Rtnetlink`."""

    def nsid_of_descriptor(self, fd: int) -> int | Missing | None:
        """See `Rtnetlink`."""

    def close(self) -> None:
        """See `Rtnetlink`."""


def opened() -> Links:
    """What answers: this host, or what stands in for it.

    Raises:
        OSError: no netlink socket may be opened here.
    """
    return _open()


def stand_in(make: Callable[[], Links] | None) -> None:
    """Ask something else than this host, as `host.stand_in` does; None is the host again."""
    global _open  # noqa: PLW0603
    _open = make or Rtnetlink


class Rtnetlink:
    """The interfaces of this process's network namespace.

    Raises:
        OSError: no netlink socket may be opened here (seccomp, another kernel).
    """

    def __init__(self) -> None:
        self._socket = _opened(0)
        self._changes = _opened(_RTMGRP_LINK)
        self._changes.setblocking(False)
        self._sequence = 0
        self._fresh = False

    def changed(self) -> bool:
        """Whether links changed since the last call; True on the first."""
        changed = not self._fresh
        self._fresh = True
        while True:
            try:
                self._changes.recv(_RECEIVE_BYTES)
            except BlockingIOError:
                return changed
            except OSError as exc:
                if exc.errno != errno.ENOBUFS:  # more changes than the socket holds
                    raise
            changed = True

    def all(self) -> list[Link]:
        """Each interface.

        Raises:
            OSError: the kernel refused.
            ParseError: its answer has not the form that is known.
        """
        body = struct.pack("=BxHiII", socket.AF_UNSPEC, 0, 0, 0, 0)
        messages = self._ask(_RTM_GETLINK, _NLM_F_DUMP, body)
        return [parse_link(message.body) for message in messages if message.type == RTM_NEWLINK]

    def nsid_of_process(self, pid: int) -> int | Missing | None:
        """What this namespace calls the one of a process; PID as this process counts."""
        return self._nsid(_NETNSA_PID, pid)

    def nsid_of_descriptor(self, fd: int) -> int | Missing | None:
        """What this namespace calls one that is open."""
        return self._nsid(_NETNSA_FD, fd)

    def _nsid(self, attribute: int, value: int) -> int | Missing | None:
        body = struct.pack("=Bxxx", socket.AF_UNSPEC) + struct.pack("=HHi", 8, attribute, value)
        try:
            for message in self._ask(_RTM_GETNSID, 0, body):
                if message.type == RTM_NEWNSID:
                    return parse_nsid(message.body)
        except OSError as exc:
            return reason(exc)
        return None

    def _ask(self, kind: int, flags: int, body: bytes) -> Iterator[Message]:
        self._sequence += 1
        length = 16 + len(body)
        header = struct.pack("=IHHII", length, kind, _NLM_F_REQUEST | flags, self._sequence, 0)
        self._socket.send(header + body)
        while True:
            for message in parse_messages(self._socket.recv(_RECEIVE_BYTES)):
                if message.sequence != self._sequence:
                    continue  # of a question that was given up
                if message.type == NLMSG_ERROR:
                    if len(message.body) < 4:
                        raise ParseError("expected an errno behind NLMSG_ERROR")
                    number = -struct.unpack_from("=i", message.body)[0]
                    raise OSError(number, os.strerror(number))
                if message.type == NLMSG_DONE:
                    return
                yield message
                if not flags:
                    return

    def close(self) -> None:
        """Close the sockets."""
        self._socket.close()
        self._changes.close()


_open: Callable[[], Links] = Rtnetlink


def _opened(groups: int) -> socket.socket:
    opened = socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
    )
    opened.settimeout(_TIMEOUT_SECONDS)
    opened.bind((0, groups))
    return opened
