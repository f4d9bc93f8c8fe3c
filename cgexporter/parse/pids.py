"""pids controller files, the same on v1 and v2. Source: cgroup-v2.rst, "PID Interface Files".

``pids.current``, ``pids.peak`` and ``pids.max`` are single values: see `formats`.
"""

from cgexporter.parse.formats import FlatKeyed

_pids_events = FlatKeyed(["max"])


def parse_pids_events(data: bytes) -> int | None:
    """Parse ``pids.events``: how often the limit refused a fork (``max``)."""
    return _pids_events(data)[0]
