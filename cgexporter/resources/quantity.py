"""Kubernetes quantities: ``100m``, ``1.5``, ``128Mi``, ``1e3``.

Source: apimachinery pkg/api/resource, quantity.go and suffix.go.
"""

import re
from fractions import Fraction

_QUANTITY = re.compile(
    r"(?P<number>[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?P<suffix>[KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?"
)
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
# An exponent beyond these is no amount of anything, and costs time to write out.
_MAX_EXPONENT = 30
_NANO = 10**9


def exact(text: str) -> Fraction | None:
    """A quantity in its base unit (cores, bytes), exactly; None where it is none.

    As Kubernetes does, what is finer than a billionth is rounded up, away from zero.
    """
    found = _QUANTITY.fullmatch(text)
    if found is None or len(text) > 64:
        return None
    number, suffix = Fraction(found["number"]), found["suffix"] or ""
    if suffix in _BINARY:
        value = number * 2 ** _BINARY[suffix]
    else:
        power = _DECIMAL[suffix] if suffix in _DECIMAL else int(suffix[1:])
        if abs(power) > _MAX_EXPONENT:
            return None
        value = number * Fraction(10) ** power
    return Fraction(_up(value * _NANO), _NANO)


def quantity(text: str) -> float | None:
    """A quantity in its base unit (cores, bytes); None where it is none."""
    value = exact(text)
    if value is None:
        return None
    return int(value) if value.denominator == 1 else float(value)


def _up(value: Fraction) -> int:
    """The next whole number away from zero: Quantity.ScaledValue rounds so."""
    whole = -(-abs(value).numerator // value.denominator)
    return whole if value >= 0 else -whole


def whole(value: Fraction) -> int:
    """What Kubernetes makes of a quantity where it needs a whole number, such as bytes."""
    return _up(value)


def milli(value: Fraction) -> int:
    """What Kubernetes makes of a quantity where it needs thousandths, such as of cores."""
    return _up(value * 1000)


def cores_text(millicores: int) -> str:
    """Thousandths of a core as Kubernetes writes them: ``1500m``, ``2``."""
    return f"{millicores}m" if millicores % 1000 else str(millicores // 1000)


def bytes_text(count: int) -> str:
    """Bytes with the greatest binary unit that is exact: ``96Mi``, ``1000``."""
    for unit, power in reversed(_BINARY.items()):
        if count and count % 2**power == 0:
            return f"{count >> power}{unit}"
    return str(count)
