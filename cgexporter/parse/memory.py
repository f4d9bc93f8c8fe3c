"""memory controller files. Source: cgroup-v2.rst, "Memory Interface Files"."""

from typing import NamedTuple

from cgexporter.parse.formats import FlatKeyed, decimal, nested_keyed


class MemoryStat(NamedTuple):
    """One reading of ``memory.stat``: bytes, and counts of pages or faults; None = absent.

    Every value includes the cgroup's descendants. The order is that of `model.Memory`.
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
    active_file: int | None = None
    pgscan: int | None = None
    pgsteal: int | None = None
    workingset_refault_anon: int | None = None
    workingset_refault_file: int | None = None
    pgfault: int | None = None
    pgmajfault: int | None = None


class MemoryStatMore(NamedTuple):
    """The keys of ``memory.stat`` that `MemoryStat` leaves out: bytes, pages and counts."""

    # bytes
    kernel_stack: int | None = None
    pagetables: int | None = None
    sec_pagetables: int | None = None
    percpu: int | None = None
    vmalloc: int | None = None
    zswap: int | None = None
    zswapped: int | None = None
    zswap_incomp: int | None = None
    swapcached: int | None = None
    anon_thp: int | None = None
    file_thp: int | None = None
    shmem_thp: int | None = None
    inactive_anon: int | None = None
    active_anon: int | None = None
    unevictable: int | None = None
    slab: int | None = None
    hugetlb: int | None = None
    # counts
    workingset_activate_anon: int | None = None
    workingset_activate_file: int | None = None
    workingset_restore_anon: int | None = None
    workingset_restore_file: int | None = None
    workingset_nodereclaim: int | None = None
    pgscan_kswapd: int | None = None
    pgscan_direct: int | None = None
    pgscan_khugepaged: int | None = None
    pgscan_proactive: int | None = None
    pgsteal_kswapd: int | None = None
    pgsteal_direct: int | None = None
    pgsteal_khugepaged: int | None = None
    pgsteal_proactive: int | None = None
    pgdemote_kswapd: int | None = None
    pgdemote_direct: int | None = None
    pgdemote_khugepaged: int | None = None
    pgdemote_proactive: int | None = None
    pgpromote_success: int | None = None
    pgrefill: int | None = None
    pgactivate: int | None = None
    pgdeactivate: int | None = None
    pglazyfree: int | None = None
    pglazyfreed: int | None = None
    pswpin: int | None = None
    pswpout: int | None = None
    swpin_zero: int | None = None
    swpout_zero: int | None = None
    zswpin: int | None = None
    zswpout: int | None = None
    zswpwb: int | None = None
    thp_fault_alloc: int | None = None
    thp_collapse_alloc: int | None = None
    thp_swpout: int | None = None
    thp_swpout_fallback: int | None = None
    numa_pages_migrated: int | None = None
    numa_pte_updates: int | None = None
    numa_hint_faults: int | None = None


class SwapEvents(NamedTuple):
    """``memory.swap.events``: counts, with descendants."""

    high: int | None = None
    max: int | None = None
    fail: int | None = None


class MemoryEvents(NamedTuple):
    """``memory.events`` (with descendants) or ``memory.events.local`` (without)."""

    low: int | None = None
    high: int | None = None
    max: int | None = None
    oom: int | None = None
    oom_kill: int | None = None
    oom_group_kill: int | None = None
    sock_throttled: int | None = None


_memory_stat = FlatKeyed(MemoryStat._fields)
_memory_stat_more = FlatKeyed(MemoryStatMore._fields)
_memory_events = FlatKeyed(MemoryEvents._fields)
_swap_events = FlatKeyed(SwapEvents._fields)


def parse_memory_stat(data: bytes) -> MemoryStat:
    """Parse a v2 ``memory.stat``: flat keyed, in no order, with new keys in new kernels.

    Raises:
        ParseError: a line is not ``KEY VAL``.
    """
    return MemoryStat._make(_memory_stat(data))


def parse_memory_stat_more(data: bytes) -> MemoryStatMore:
    """Parse the rest of a v2 ``memory.stat``.

    Raises:
        ParseError: a line is not ``KEY VAL``.
    """
    return MemoryStatMore._make(_memory_stat_more(data))


def parse_swap_events(data: bytes) -> SwapEvents:
    """Parse ``memory.swap.events``."""
    return SwapEvents._make(_swap_events(data))


def parse_numa_stat(data: bytes) -> dict[str, dict[str, int]]:
    """Parse ``memory.numa_stat``: by node number, then by key; bytes, and counts.

    Raises:
        ParseError: a value is no decimal.
    """
    nodes: dict[str, dict[str, int]] = {}
    for key, values in nested_keyed(data).items():
        for node, word in values.items():
            if node.startswith("N"):
                nodes.setdefault(node[1:], {})[key] = decimal(word)
    return nodes


def parse_memory_events(data: bytes) -> MemoryEvents:
    """Parse ``memory.events`` or ``memory.events.local``: counts of events.

    Raises:
        ParseError: a line is not ``KEY VAL``.
    """
    return MemoryEvents._make(_memory_events(data))
