"""What happened in a cgroup and its containers, those that are gone included."""

from typing import NamedTuple


class Kept(NamedTuple):
    """Counts since the exporter saw the cgroup; None where the kernel does not count it."""

    oom_kills: int | None = None
    memory_high_breaches: int | None = None
    pids_limit_hits: int | None = None
    last_oom_kill_timestamp_seconds: float | None = None
