"""Tasks of a cgroup: how many, how many may be, and their state."""

from typing import NamedTuple

from cgexporter.model.limits import least
from cgexporter.parse.core import CgroupEvents, CgroupStat


class Pids(NamedTuple):
    """Tasks (the kernel's word for threads too); None is "not offered", inf "no limit"."""

    current: int | None = None
    peak: int | None = None
    max: float | None = None
    events_max: int | None = None


class Core(NamedTuple):
    """State of the cgroup itself."""

    populated: int | None = None
    frozen: int | None = None
    descendants: int | None = None
    dying_descendants: int | None = None


class Cpuset(NamedTuple):
    """CPUs and memory nodes that tasks may use, after what ancestors allow."""

    cpus: int | None = None
    mems: int | None = None


def pids(
    current: int | None,
    peak: int | None,
    maximum: float | None,
    events_max: int | None,
) -> Pids:
    """Build from ``pids.*``, the same files on v1 and v2."""
    return Pids(current, peak, maximum, events_max)


def with_payload(outer: Pids, payload: Pids) -> Pids:
    """A container whose runtime puts the limit on a cgroup below: the stricter of both.

    A refused fork is counted in the cgroup whose limit refused it, or in that of the task,
    depending on the kernel: both are the container's.
    """
    refused = [count for count in (outer.events_max, payload.events_max) if count is not None]
    return outer._replace(max=least(outer.max, payload.max), events_max=max(refused, default=None))


def core(events: CgroupEvents | None, stat: CgroupStat | None, v1_frozen: int | None) -> Core:
    """Build from ``cgroup.events``, ``cgroup.stat`` and, on v1, the freezer controller."""
    events, stat = events or CgroupEvents(), stat or CgroupStat()
    return Core(
        events.populated,
        events.frozen if v1_frozen is None else v1_frozen,
        stat.nr_descendants,
        stat.nr_dying_descendants,
    )


def cpuset(cpus: frozenset[int] | None, mems: frozenset[int] | None) -> Cpuset:
    """Build from the effective lists of v2 or v1."""
    return Cpuset(None if cpus is None else len(cpus), None if mems is None else len(mems))
