"""CPU time, throttling and limits of a cgroup, from v1 or v2."""

import math
import os
from typing import NamedTuple

from cgexporter.model.units import MICROSECONDS, NANOSECONDS, seconds
from cgexporter.parse import cpu as v2
from cgexporter.parse.v1 import cpu as v1

_USER_HZ = os.sysconf("SC_CLK_TCK")


class Cpu(NamedTuple):
    """Seconds summed over CPUs; limits in cores. None is "not offered"."""

    usage_seconds: float | None = None
    user_seconds: float | None = None
    system_seconds: float | None = None
    periods: int | None = None
    throttled_periods: int | None = None
    throttled_seconds: float | None = None
    throttled_local_seconds: float | None = None
    bursts: int | None = None
    burst_seconds: float | None = None
    limit_cores: float | None = None
    period_seconds: float | None = None
    burst_limit_seconds: float | None = None
    weight: int | None = None
    shares: int | None = None
    idle: int | None = None


def cpu_v2(
    stat: v2.CpuStat | None,
    local_usec: int | None,
    maximum: v2.CpuMax | None,
    burst_usec: int | None,
    weight: int | None,
    idle: int | None,
) -> Cpu:
    """Build from ``cpu.stat``, ``cpu.stat.local``, ``cpu.max``, ``.max.burst``, ``.weight``."""
    stat = stat or v2.CpuStat()
    return Cpu(
        seconds(stat.usage_usec, MICROSECONDS),
        seconds(stat.user_usec, MICROSECONDS),
        seconds(stat.system_usec, MICROSECONDS),
        stat.nr_periods,
        stat.nr_throttled,
        seconds(stat.throttled_usec, MICROSECONDS),
        seconds(local_usec, MICROSECONDS),
        stat.nr_bursts,
        seconds(stat.burst_usec, MICROSECONDS),
        None if maximum is None else maximum.quota_usec / maximum.period_usec,
        None if maximum is None else maximum.period_usec / MICROSECONDS,
        seconds(burst_usec, MICROSECONDS),
        weight,
        None,
        idle,
    )


def cpu_v1(
    usage_nsec: int | None,
    ticks: v1.CpuacctStat | None,
    stat: v1.CpuStat | None,
    local_nsec: int | None,
    quota: float | None,
    period_usec: int | None,
    burst_usec: int | None,
    shares: int | None,
    idle: int | None,
) -> Cpu:
    """Build from the cpu and cpuacct controllers' files."""
    periods, throttled, throttled_nsec, bursts, burst_nsec = stat or v1.CpuStat()
    user, system = ticks or v1.CpuacctStat()
    return Cpu(
        seconds(usage_nsec, NANOSECONDS),
        seconds(user, _USER_HZ),
        seconds(system, _USER_HZ),
        periods,
        throttled,
        seconds(throttled_nsec, NANOSECONDS),
        seconds(local_nsec, NANOSECONDS),
        bursts,
        seconds(burst_nsec, NANOSECONDS),
        None if quota is None or period_usec is None else quota / period_usec,
        seconds(period_usec, MICROSECONDS),
        seconds(burst_usec, MICROSECONDS),
        None,
        shares,
        idle,
    )


class CpuMore(NamedTuple):
    """Scheduling beyond time and limit."""

    nice_seconds: float | None = None
    force_idle_seconds: float | None = None
    weight_nice: int | None = None
    uclamp_min_ratio: float | None = None
    uclamp_max_ratio: float | None = None
    rt_runtime_seconds: float | None = None
    rt_period_seconds: float | None = None


class OneCpu(NamedTuple):
    """Time used on one CPU."""

    cpu: str
    usage_seconds: float | None = None


def cpu_more_v2(
    stat: v2.CpuStatMore | None,
    weight_nice: int | None,
    uclamp_min: float | None,
    uclamp_max: float | None,
) -> CpuMore:
    """Build from ``cpu.stat``, ``cpu.weight.nice`` and ``cpu.uclamp.*`` (percent)."""
    stat = stat or v2.CpuStatMore()
    return CpuMore(
        seconds(stat.nice_usec, MICROSECONDS),
        seconds(stat.core_sched_force_idle_usec, MICROSECONDS),
        weight_nice,
        None if uclamp_min is None else uclamp_min / 100,
        None if uclamp_max is None else uclamp_max / 100,
    )


def cpu_more_v1(
    stat: v2.CpuStatMore | None, rt_runtime_usec: float | None, rt_period_usec: int | None
) -> CpuMore:
    """Build from ``cpu.rt_runtime_us``, ``cpu.rt_period_us`` and the v2 tree's ``cpu.stat``."""
    stat = stat or v2.CpuStatMore()
    return CpuMore(
        nice_seconds=seconds(stat.nice_usec, MICROSECONDS),
        force_idle_seconds=seconds(stat.core_sched_force_idle_usec, MICROSECONDS),
        rt_runtime_seconds=None if rt_runtime_usec is None else rt_runtime_usec / MICROSECONDS,
        rt_period_seconds=seconds(rt_period_usec, MICROSECONDS),
    )


def each_cpu(usage_nsec: list[int] | None) -> tuple[OneCpu, ...]:
    """Build from ``cpuacct.usage_percpu``."""
    return tuple(
        OneCpu(str(number), seconds(count, NANOSECONDS))
        for number, count in enumerate(usage_nsec or [])
    )


def with_payload(outer: Cpu, payload: Cpu) -> Cpu:
    """A container whose runtime puts the limit on a cgroup below the container's own.

    Usage is the outer cgroup's, which includes the payload; the limit is the stricter one,
    and the enforcement periods are those of the cgroup that carries it.
    """
    if payload.limit_cores is None or payload.limit_cores == math.inf:
        return outer
    if outer.limit_cores is not None and outer.limit_cores <= payload.limit_cores:
        return outer
    return outer._replace(
        periods=payload.periods,
        throttled_periods=payload.throttled_periods,
        throttled_seconds=payload.throttled_seconds,
        throttled_local_seconds=payload.throttled_local_seconds,
        bursts=payload.bursts,
        burst_seconds=payload.burst_seconds,
        limit_cores=payload.limit_cores,
        period_seconds=payload.period_seconds,
        burst_limit_seconds=payload.burst_limit_seconds,
    )
