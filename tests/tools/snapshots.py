"""Snapshots of hosts on which nothing was read."""

from cgexporter.model import Mode, Snapshot


def nothing(started: float = 0.0) -> Snapshot:
    """A finished scan of a v2 host without a cgroup."""
    return Snapshot(
        started=started,
        duration_seconds=0.0,
        mode=Mode.UNIFIED,
        cgroups={},
        devices={},
        files={},
        parse_errors={},
        skipped=0,
        dropped=0,
    )
