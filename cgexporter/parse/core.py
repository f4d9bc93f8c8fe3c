"""cgroup core files. Source: cgroup-v2.rst, "Core Interface Files"."""

from typing import NamedTuple

from cgexporter.parse.formats import FlatKeyed, value_list


class CgroupEvents(NamedTuple):
    """``cgroup.events``: 1 or 0, with descendants for `populated`."""

    populated: int | None = None
    frozen: int | None = None


class CgroupStat(NamedTuple):
    """``cgroup.stat``: living descendants, and removed ones that still hold memory."""

    nr_descendants: int | None = None
    nr_dying_descendants: int | None = None


_cgroup_events = FlatKeyed(CgroupEvents._fields)
_cgroup_stat = FlatKeyed(CgroupStat._fields)


def parse_cgroup_events(data: bytes) -> CgroupEvents:
    """Parse ``cgroup.events``."""
    return CgroupEvents._make(_cgroup_events(data))


def parse_cgroup_stat(data: bytes) -> CgroupStat:
    """Parse ``cgroup.stat``."""
    return CgroupStat._make(_cgroup_stat(data))


def parse_cgroup_procs(data: bytes) -> list[int]:
    """Parse ``cgroup.procs``: PIDs as the mounted procfs counts them.

    Read across a PID namespace the kernel prints 0 for a process that is not visible;
    those are left out, for 0 is no process.
    """
    return [pid for pid in value_list(data) if pid]
