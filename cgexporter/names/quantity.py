"""Kubernetes quantities: ``100m``, ``1.5``, ``128Mi``, ``1e3``.

Source: apimachinery pkg/api/resource, quantity.go and suffix.go.
"""

import re
from decimal import Decimal

_QUANTITY = re.compile(
    r"(?P<number>[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?P<suffix>[KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?"
)
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
# An exponent beyond these is no amount of anything, and costs time to write out.
_MAX_EXPONENT = 30


def quantity(text: str) -> float | None:
    """A quantity in its base unit (cores, bytes); None where it is none."""
    found = _QUANTITY.fullmatch(text)
    if found is None or len(text) > 64:
        return None
    number, suffix = Decimal(found["number"]), found["suffix"] or ""
    if suffix in _BINARY:
        value = number * 2 ** _BINARY[suffix]
    else:
        power = _DECIMAL[suffix] if suffix in _DECIMAL else int(suffix[1:])
        if abs(power) > _MAX_EXPONENT:
            return None
        value = number.scaleb(power)
    return int(value) if value == value.to_integral_value() else float(value)
