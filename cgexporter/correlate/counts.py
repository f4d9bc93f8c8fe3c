"""Counts of events, of which each may be one that the kernel does not keep."""

from cgexporter.model import Cgroup

# OOM kills, memory.high breaches, refused forks; None where the kernel does not count.
Counts = tuple[int | None, int | None, int | None]
NOTHING: Counts = (None, None, None)


def add(one: Counts, other: Counts) -> Counts:
    """Counts together, where None is nothing."""
    return _plus(one[0], other[0]), _plus(one[1], other[1]), _plus(one[2], other[2])


def times(counts: Counts, number: int) -> Counts:
    """The counts of so many that have the same."""
    kills, high, refused = counts
    return (
        None if kills is None else kills * number,
        None if high is None else high * number,
        None if refused is None else refused * number,
    )


def less(one: Counts, other: Counts) -> Counts:
    """What is left of counts without others; never less than 0."""
    return _minus(one[0], other[0]), _minus(one[1], other[1]), _minus(one[2], other[2])


def most(one: Counts, other: Counts) -> Counts:
    """The later of two readings of counters that only grow."""
    return _larger(one[0], other[0]), _larger(one[1], other[1]), _larger(one[2], other[2])


def _plus(mine: int | None, theirs: int | None) -> int | None:
    return mine if theirs is None else theirs if mine is None else mine + theirs


def _minus(mine: int | None, theirs: int | None) -> int | None:
    return None if mine is None else max(0, mine - (theirs or 0))


def _larger(mine: int | None, theirs: int | None) -> int | None:
    return mine if theirs is None else theirs if mine is None else max(mine, theirs)


def counts_of(cgroup: Cgroup) -> Counts:
    """What a scan saw of a cgroup, on cgroup v2 with all below it."""
    memory, pids = cgroup.memory, cgroup.pids
    kills = high = None
    if memory is not None:
        kills = memory.events_oom_kill
        if kills is None:
            kills = memory.events_local_oom_kill
        high = memory.events_high
    return kills, high, pids.events_max if pids else None
