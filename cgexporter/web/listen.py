"""Sockets to accept on: made here, or handed over by systemd."""

import asyncio
import errno
import os
import socket
from collections.abc import Sequence

# Connections that the kernel completes before they are accepted.
_BACKLOG = 512
# The first descriptor handed over. Source: sd_listen_fds(3).
_FIRST_DESCRIPTOR = 3
_FAMILIES = (socket.AF_INET, socket.AF_INET6)


async def listen(addresses: Sequence[tuple[str, int]]) -> list[socket.socket]:
    """Listen on addresses.

    Args:
        addresses: host and port of each; "" is every address.

    Raises:
        OSError: one of them cannot be listened on.
    """
    loop = asyncio.get_running_loop()
    made: list[socket.socket] = []
    try:
        for host, port in addresses:
            found = await loop.getaddrinfo(
                host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            places = dict.fromkeys((family, place) for family, _, _, _, place in found)
            listening = [_bind(family, place, len(places) > 1) for family, place in places]
            made += filter(None, listening)
    except OSError:
        for listener in made:
            listener.close()
        raise
    if not made:
        raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    return made


def _bind(family: int, place: tuple[object, ...], among_others: bool) -> socket.socket | None:
    """Listen on one address; None where the host has no such family and there are others."""
    try:
        # With its protocol, by which asyncio knows TCP and switches Nagle's algorithm off.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    except OSError:
        if among_others:
            return None
        raise
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(place)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError as exc:
        listener.close()
        # IPv6 switched off leaves "::" without an address.
        if among_others and exc.errno == errno.EADDRNOTAVAIL:
            return None
        raise
    return listener


def handed_over() -> list[socket.socket]:
    """The sockets that systemd listens on for us.

    Raises:
        OSError: there are none, or they are not of streams.
    """
    count = os.environ.pop("LISTEN_FDS", "0")
    pid = os.environ.pop("LISTEN_PID", "")
    if pid != str(os.getpid()) or not count.isdecimal() or not int(count):
        raise OSError(errno.ENOTSOCK, "systemd handed no socket over (is cgexporter.socket up?)")
    made = []
    for fd in range(_FIRST_DESCRIPTOR, _FIRST_DESCRIPTOR + int(count)):
        os.set_inheritable(fd, False)
        listener = socket.socket(fileno=fd)
        if listener.type != socket.SOCK_STREAM or listener.family not in _FAMILIES:
            raise OSError(errno.ENOTSUP, "a socket from systemd is not ListenStream= of TCP")
        listener.setblocking(False)
        made.append(listener)
    return made
