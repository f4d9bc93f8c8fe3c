"""cpu and cpuacct of cgroup v1. Source: scheduler/sched-bwc.rst, cgroup-v1/cpuacct.rst."""

import math
from typing import NamedTuple

from cgexporter.parse.formats import FlatKeyed, ParseError, decimal, text_of, word_list


class CpuStat(NamedTuple):
    """v1 ``cpu.stat``: enforcement periods, and nanoseconds summed over CPUs."""

    nr_periods: int | None = None
    nr_throttled: int | None = None
    throttled_time: int | None = None
    nr_bursts: int | None = None
    burst_time: int | None = None


class CpuacctStat(NamedTuple):
    """v1 ``cpuacct.stat``: USER_HZ ticks, with descendants."""

    user: int | None = None
    system: int | None = None


_cpu_stat = FlatKeyed(CpuStat._fields)
_cpu_stat_local = FlatKeyed(["throttled_time"])
_cpuacct_stat = FlatKeyed(CpuacctStat._fields)


def parse_cpu_stat(data: bytes) -> CpuStat:
    """Parse a v1 ``cpu.stat``."""
    return CpuStat._make(_cpu_stat(data))


def parse_cpu_stat_local(data: bytes) -> int | None:
    """Parse a v1 ``cpu.stat.local``: `throttled_time` in nanoseconds."""
    return _cpu_stat_local(data)[0]


def parse_cpuacct_stat(data: bytes) -> CpuacctStat:
    """Parse ``cpuacct.stat``."""
    return CpuacctStat._make(_cpuacct_stat(data))


def parse_cfs_quota(data: bytes) -> int | float:
    """Parse ``cpu.cfs_quota_us`` or ``cpu.rt_runtime_us``: microseconds a period.

    -1, no limit, is `math.inf`.
    """
    word = text_of(data).removesuffix("\n")
    return math.inf if word == "-1" else decimal(word)


def parse_cfs_period(data: bytes) -> int:
    """Parse ``cpu.cfs_period_us``: microseconds, above 0."""
    period = decimal(text_of(data).removesuffix("\n"))
    if not period:
        raise ParseError("line 1: expected a period above 0")
    return period


def parse_usage_percpu(data: bytes) -> list[int]:
    """Parse ``cpuacct.usage_percpu``: nanoseconds, one number a possible CPU."""
    return [decimal(word) for word in word_list(data)]
