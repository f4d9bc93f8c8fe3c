"""procfs files about namespaces. Source: namespaces(7), user_namespaces(7), proc(5)."""

import re
from typing import NamedTuple

from cgexporter.parse.formats import ParseError, decimal, lines_of, text_of
from cgexporter.parse.proc import name_of, unescape

# A bind mount of a namespace: mountinfo's root is "net:[4026532281]", its type nsfs.
_NSFS = re.compile(rb"\S+ \S+ \S+ ([a-z]+):\[(\d+)\] (\S+) .* - nsfs ", re.ASCII)


_PF_KTHREAD = 0x00200000  # include/linux/sched.h


class Birth(NamedTuple):
    """What tells a process from others that had or will have its PID."""

    comm: str
    started: int  # clock ticks since boot
    kernel_thread: bool = False


class IdRange(NamedTuple):
    """One line of ``uid_map``: a range of IDs, inside and as the reader sees them."""

    inside: int
    outside: int
    length: int


class NamespaceMount(NamedTuple):
    """A bind mount that keeps a namespace, as ``ip netns add`` makes one."""

    kind: str
    inode: int
    mount_point: str


class CgroupLine(NamedTuple):
    """One line of ``/proc/PID/cgroup``; no controllers on the unified hierarchy."""

    controllers: frozenset[str]
    path: str


def parse_birth(data: bytes) -> Birth:
    """Parse ``/proc/PID/stat``: the command's name and when the process started.

    Raises:
        ParseError: it has no 22nd field.
    """
    opening, closing = data.find(b"("), data.rfind(b")")
    words = data[closing + 1 :].split(maxsplit=20)  # in this order: proc_pid_stat(5)
    if opening < 0 or closing < opening or len(words) < 20:
        raise ParseError(f"expected PID (COMM) STATE …, found {data[:80]!r}")
    flags, started = decimal(name_of(words[6])), decimal(name_of(words[19]))
    return Birth(name_of(data[opening + 1 : closing]), started, bool(flags & _PF_KTHREAD))


def parse_cgroup_lines(data: bytes) -> list[CgroupLine]:
    """Parse ``/proc/PID/cgroup``. A path may be relative to the reader's cgroup namespace.

    Raises:
        ParseError: a line is not ``ID:CONTROLLERS:PATH``.
    """
    lines = []
    for line in data.split(b"\n"):
        if not line:
            continue
        fields = line.split(b":", 2)
        if len(fields) < 3 or not fields[0].isdigit():
            raise ParseError(f"expected ID:CONTROLLERS:PATH, found {line[:80]!r}")
        _, controllers, path = map(name_of, fields)
        names = frozenset(controllers.split(",")) if controllers else frozenset[str]()
        lines.append(CgroupLine(names, path))
    return lines


def parse_id_map(data: bytes) -> tuple[IdRange, ...]:
    """Parse ``uid_map`` or ``gid_map``; empty where no map was written yet.

    Raises:
        ParseError: a line is not three decimals.
    """
    ranges = []
    for line in lines_of(text_of(data)):
        words = line.split()
        if len(words) != 3:
            raise ParseError(f"expected INSIDE OUTSIDE LENGTH, found {line[:80]!r}")
        ranges.append(IdRange._make(decimal(word) for word in words))
    return tuple(ranges)


def outside_id(ranges: tuple[IdRange, ...], inside: int) -> int | None:
    """What an ID inside a user namespace is outside; None where it is not mapped."""
    for line in ranges:
        if line.inside <= inside < line.inside + line.length:
            return line.outside + inside - line.inside
    return None


def parse_namespace_mounts(data: bytes) -> list[NamespaceMount]:
    """Parse ``mountinfo``: the bind mounts of namespaces in it."""
    mounts = []
    for line in data.split(b"\n"):
        if b" - nsfs " in line and (match := _NSFS.match(line)):
            kind, inode, point = match.groups()
            mounts.append(NamespaceMount(kind.decode(), int(inode), unescape(point)))
    return mounts
