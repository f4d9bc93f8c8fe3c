"""freezer of cgroup v1. Source: cgroup-v1/freezer-subsystem.rst."""

from cgexporter.parse.formats import ParseError


def parse_frozen(data: bytes) -> int:
    """Parse ``freezer.state``: 1 for FROZEN, 0 for THAWED and for FREEZING, not yet frozen."""
    state = data.strip()
    if state not in (b"FROZEN", b"FREEZING", b"THAWED"):
        raise ParseError(f"line 1: expected a freezer state, found {data[:80]!r}")
    return int(state == b"FROZEN")
