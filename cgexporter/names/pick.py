"""Named values out of a JSON document, without making objects of the rest.

Files of runtimes hold the environment of containers, and with it passwords. `json.loads` would
make a string of each, which Python cannot erase. Here only what a shape names is ever decoded; all
else is stepped over in the buffer, which its owner zeroes: docs/decisions/0005-secrets.md.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from cgexporter.parse.formats import ParseError


class Value:
    """A string, number, true, false or null, as such; an object or array is left out."""


class Strings:
    """An array or object of strings, all of them: only where none can be a secret."""


@dataclass(frozen=True, slots=True)
class Each:
    """An array: what the shape picks of each element, in a list."""

    shape: "Shape"


@dataclass(frozen=True, slots=True)
class Pairs:
    """An object of strings, or an array of ``key=value``: those with these keys, in a dict."""

    keys: frozenset[str]


@dataclass(frozen=True, slots=True)
class Every:
    """An object of any keys: what the shape picks of each value, in a dict."""

    shape: "Shape"


VALUE: Final = Value()
STRINGS: Final = Strings()
Shape = Mapping[str, "Shape"] | Value | Strings | Each | Every | Pairs
Picked = dict[str, "Picked"] | list["Picked"] | str | int | float | bool | None

_SPACE = re.compile(rb"[ \t\r\n]*")
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_SCALAR = re.compile(rb"[-+.0-9a-zA-Z]+")
_STRUCTURE = re.compile(rb'["\[\]{}]')


def pick(data: bytearray, shape: Shape) -> Picked:
    """Pick what `shape` names from a JSON document.

    Returns:
        Dicts with the named keys that are there, for `Each` lists. What has another type than
        the shape's is None.

    Raises:
        ParseError: it is not JSON, as far as it was looked at.
    """
    picked, end = _value(data, _space(data, 0), shape)
    if _space(data, end) != len(data):
        raise _malformed(end)
    return picked


def at(picked: Picked, *keys: str) -> Picked:
    """What is at a path of keys; None where there is nothing."""
    for key in keys:
        if not isinstance(picked, dict):
            return None
        picked = picked.get(key)
    return picked


def each(picked: Picked) -> Iterator[dict[str, Picked]]:
    """The objects of a picked array."""
    if isinstance(picked, list):
        yield from (element for element in picked if isinstance(element, dict))


def text(picked: Picked) -> str | None:
    """A string that is not empty, or None."""
    return picked if isinstance(picked, str) and picked else None


def texts(picked: Picked) -> dict[str, str]:
    """The strings of a picked object that are not empty."""
    if not isinstance(picked, dict):
        return {}
    return {key: value for key, value in picked.items() if isinstance(value, str) and value}


def count(picked: Picked) -> int | None:
    """A whole number of at least 0, or None."""
    if isinstance(picked, bool) or not isinstance(picked, int) or picked < 0:
        return None
    return picked


def _malformed(position: int) -> ParseError:
    return ParseError(f"not JSON at byte {position}")


def _sign(data: bytearray, position: int) -> bytes:
    return bytes(data[position : position + 1])


def _space(data: bytearray, start: int) -> int:
    found = _SPACE.match(data, start)
    return found.end() if found else start


def _value(data: bytearray, start: int, shape: Shape | None) -> tuple[Picked, int]:
    """Pick the value that begins at `start`; also says where it ends."""
    opening = _sign(data, start)
    if opening == b"{" and isinstance(shape, Mapping | Pairs | Strings | Every):
        return _object(data, start, shape)
    if opening == b"[" and isinstance(shape, Each | Pairs | Strings):
        return _array(data, start, shape)
    end = _skip(data, start)
    if isinstance(shape, Value) and opening not in (b"{", b"["):
        return _decoded(data, start, end), end
    return None, end


def _object(
    data: bytearray, start: int, shape: Mapping[str, Shape] | Pairs | Strings | Every
) -> tuple[Picked, int]:
    found: dict[str, Picked] = {}
    position = _space(data, start + 1)
    if _sign(data, position) == b"}":
        return found, position + 1
    while True:
        end = _string_end(data, position)
        key = _decoded(data, position, end)
        assert isinstance(key, str)
        position = _after(data, _space(data, end), b":")
        below: Shape | None = VALUE
        if isinstance(shape, Mapping):
            below = shape.get(key)
        elif isinstance(shape, Every):
            below = shape.shape
        elif isinstance(shape, Pairs) and key not in shape.keys:
            below = None
        value, end = _value(data, position, below)
        if below is not None:
            found[key] = value
        position = _space(data, end)
        if _sign(data, position) == b"}":
            return found, position + 1
        position = _after(data, position, b",")


def _array(data: bytearray, start: int, shape: Each | Pairs | Strings) -> tuple[Picked, int]:
    elements: list[Picked] = []
    pairs: dict[str, Picked] = {}
    position = _space(data, start + 1)
    closed = _sign(data, position) == b"]"
    while not closed:
        if isinstance(shape, Pairs):
            end = _skip(data, position)
            if pair := _pair(data, position, end, shape.keys):
                pairs[pair[0]] = pair[1]
        else:
            below = shape.shape if isinstance(shape, Each) else VALUE
            element, end = _value(data, position, below)
            elements.append(element)
        position = _space(data, end)
        closed = _sign(data, position) == b"]"
        if not closed:
            position = _after(data, position, b",")
    return (pairs if isinstance(shape, Pairs) else elements), position + 1


def _pair(data: bytearray, start: int, end: int, keys: frozenset[str]) -> tuple[str, str] | None:
    """Split a ``"key=value"`` whose key is known; the others are not decoded."""
    equals = data.find(b"=", start, end)
    if _sign(data, start) != b'"' or equals < 0:
        return None
    if bytes(data[start + 1 : equals]).decode(errors="replace") not in keys:
        return None
    whole = _decoded(data, start, end)
    assert isinstance(whole, str)
    key, _, value = whole.partition("=")
    return key, value


def _string_end(data: bytearray, start: int) -> int:
    found = _STRING.match(data, start)
    if found is None:
        raise _malformed(start)
    return found.end()


def _after(data: bytearray, position: int, sign: bytes) -> int:
    if _sign(data, position) != sign:
        raise _malformed(position)
    return _space(data, position + 1)


def _skip(data: bytearray, start: int) -> int:
    """Step over a value without looking at what it is."""
    opening = _sign(data, start)
    if opening == b'"':
        return _string_end(data, start)
    if opening not in (b"{", b"["):
        found = _SCALAR.match(data, start)
        if found is None:
            raise _malformed(start)
        return found.end()
    depth, position = 1, start + 1
    while depth:
        found = _STRUCTURE.search(data, position)
        if found is None:
            raise _malformed(position)
        position = found.end()
        sign = data[position - 1]
        if sign == ord('"'):
            position = _string_end(data, position - 1)
        else:
            depth += 1 if sign in b"[{" else -1
    return position


def _decoded(data: bytearray, start: int, end: int) -> str | int | float | bool | None:
    """Decode a string or scalar; bytes that are not UTF-8 become surrogates, as in paths."""
    try:
        content = bytes(data[start:end]).decode("utf-8", "surrogateescape")
        decoded: str | int | float | bool | None = json.loads(content, strict=False)
    except ValueError:
        raise _malformed(start) from None  # its text must not be in a log
    return decoded
