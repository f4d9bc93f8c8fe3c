"""memory of cgroup v1. Source: cgroup-v1/memory.rst, "Statistics file", "OOM Control"."""

import math
from typing import NamedTuple

from cgexporter.parse.formats import FlatKeyed, flat_keyed, single_value

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
    total_swap: int | None = None
    total_workingset_refault_anon: int | None = None
    total_workingset_refault_file: int | None = None
    total_pgfault: int | None = None
    total_pgmajfault: int | None = None


_memory_stat = FlatKeyed(MemoryStat._fields)


def parse_memory_stat(data: bytes) -> MemoryStat:
    """Parse a v1 ``memory.stat``: bytes and counts."""
    return MemoryStat._make(_memory_stat(data))


def parse_oom_kill(data: bytes) -> int | None:
    """Parse ``memory.oom_control``: processes of this cgroup killed (Linux 4.13)."""
    return flat_keyed(data).get("oom_kill")


def parse_limit(data: bytes) -> int | float:
    """Parse ``memory.limit_in_bytes`` and its kin: bytes, `math.inf` for no limit."""
    value = single_value(data)
    return math.inf if value >= _UNLIMITED else value
