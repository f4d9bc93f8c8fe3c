"""Memory use, limits and events of a cgroup, from v1 or v2."""

import math
from typing import NamedTuple

from cgexporter.model.limits import least
from cgexporter.parse import memory as v2
from cgexporter.parse.v1 import memory as v1


class Memory(NamedTuple):
    """Bytes and counts. None is "not offered", inf is "no limit"."""

    current_bytes: int | None = None
    working_set_bytes: int | None = None
    peak_bytes: int | None = None
    max_bytes: float | None = None
    high_bytes: float | None = None
    low_bytes: float | None = None
    min_bytes: float | None = None
    soft_limit_bytes: float | None = None
    swap_current_bytes: int | None = None
    swap_max_bytes: float | None = None
    failures: int | None = None
    anon_bytes: int | None = None
    file_bytes: int | None = None
    kernel_bytes: int | None = None
    sock_bytes: int | None = None
    shmem_bytes: int | None = None
    file_mapped_bytes: int | None = None
    file_dirty_bytes: int | None = None
    file_writeback_bytes: int | None = None
    inactive_file_bytes: int | None = None
    slab_reclaimable_bytes: int | None = None
    slab_unreclaimable_bytes: int | None = None
    active_file_bytes: int | None = None
    scanned_pages: int | None = None
    reclaimed_pages: int | None = None
    refaults_anon: int | None = None
    refaults_file: int | None = None
    page_faults: int | None = None
    major_page_faults: int | None = None
    events_low: int | None = None
    events_high: int | None = None
    events_max: int | None = None
    events_oom: int | None = None
    events_oom_kill: int | None = None
    events_oom_group_kill: int | None = None
    events_sock_throttled: int | None = None
    events_local_low: int | None = None
    events_local_high: int | None = None
    events_local_max: int | None = None
    events_local_oom: int | None = None
    events_local_oom_kill: int | None = None
    events_local_oom_group_kill: int | None = None
    events_local_sock_throttled: int | None = None


def working_set(current: int | None, inactive_file: int | None) -> int | None:
    """Use less the file pages that the kernel would drop first, never below 0.

    As the kubelet computes it for eviction: pkg/kubelet, cAdvisor's setMemoryStats.
    """
    if current is None or inactive_file is None:
        return None
    return max(0, current - inactive_file)


def memory_v2(
    stat: v2.MemoryStat | None,
    current: int | None,
    peak: int | None,
    maximum: float | None,
    high: float | None,
    low: float | None,
    minimum: float | None,
    swap_current: int | None,
    swap_max: float | None,
    events: v2.MemoryEvents | None,
    events_local: v2.MemoryEvents | None,
) -> Memory:
    """Build from the ``memory.*`` files of v2."""
    stat = stat or v2.MemoryStat()
    return Memory(
        current,
        working_set(current, stat.inactive_file),
        peak,
        maximum,
        high,
        low,
        minimum,
        None,
        swap_current,
        swap_max,
        None,
        *stat,
        *(events or v2.MemoryEvents()),
        *(events_local or v2.MemoryEvents()),
    )


def memory_v1(
    stat: v1.MemoryStat | None,
    usage: int | None,
    max_usage: int | None,
    limit: float | None,
    soft_limit: float | None,
    memsw_limit: float | None,
    failcnt: int | None,
    kmem_usage: int | None,
    oom_kill: int | None,
    *,
    leaf: bool,
) -> Memory:
    """Build from the ``memory.*`` files of v1.

    v1 limits memory and swap together; the swap limit is the difference. It counts OOM
    kills for each cgroup by itself, which is the count with descendants only in a leaf.
    """
    (
        cache,
        rss,
        shmem,
        mapped_file,
        dirty,
        writeback,
        inactive_file,
        active_file,
        swap,
        refaults_anon,
        refaults_file,
        faults,
        major_faults,
    ) = stat or v1.MemoryStat()
    swap_max = None
    if memsw_limit is not None and limit is not None:
        swap_max = memsw_limit if memsw_limit == math.inf else memsw_limit - limit
        if swap_max < 0:  # one of them changed between the two reads
            swap_max = None
    return Memory(
        usage,
        working_set(usage, inactive_file),
        max_usage,
        limit,
        None,
        None,
        None,
        soft_limit,
        swap,
        swap_max,
        failcnt,
        rss,
        cache,
        kmem_usage,
        None,
        shmem,
        mapped_file,
        dirty,
        writeback,
        inactive_file,
        None,
        None,
        active_file,
        None,
        None,
        refaults_anon,
        refaults_file,
        faults,
        major_faults,
        events_oom_kill=oom_kill if leaf else None,
        events_local_oom_kill=oom_kill,
    )


def with_payload(outer: Memory, payload: Memory) -> Memory:
    """A container whose runtime puts the limits on a cgroup below: the stricter of both.

    Where v1 counts for each cgroup by itself, the payload's counts are the container's.
    """
    kills, failures = outer.events_oom_kill, outer.failures
    return outer._replace(
        events_oom_kill=payload.events_oom_kill if kills is None else kills,
        failures=None if failures is None else failures + (payload.failures or 0),
        max_bytes=least(outer.max_bytes, payload.max_bytes),
        high_bytes=least(outer.high_bytes, payload.high_bytes),
        soft_limit_bytes=least(outer.soft_limit_bytes, payload.soft_limit_bytes),
        swap_max_bytes=least(outer.swap_max_bytes, payload.swap_max_bytes),
    )
