"""cgroup core files. Source: cgroup-v2.rst, "Core Interface Files"."""

from typing import NamedTuple

from cgexporter.parse.formats import FlatKeyed, flat_keyed, text_of, value_list


class CgroupEvents(NamedTuple):
    """``cgroup.events``: 1 or 0, with descendants for `populated`."""

    populated: int | None = None
    frozen: int | None = None


class CgroupStat(NamedTuple):
    """``cgroup.stat``: living descendants, and removed ones that still hold memory."""

    nr_descendants: int | None = None
    nr_dying_descendants: int | None = None


class CgroupStatMore(NamedTuple):
    """The keys of ``cgroup.stat`` (Linux 6.14) that count one controller's state."""

    nr_subsys: dict[str, int]
    nr_dying_subsys: dict[str, int]


_cgroup_stat_local = FlatKeyed(["frozen_usec"])
_cgroup_events = FlatKeyed(CgroupEvents._fields)
_cgroup_stat = FlatKeyed(CgroupStat._fields)


def parse_cgroup_events(data: bytes) -> CgroupEvents:
    """Parse ``cgroup.events``."""
    return CgroupEvents._make(_cgroup_events(data))


def parse_cgroup_stat(data: bytes) -> CgroupStat:
    """Parse ``cgroup.stat``."""
    return CgroupStat._make(_cgroup_stat(data))


def parse_cgroup_subsystems(data: bytes) -> CgroupStatMore:
    """Parse what ``cgroup.stat`` counts by controller: living and dying states below."""
    living: dict[str, int] = {}
    dying: dict[str, int] = {}
    for key, value in flat_keyed(data).items():
        if key.startswith("nr_dying_subsys_"):
            dying[key.removeprefix("nr_dying_subsys_")] = value
        elif key.startswith("nr_subsys_"):
            living[key.removeprefix("nr_subsys_")] = value
    return CgroupStatMore(living, dying)


def parse_cgroup_stat_local(data: bytes) -> int | None:
    """Parse ``cgroup.stat.local``: `frozen_usec` (Linux 6.18)."""
    return _cgroup_stat_local(data)[0]


def parse_word(data: bytes) -> str:
    """Parse a file of words, such as ``cpuset.cpus.partition``."""
    return text_of(data).removesuffix("\n")


def parse_cgroup_procs(data: bytes) -> list[int]:
    """Parse ``cgroup.procs``: PIDs as the mounted procfs counts them.

    Read across a PID namespace the kernel prints 0 for a process that is not visible;
    those are left out, for 0 is no process.
    """
    return [pid for pid in value_list(data) if pid]
