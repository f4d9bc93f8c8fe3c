"""cpu controller files. Source: cgroup-v2.rst, "CPU Interface Files"."""

from typing import NamedTuple

from cgexporter.parse.formats import FlatKeyed, ParseError, decimal, limit, text_of, word_list


class CpuStat(NamedTuple):
    """One reading of ``cpu.stat``: kernel names, kernel units, None where absent."""

    usage_usec: int | None = None
    user_usec: int | None = None
    system_usec: int | None = None
    # The cpu controller adds these; without it the file holds the first three.
    nr_periods: int | None = None
    nr_throttled: int | None = None
    throttled_usec: int | None = None
    nr_bursts: int | None = None
    burst_usec: int | None = None


class CpuMax(NamedTuple):
    """``cpu.max``: at most `quota_usec` of CPU time in each `period_usec`."""

    quota_usec: int | float
    period_usec: int


class CpuStatMore(NamedTuple):
    """The keys of ``cpu.stat`` that `CpuStat` leaves out."""

    nice_usec: int | None = None
    core_sched_force_idle_usec: int | None = None


_cpu_stat_more = FlatKeyed(["nice_usec", "core_sched.force_idle_usec"])
_cpu_stat = FlatKeyed(CpuStat._fields)
_cpu_stat_local = FlatKeyed(["throttled_usec"])


def parse_cpu_stat(data: bytes) -> CpuStat:
    """Parse the content of a v2 ``cpu.stat``.

    Args:
        data: the whole file; flat keyed, one decimal per key.

    Returns:
        Counters since the cgroup was created: ``*_usec`` in microseconds summed
        over CPUs (they can outrun the clock), ``nr_*`` in enforcement periods.
        Unknown keys are ignored: kernels add them.

    Raises:
        ParseError: a line is not ``KEY VAL``.
    """
    return CpuStat._make(_cpu_stat(data))


def parse_cpu_stat_more(data: bytes) -> CpuStatMore:
    """Parse the rest of a v2 ``cpu.stat``: microseconds summed over CPUs."""
    return CpuStatMore._make(_cpu_stat_more(data))


def parse_uclamp(data: bytes) -> float:
    """Parse ``cpu.uclamp.min`` or ``.max``: percent with two decimals, or ``max`` (100)."""
    word = text_of(data).removesuffix("\n")
    if word == "max":
        return 100.0
    whole, _, part = word.partition(".")
    return decimal(whole) + decimal(part.ljust(2, "0")[:2] if part else "0") / 100


def parse_nice(data: bytes) -> int:
    """Parse ``cpu.weight.nice``: -20 to 19."""
    word = text_of(data).removesuffix("\n")
    return -decimal(word[1:]) if word.startswith("-") else decimal(word)


def parse_cpu_stat_local(data: bytes) -> int | None:
    """Parse ``cpu.stat.local``: `throttled_usec`, by an own or an ancestor's limit."""
    return _cpu_stat_local(data)[0]


def parse_cpu_max(data: bytes) -> CpuMax:
    """Parse ``cpu.max``: ``$MAX $PERIOD`` in microseconds, MAX may be ``max`` (inf)."""
    words = word_list(data)
    if len(words) != 2:
        raise ParseError(f"line 1: expected MAX PERIOD, found {data[:80]!r}")
    period = decimal(words[1])
    if not period:
        raise ParseError("line 1: expected a period above 0")
    return CpuMax(limit(words[0]), period)
