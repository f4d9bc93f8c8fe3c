"""Tasks of a cgroup: how many, how many may be, and their state."""

from typing import NamedTuple

from cgexporter.model.limits import least
from cgexporter.model.units import MICROSECONDS, seconds
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


class PidsLocal(NamedTuple):
    """Limit hits of the cgroup itself."""

    events_max: int | None = None


class Processes(NamedTuple):
    """What is in the cgroup itself, without those below."""

    processes: int | None = None
    threads: int | None = None


class CoreMore(NamedTuple):
    """Settings of the cgroup itself; inf is no limit."""

    freeze: int | None = None
    frozen_seconds: float | None = None
    pressure_enabled: int | None = None
    max_depth: float | None = None
    max_descendants: float | None = None


class CpusetMore(NamedTuple):
    """CPUs and memory nodes as they were asked for, and how they are kept from others."""

    cpus_requested: int | None = None
    mems_requested: int | None = None
    cpus_exclusive: int | None = None
    partition_root: int | None = None
    partition_isolated: int | None = None
    memory_migrate: int | None = None
    memory_pressure: int | None = None


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


def core_more(
    freeze: int | None,
    frozen_usec: int | None,
    pressure_enabled: int | None,
    max_depth: float | None,
    max_descendants: float | None,
) -> CoreMore:
    """Build from ``cgroup.freeze``, ``.stat.local``, ``.pressure`` and ``.max.*``."""
    frozen = seconds(frozen_usec, MICROSECONDS)
    return CoreMore(freeze, frozen, pressure_enabled, max_depth, max_descendants)


def cpuset_more_v2(
    cpus: frozenset[int] | None,
    mems: frozenset[int] | None,
    exclusive: frozenset[int] | None,
    partition: str | None,
) -> CpusetMore:
    """Build from ``cpuset.cpus``, ``.mems``, ``.cpus.exclusive.effective``, ``.cpus.partition``.

    A partition that the kernel calls invalid is none.
    """
    return CpusetMore(
        None if cpus is None else len(cpus),
        None if mems is None else len(mems),
        None if exclusive is None else len(exclusive),
        None if partition is None else int(partition in ("root", "isolated")),
        None if partition is None else int(partition == "isolated"),
    )


def cpuset_more_v1(
    cpus: frozenset[int] | None,
    mems: frozenset[int] | None,
    memory_migrate: int | None,
    memory_pressure: int | None,
) -> CpusetMore:
    """Build from ``cpuset.cpus``, ``.mems``, ``.memory_migrate``, ``.memory_pressure``."""
    return CpusetMore(
        None if cpus is None else len(cpus),
        None if mems is None else len(mems),
        memory_migrate=memory_migrate,
        memory_pressure=memory_pressure,
    )
