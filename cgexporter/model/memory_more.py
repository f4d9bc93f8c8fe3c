"""Memory of a cgroup in detail: sections that are read only where their collector is on."""

import resource
from typing import NamedTuple

from cgexporter.parse import memory as v2
from cgexporter.parse.v1 import memory as v1

_PAGE_BYTES = resource.getpagesize()

# The kernel's own words, in bytes, pages and counts, are the base units already.
MemoryMore = v2.MemoryStatMore


class MemoryPaging(NamedTuple):
    """What only v1 counts in ``memory.stat``: pages charged and uncharged."""

    charged_pages: int | None = None
    uncharged_pages: int | None = None


class Swap(NamedTuple):
    """Swap and zswap beyond use and limit; on v1 memory and swap together (``memsw``)."""

    high_bytes: float | None = None
    peak_bytes: int | None = None
    zswap_current_bytes: int | None = None
    zswap_max_bytes: float | None = None
    zswap_writeback: int | None = None
    events_high: int | None = None
    events_max: int | None = None
    events_fail: int | None = None
    memsw_current_bytes: int | None = None
    memsw_peak_bytes: int | None = None
    memsw_failures: int | None = None


class Kmem(NamedTuple):
    """v1's separate accounting of kernel memory and of TCP buffers."""

    peak_bytes: int | None = None
    max_bytes: float | None = None
    failures: int | None = None
    tcp_current_bytes: int | None = None
    tcp_peak_bytes: int | None = None
    tcp_max_bytes: float | None = None
    tcp_failures: int | None = None


class MemoryPolicy(NamedTuple):
    """Settings of reclaim and of the OOM killer; 1 is on."""

    oom_group: int | None = None
    swappiness: int | None = None
    oom_kill_disable: int | None = None
    under_oom: int | None = None
    use_hierarchy: int | None = None


class NumaNode(NamedTuple):
    """Memory on one NUMA node: bytes, and counts where ``memory.stat`` has counts."""

    node: str
    anon: int | None = None
    file: int | None = None
    kernel_stack: int | None = None
    pagetables: int | None = None
    sec_pagetables: int | None = None
    shmem: int | None = None
    file_mapped: int | None = None
    file_dirty: int | None = None
    file_writeback: int | None = None
    swapcached: int | None = None
    anon_thp: int | None = None
    file_thp: int | None = None
    shmem_thp: int | None = None
    inactive_anon: int | None = None
    active_anon: int | None = None
    inactive_file: int | None = None
    active_file: int | None = None
    unevictable: int | None = None
    slab_reclaimable: int | None = None
    slab_unreclaimable: int | None = None
    hugetlb: int | None = None
    workingset_refault_anon: int | None = None
    workingset_refault_file: int | None = None
    workingset_activate_anon: int | None = None
    workingset_activate_file: int | None = None
    workingset_restore_anon: int | None = None
    workingset_restore_file: int | None = None
    workingset_nodereclaim: int | None = None


Numa = tuple[NumaNode, ...]


def memory_more_v2(stat: v2.MemoryStatMore | None) -> MemoryMore:
    """Build from the rest of ``memory.stat``."""
    return stat or MemoryMore()


def memory_more_v1(stat: v1.MemoryStatMore | None) -> MemoryMore:
    """Build from the rest of v1's ``memory.stat``, whose transparent huge pages are anonymous."""
    stat = stat or v1.MemoryStatMore()
    return MemoryMore(
        anon_thp=stat.total_rss_huge,
        swapcached=stat.total_swapcached,
        inactive_anon=stat.total_inactive_anon,
        active_anon=stat.total_active_anon,
        unevictable=stat.total_unevictable,
    )


def memory_paging(stat: v1.MemoryStatMore | None) -> MemoryPaging:
    """Build from v1's ``memory.stat``."""
    stat = stat or v1.MemoryStatMore()
    return MemoryPaging(stat.total_pgpgin, stat.total_pgpgout)


def swap_v2(
    high: float | None,
    peak: int | None,
    zswap_current: int | None,
    zswap_max: float | None,
    zswap_writeback: int | None,
    events: v2.SwapEvents | None,
) -> Swap:
    """Build from ``memory.swap.*`` and ``memory.zswap.*``."""
    events = events or v2.SwapEvents()
    return Swap(high, peak, zswap_current, zswap_max, zswap_writeback, *events)


def swap_v1(usage: int | None, max_usage: int | None, failcnt: int | None) -> Swap:
    """Build from ``memory.memsw.*``."""
    return Swap(
        memsw_current_bytes=usage,
        memsw_peak_bytes=max_usage,
        memsw_failures=failcnt,
    )


def policy_v2(oom_group: int | None) -> MemoryPolicy:
    """Build from ``memory.oom.group``."""
    return MemoryPolicy(oom_group=oom_group)


def policy_v1(
    swappiness: int | None, oom: v1.OomControl | None, use_hierarchy: int | None
) -> MemoryPolicy:
    """Build from ``memory.swappiness``, ``memory.oom_control`` and ``memory.use_hierarchy``."""
    oom = oom or v1.OomControl()
    return MemoryPolicy(None, swappiness, oom.oom_kill_disable, oom.under_oom, use_hierarchy)


def numa_v2(nodes: dict[str, dict[str, int]] | None) -> Numa:
    """Build from ``memory.numa_stat``."""
    return tuple(_node(number, values) for number, values in sorted((nodes or {}).items()))


def numa_v1(nodes: dict[str, dict[str, int]] | None) -> Numa:
    """Build from v1's ``memory.numa_stat``, which counts pages."""
    return tuple(
        _node(number, {key: pages * _PAGE_BYTES for key, pages in values.items()})
        for number, values in sorted((nodes or {}).items())
    )


def _node(number: str, values: dict[str, int]) -> NumaNode:
    return NumaNode(number, *(values.get(key) for key in NumaNode._fields[1:]))
