"""procfs files. Source: proc(5), proc_pid_mountinfo(5), proc_pid_cgroup(5)."""

import re
from typing import NamedTuple

from cgexporter.parse.formats import ParseError, decimal

_OCTAL = re.compile(rb"\\([0-7]{3})")


class Mount(NamedTuple):
    """One line of ``mountinfo`` that mounts a cgroup hierarchy."""

    device: str  # MAJOR:MINOR, one per hierarchy however often it is mounted
    root: str  # the directory of the hierarchy that is mounted
    mount_point: str
    fstype: str  # "cgroup" or "cgroup2"
    options: frozenset[str]  # super options: v1 controllers, name=…, memory_localevents, …


def name_of(data: bytes) -> str:
    """A name as the kernel has it: any bytes, kept as surrogates where they are not UTF-8."""
    return data.decode("utf-8", "surrogateescape")


def _lines(data: bytes) -> list[bytes]:
    """Lines as the kernel ends them; names in them may hold a carriage return."""
    return data.removesuffix(b"\n").split(b"\n") if data else []


def unescape(word: bytes) -> str:
    """A word of mountinfo, in which blanks and backslashes are octal."""
    return name_of(_OCTAL.sub(lambda match: bytes([int(match[1], 8) & 0xFF]), word))


def parse_cgroup_mounts(data: bytes) -> list[Mount]:
    """Parse ``mountinfo``: the cgroup and cgroup2 mounts in it.

    Raises:
        ParseError: a line lacks the fields of mountinfo.
    """
    mounts = []
    for number, line in enumerate(_lines(data), 1):
        before, dash, after = line.partition(b" - ")
        fields, types = before.split(b" "), after.split(b" ")
        if not dash or len(fields) < 6 or len(types) < 2:
            raise ParseError(f"line {number}: expected a mount, found {line[:80]!r}")
        if types[0] in (b"cgroup", b"cgroup2"):
            mounts.append(
                Mount(
                    device=fields[2].decode("ascii", "replace"),
                    root=unescape(fields[3]),
                    mount_point=unescape(fields[4]),
                    fstype=types[0].decode(),
                    options=frozenset(name_of(types[2]).split(",")) if types[2:] else frozenset(),
                )
            )
    return mounts


def parse_namespace_link(link: str) -> int:
    """Parse the target of ``/proc/PID/ns/KIND``: ``KIND:[INODE]``. Source: namespaces(7)."""
    match = re.fullmatch(r"[a-z_]+:\[(\d+)\]", link, re.ASCII)
    if match is None:
        raise ParseError(f"expected KIND:[INODE], found {link[:40]!r}")
    return int(match[1])


def parse_nested_pids(data: bytes) -> tuple[int, ...]:
    """Parse ``NSpid`` of ``/proc/PID/status``: the PID in each nested PID namespace.

    One number: the process lives in the namespace of the mounted procfs. None: the kernel
    is older than 4.1. Source: proc_pid_status(5).
    """
    for line in _lines(data):
        if line.startswith(b"NSpid:"):
            return tuple(decimal(name_of(word)) for word in line.split()[1:])
    return ()


def parse_start_time(data: bytes) -> int:
    """Parse ``/proc/PID/stat`` for `starttime`: clock ticks after boot. Source: proc_pid_stat(5).

    With the PID it tells a process from another that is given its number later. The command's
    name, in parentheses, may hold anything.
    """
    fields = data.rpartition(b")")[2].split()
    if len(fields) < 20:
        raise ParseError(f"expected the fields of a process, found {data[:40]!r}")
    return decimal(name_of(fields[19]))


def parse_boot_time(data: bytes) -> int:
    """Parse ``/proc/stat`` for `btime`: seconds since the epoch. Source: proc_stat(5)."""
    for line in _lines(data):
        key, _, value = line.partition(b" ")
        if key == b"btime":
            return decimal(name_of(value))
    raise ParseError("expected a line btime")


def parse_parent(data: bytes) -> int:
    """Parse ``/proc/PID/stat`` for the parent's PID; 0 has none. Source: proc_pid_stat(5)."""
    fields = data.rpartition(b")")[2].split()
    if len(fields) < 2:
        raise ParseError(f"expected the fields of a process, found {data[:40]!r}")
    return decimal(name_of(fields[1]))


def parse_score(data: bytes) -> int:
    """Parse ``/proc/PID/oom_score_adj``: -1000 to 1000. Source: proc_pid_oom_score_adj(5)."""
    word = data.strip()
    if not re.fullmatch(rb"-?\d{1,4}", word):
        raise ParseError(f"expected a score, found {word[:40]!r}")
    return int(word)


def parse_partitions(data: bytes) -> dict[str, str]:
    """Parse ``/proc/partitions``: device names by ``MAJOR:MINOR``."""
    names = {}
    for line in _lines(data):
        words = name_of(line).split()
        if len(words) == 4 and words[0].isdecimal() and words[1].isdecimal():
            names[f"{words[0]}:{words[1]}"] = words[3]
    return names


class MemInfo(NamedTuple):
    """``/proc/meminfo``: the machine's memory in bytes; None where absent."""

    mem_total: int | None = None
    anon_pages: int | None = None
    cached: int | None = None
    buffers: int | None = None
    swap_cached: int | None = None
    swap_total: int | None = None
    swap_free: int | None = None


_MEMINFO = ("MemTotal", "AnonPages", "Cached", "Buffers", "SwapCached", "SwapTotal", "SwapFree")


def parse_meminfo(data: bytes) -> MemInfo:
    """Parse ``/proc/meminfo``. Source: proc_meminfo(5)."""
    values: dict[bytes, int] = {}
    for line in _lines(data):
        key, _, rest = line.partition(b":")
        words = rest.split()
        if len(words) == 2 and words[1] == b"kB":
            values[key] = decimal(name_of(words[0])) * 1024
    return MemInfo._make(values.get(key.encode()) for key in _MEMINFO)


def parse_tasks(data: bytes) -> int:
    """Parse ``/proc/loadavg``: tasks (threads included) of the whole machine, field 4."""
    words = name_of(data).split()
    if len(words) < 4:
        raise ParseError(f"expected five fields, found {data[:80]!r}")
    return decimal(words[3].partition("/")[2])


def parse_cpus(data: bytes) -> int:
    """Parse ``/proc/stat``: how many CPUs are online. Source: proc_stat(5)."""
    return len(re.findall(rb"^cpu\d+ ", data, re.MULTILINE))


def parse_oom_kills(data: bytes) -> int | None:
    """Parse ``/proc/vmstat``: processes killed for lack of memory anywhere (``oom_kill``)."""
    match = re.search(rb"^oom_kill (\d+)$", data, re.MULTILINE)
    return None if match is None else int(match[1])
