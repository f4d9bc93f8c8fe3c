"""memory controller files. Source: cgroup-v2.rst, "Memory Interface Files"."""

from typing import NamedTuple

from cgexporter.parse.formats import FlatKeyed


class MemoryStat(NamedTuple):
    """One reading of ``memory.stat``: bytes, and counts of pages or faults; None = absent.

    Every value includes the cgroup's descendants.
    """

    anon: int | None = None
    file: int | None = None
    kernel: int | None = None
    sock: int | None = None
    shmem: int | None = None
    file_mapped: int | None = None
    file_dirty: int | None = None
    file_writeback: int | None = None
    inactive_file: int | None = None
    slab_reclaimable: int | None = None
    slab_unreclaimable: int | None = None
    workingset_refault_anon: int | None = None
    workingset_refault_file: int | None = None
    pgfault: int | None = None
    pgmajfault: int | None = None


class MemoryEvents(NamedTuple):
    """``memory.events`` (with descendants) or ``memory.events.local`` (without)."""

    low: int | None = None
    high: int | None = None
    max: int | None = None
    oom: int | None = None
    oom_kill: int | None = None
    oom_group_kill: int | None = None


_memory_stat = FlatKeyed(MemoryStat._fields)
_memory_events = FlatKeyed(MemoryEvents._fields)


def parse_memory_stat(data: bytes) -> MemoryStat:
    """Parse a v2 ``memory.stat``: flat keyed, in no order, with new keys in new kernels.

    Raises:
        ParseError: a line is not ``KEY VAL``.
    """
    return MemoryStat._make(_memory_stat(data))


def parse_memory_events(data: bytes) -> MemoryEvents:
    """Parse ``memory.events`` or ``memory.events.local``: counts of events.

    Raises:
        ParseError: a line is not ``KEY VAL``.
    """
    return MemoryEvents._make(_memory_events(data))
