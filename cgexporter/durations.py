"""Durations as Prometheus' programs write them: ``1m30s``, ``250ms``."""

import re

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")


def seconds(text: str) -> float:
    """Parse a duration; ``0`` needs no unit.

    Raises:
        ValueError: it is none; the message says what one looks like.
    """
    if text == "0":
        return 0.0
    parts = _PART.findall(text)
    if not parts or "".join(map("".join, parts)) != text:
        raise ValueError(f"{text!r} is not a duration such as 500ms, 15s or 1m30s")
    return float(sum(float(number) * _SECONDS[unit] for number, unit in parts))
