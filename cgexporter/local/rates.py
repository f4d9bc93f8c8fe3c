"""What happened between two scans."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from cgexporter.correlate.facts import Key
from cgexporter.correlate.view import View
from cgexporter.model import Cgroup


class Rates(NamedTuple):
    """Differences of a cgroup's counters per second; None is not counted in both scans.

    Attributes:
        cpu_cores: CPU seconds per second.
        throttled: seconds throttled per second, summed over CPUs.
        periods: enforcement periods in the whole time, and those throttled.
        memory_stalled: share of the time in which all tasks were stalled on memory.
        oom_kills: in the whole time.
        read_bytes, written_bytes: of block devices, per second.
        received_bytes, sent_bytes: of its network, per second.
    """

    cpu_cores: float | None = None
    throttled: float | None = None
    periods: int | None = None
    throttled_periods: int | None = None
    memory_stalled: float | None = None
    io_stalled: float | None = None
    oom_kills: int | None = None
    read_bytes: float | None = None
    written_bytes: float | None = None
    received_bytes: float | None = None
    sent_bytes: float | None = None


Counter = Callable[[Cgroup], float | None]


def total(cgroup: Cgroup, counter: str) -> int | None:
    """Sum of a counter over block devices."""
    if cgroup.io is None:
        return None
    counts: list[int] = [getattr(device, counter) or 0 for device in cgroup.io]
    return sum(counts)


def oom_kills(cgroup: Cgroup) -> int | None:
    """OOM kills, in descendants too where the kernel counts them so."""
    memory = cgroup.memory
    if memory is None:
        return None
    counts = (memory.events_oom_kill, memory.events_local_oom_kill)
    return next((count for count in counts if count is not None), None)


def _network(cgroup: Cgroup, counter: str) -> int | None:
    if cgroup.network is None:
        return None
    counts: list[int] = [getattr(interface, counter) for interface in cgroup.network]
    return sum(counts)


_PER_SECOND: Mapping[str, Counter] = {
    "cpu_cores": lambda c: c.cpu.usage_seconds if c.cpu else None,
    "throttled": lambda c: c.cpu.throttled_seconds if c.cpu else None,
    "memory_stalled": lambda c: c.pressure.memory_stalled_seconds if c.pressure else None,
    "io_stalled": lambda c: c.pressure.io_stalled_seconds if c.pressure else None,
    "read_bytes": lambda c: total(c, "read_bytes"),
    "written_bytes": lambda c: total(c, "written_bytes"),
    "received_bytes": lambda c: _network(c, "receive_bytes"),
    "sent_bytes": lambda c: _network(c, "transmit_bytes"),
}
_COUNTS: Mapping[str, Counter] = {
    "periods": lambda c: c.cpu.periods if c.cpu else None,
    "throttled_periods": lambda c: c.cpu.throttled_periods if c.cpu else None,
    "oom_kills": oom_kills,
}


def between(before: Cgroup, now: Cgroup, seconds: float) -> Rates:
    """Rates of one cgroup over a time."""
    values: dict[str, float] = {}
    for counters, per in ((_PER_SECOND, seconds), (_COUNTS, 1)):
        for name, counter in counters.items():
            first, last = counter(before), counter(now)
            if first is not None and last is not None and last >= first and per > 0:
                values[name] = (last - first) / per if per != 1 else last - first
    return Rates(**values)  # type: ignore[arg-type]


def rates(before: View, now: View) -> Mapping[Key, Rates]:
    """Rates of each container that is in both views, by its cgroup's path and inode."""
    seconds = now.snapshot.started - before.snapshot.started
    earlier = {(c.cgroup.path, c.cgroup.inode): c.cgroup for c in before.containers}
    found = {}
    for container in now.containers:
        key = (container.cgroup.path, container.cgroup.inode)
        if key in earlier:
            found[key] = between(earlier[key], container.cgroup, seconds)
    return found
