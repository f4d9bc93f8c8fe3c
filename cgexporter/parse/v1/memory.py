"""memory of cgroup v1. Source: cgroup-v1/memory.rst, "Statistics file", "OOM Control"."""

import math
from typing import NamedTuple

from cgexporter.parse.formats import (
    FlatKeyed,
    ParseError,
    decimal,
    flat_keyed,
    lines_of,
    single_value,
    text_of,
)

# "No limit" is LONG_MAX rounded down to a page, whose size differs between machines; no
# machine has 4 EiB of memory.
_UNLIMITED = 1 << 62


class MemoryStat(NamedTuple):
    """v1 ``memory.stat``: the ``total_`` keys, which include descendants as v2's do."""

    total_cache: int | None = None
    total_rss: int | None = None
    total_shmem: int | None = None
    total_mapped_file: int | None = None
    total_dirty: int | None = None
    total_writeback: int | None = None
    total_inactive_file: int | None = None
    total_active_file: int | None = None
    total_swap: int | None = None
    total_workingset_refault_anon: int | None = None
    total_workingset_refault_file: int | None = None
    total_pgfault: int | None = None
    total_pgmajfault: int | None = None


class MemoryStatMore(NamedTuple):
    """The ``total_`` keys that `MemoryStat` leaves out."""

    total_rss_huge: int | None = None
    total_swapcached: int | None = None
    total_inactive_anon: int | None = None
    total_active_anon: int | None = None
    total_unevictable: int | None = None
    total_pgpgin: int | None = None
    total_pgpgout: int | None = None


class OomControl(NamedTuple):
    """``memory.oom_control``: settings and state, 1 is on."""

    oom_kill_disable: int | None = None
    under_oom: int | None = None


_oom_control = FlatKeyed(OomControl._fields)
_memory_stat = FlatKeyed(MemoryStat._fields)
_memory_stat_more = FlatKeyed(MemoryStatMore._fields)


def parse_memory_stat(data: bytes) -> MemoryStat:
    """Parse a v1 ``memory.stat``: bytes and counts."""
    return MemoryStat._make(_memory_stat(data))


def parse_memory_stat_more(data: bytes) -> MemoryStatMore:
    """Parse the rest of a v1 ``memory.stat``."""
    return MemoryStatMore._make(_memory_stat_more(data))


def parse_numa_stat(data: bytes) -> dict[str, dict[str, int]]:
    """Parse a v1 ``memory.numa_stat``: by node number, then by key; pages, with descendants.

    Raises:
        ParseError: a line is not ``KEY=VAL N0=VAL …``.
    """
    nodes: dict[str, dict[str, int]] = {}
    for number, line in enumerate(lines_of(text_of(data)), 1):
        key, *pairs = line.split() or [""]
        if not key.partition("=")[0]:
            raise ParseError(f"line {number}: expected KEY=VAL NODE=VAL …, found {line[:80]!r}")
        if not key.startswith("hierarchical_"):
            continue
        name = key.removeprefix("hierarchical_").partition("=")[0]
        for pair in pairs:
            node, equals, word = pair.partition("=")
            if not equals or not node.startswith("N"):
                raise ParseError(f"line {number}: expected NODE=VAL, found {pair[:40]!r}")
            nodes.setdefault(node[1:], {})[name] = decimal(word)
    return nodes


def parse_oom_kill(data: bytes) -> int | None:
    """Parse ``memory.oom_control``: processes of this cgroup killed (Linux 4.13)."""
    return flat_keyed(data).get("oom_kill")


def parse_oom_control(data: bytes) -> OomControl:
    """Parse the settings and the state in ``memory.oom_control``."""
    return OomControl._make(_oom_control(data))


def parse_limit(data: bytes) -> int | float:
    """Parse ``memory.limit_in_bytes`` and its kin: bytes, `math.inf` for no limit."""
    value = single_value(data)
    return math.inf if value >= _UNLIMITED else value
