"""hugetlb, rdma and misc controllers, and the states of all controllers below a cgroup."""

from typing import NamedTuple

from cgexporter.parse.controllers import Rdma as RdmaFile
from cgexporter.parse.core import CgroupStatMore


class Hugetlb(NamedTuple):
    """Huge pages of one size; inf is no limit."""

    pagesize: str  # as the kernel writes it: 2MB
    current_bytes: int | None = None
    max_bytes: float | None = None
    events_max: int | None = None
    reserved_bytes: int | None = None
    reserved_max_bytes: float | None = None
    peak_bytes: int | None = None
    reserved_peak_bytes: int | None = None
    reserved_failures: int | None = None


class Rdma(NamedTuple):
    """Handles and objects of one RDMA device; inf is no limit."""

    device: str
    handles: float | None = None
    objects: float | None = None
    handles_max: float | None = None
    objects_max: float | None = None


class Misc(NamedTuple):
    """One scalar resource of the misc controller; inf is no limit."""

    resource: str
    current: float | None = None
    peak: float | None = None
    max: float | None = None
    events_max: int | None = None
    capacity: float | None = None


class Controller(NamedTuple):
    """States of one controller at and below a cgroup."""

    controller: str
    states: int | None = None
    dying_states: int | None = None


def hugetlb(sizes: tuple[str, ...], *parsed: float | None) -> tuple[Hugetlb, ...]:
    """Build from the files of each page size, as many for each."""
    count = len(parsed) // len(sizes) if sizes else 0
    return tuple(
        # The files are single numbers and limits, in the order of the fields.
        Hugetlb(size, *parsed[n * count : (n + 1) * count])  # type: ignore[arg-type]
        for n, size in enumerate(sizes)
    )


def rdma(
    current: dict[str, RdmaFile] | None, maximum: dict[str, RdmaFile] | None
) -> tuple[Rdma, ...]:
    """Build from ``rdma.current`` and ``rdma.max``."""
    current, maximum = current or {}, maximum or {}
    return tuple(
        Rdma(device, *current.get(device, RdmaFile()), *maximum.get(device, RdmaFile()))
        for device in sorted(current.keys() | maximum.keys())
    )


def misc(
    current: dict[str, float] | None,
    peak: dict[str, float] | None,
    maximum: dict[str, float] | None,
    events: dict[str, int] | None,
    capacity: dict[str, float] | None,
) -> tuple[Misc, ...]:
    """Build from ``misc.*``; only the root has a capacity."""
    current, peak, maximum = current or {}, peak or {}, maximum or {}
    events, capacity = events or {}, capacity or {}
    return tuple(
        Misc(
            resource,
            current.get(resource),
            peak.get(resource),
            maximum.get(resource),
            events.get(resource),
            capacity.get(resource),
        )
        for resource in sorted(set().union(current, peak, maximum, events, capacity))
    )


def controllers(stat: CgroupStatMore | None) -> tuple[Controller, ...]:
    """Build from the ``nr_subsys_*`` keys of ``cgroup.stat``."""
    if stat is None:
        return ()
    return tuple(
        Controller(name, stat.nr_subsys.get(name), stat.nr_dying_subsys.get(name))
        for name in sorted(stat.nr_subsys.keys() | stat.nr_dying_subsys.keys())
    )
