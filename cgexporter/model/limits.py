"""Limits: None is not known, inf is none."""


def least(one: float | None, other: float | None) -> float | None:
    """The stricter of two limits, where None is not known and inf is none."""
    limits = [limit for limit in (one, other) if limit is not None]
    return min(limits, default=None)
