"""Base units: seconds and bytes. Each conversion is one division by a named constant."""

MICROSECONDS = 1_000_000
MILLISECONDS = 1_000
NANOSECONDS = 1_000_000_000


def seconds(count: float | None, per_second: int) -> float | None:
    """Seconds from a count of smaller units; absent stays absent."""
    return None if count is None else count / per_second
