"""The numbers that alerts and dashboards share: where yellow begins, an alert begins.

No number for pressure is agreed upon anywhere; these are ours. systemd-oomd kills where memory
is stalled for 60 % of 30 s, which is where ours become critical. docs/ALERTS.md has the reasons.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Shares are of 1; each may be changed with ``--set NAME=VALUE``."""

    cpu_throttled: float = 0.25
    cpu_throttled_severe: float = 0.5
    cpu_throttled_time_severe: float = 0.25
    cpu_of_limit: float = 0.95
    cpu_waiting: float = 0.6
    memory_of_limit: float = 0.9
    memory_of_limit_critical: float = 0.98
    memory_stalled: float = 0.1
    memory_stalled_critical: float = 0.6
    memory_stalled_reclaim: float = 0.05
    anon_refaults_per_second: float = 100
    file_refaults_per_second: float = 2560
    io_stalled: float = 0.2
    pids_of_limit: float = 0.9
    oom_kills_loop: float = 3
    unresolved: float = 0.1
    snapshot_age_seconds: float = 60
    used_of_limit_low: float = 0.2


DEFAULT = Thresholds()
