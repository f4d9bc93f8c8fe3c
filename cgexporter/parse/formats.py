"""The kernel's file formats. Source: cgroup-v2.rst, "Interface Files", "Format"."""

import math
import re
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import NamedTuple


class ParseError(ValueError):
    """A file is not in its format. The message names the line, never the whole content."""


def _line_error(data: bytes, number: int, expected: str) -> ParseError:
    lines = data.split(b"\n")
    line = lines[number - 1][:80] if 0 < number <= len(lines) else b""
    return ParseError(f"line {number}: expected {expected}, found {line!r}")


def text_of(data: bytes) -> str:
    """Decode a file of numbers and keys, which are ASCII."""
    try:
        return data.decode("ascii")
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        raise _line_error(data, line, "ASCII") from None


# The kernel's counters have 64 bits.
_MOST_DIGITS = 20
# Possessive: what follows a number is never one of its digits.
_DIGITS = rb"[0-9]{1,%d}+" % _MOST_DIGITS
_MOST_LAYOUTS = 8


def decimal(word: str) -> int:
    """One unsigned decimal, digits only: no sign, blank or underscore, unlike int()."""
    if not (word.isascii() and word.isdecimal() and len(word) <= _MOST_DIGITS):
        raise ParseError(f"expected a decimal number, found {word[:40]!r}")
    return int(word)


def lines_of(text: str) -> list[str]:
    """Lines as the kernel ends them: a carriage return is a character like others."""
    return text.removesuffix("\n").split("\n") if text else []


def single_value(data: bytes) -> int:
    """One decimal: ``VAL``."""
    # What is in its format, nearly always, needs no words for what is not.
    if len(data) <= _MOST_DIGITS and data[:-1].isdigit() and data.endswith(b"\n"):
        return int(data)
    return decimal(text_of(data).removesuffix("\n"))


def single_limit(data: bytes) -> int | float:
    """``VAL``, which may be ``max``: no limit, `math.inf`."""
    word = text_of(data).removesuffix("\n")
    return math.inf if word == "max" else decimal(word)


def limit(word: str) -> int | float:
    """One word that is a decimal or ``max`` (`math.inf`)."""
    return math.inf if word == "max" else decimal(word)


def value_list(data: bytes) -> list[int]:
    """One value a line, as in cgroup.procs."""
    return [decimal(line) for line in lines_of(text_of(data))]


def line_count(data: bytes) -> int:
    """How many values there are, one a line."""
    return data.count(b"\n")


def word_list(data: bytes) -> list[str]:
    """Values with a space between, as in cgroup.controllers."""
    return text_of(data).split()


def ranges(data: bytes) -> frozenset[int]:
    """A list of numbers and ranges: ``0-3,8`` (cpuset.cpus); empty means none.

    Source: cgroup-v2.rst, "Cpuset Interface Files".
    """
    numbers: set[int] = set()
    for part in text_of(data).strip().split(","):
        if not part:
            continue
        first, dash, last = part.partition("-")
        low = decimal(first)
        high = decimal(last) if dash else low
        if high < low or high - low > 1 << 16:
            raise ParseError(f"expected a range of CPUs or nodes, found {part[:40]!r}")
        numbers.update(range(low, high + 1))
    return frozenset(numbers)


def flat_keyed(data: bytes) -> dict[str, int]:
    """``KEY VAL`` a line, one decimal per key.

    Raises:
        ParseError: a line is not ``KEY VAL``.
    """
    values = {}
    for number, line in enumerate(lines_of(text_of(data)), 1):
        key, _, value = line.partition(" ")
        if not key or not value.isdecimal() or len(value) > _MOST_DIGITS:
            raise _line_error(data, number, "KEY VAL")
        values[key] = int(value)
    return values


class FlatKeyed:
    """Takes some keys out of one flat keyed file, in one match of a regular expression.

    A file has the same keys in the same order each time a kernel prints it. An expression of
    that layout is learnt from a strict reading, and answers while nothing but digits of values
    changes. There are few layouts: that of the root, and one for each set of controllers.
    """

    __slots__ = ("_keys", "_layouts")

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = tuple(keys)
        self._layouts: list[_Layout] = []

    def __call__(self, data: bytes) -> tuple[int | None, ...]:
        """Return the values in the order of the keys, None where a key is absent.

        Raises:
            ParseError: a line is not ``KEY VAL``.
        """
        for fullmatch, pick in self._layouts:
            if match := fullmatch(data):
                return pick((None, *map(int, match.groups())))[:-1]
        values_of = flat_keyed(data)
        if data and len(self._layouts) < _MOST_LAYOUTS:
            self._layouts.append(_learn(data, self._keys))
        return tuple(map(values_of.get, self._keys))


class _Layout(NamedTuple):
    """How to take values out of one layout: of None and all groups, each key's and that None."""

    fullmatch: Callable[[bytes], re.Match[bytes] | None]
    pick: Callable[[tuple[int | None, ...]], tuple[int | None, ...]]


def _learn(data: bytes, wanted: Sequence[str]) -> _Layout:
    """The layout of a flat keyed file that is in its format."""
    keys = [line.partition(b" ")[0] for line in data.removesuffix(b"\n").split(b"\n")]
    places = {key: place for place, key in enumerate(keys)}  # of a key that repeats, the last
    grouped = sorted(places[word] for key in wanted if (word := key.encode()) in places)
    lines = [
        re.escape(key) + (b" (%b)" if place in grouped else b" %b") % _DIGITS
        for place, key in enumerate(keys)
    ]
    group = {place: number for number, place in enumerate(grouped, 1)}
    return _Layout(
        re.compile(b"\n".join(lines) + b"\n?").fullmatch,
        # Of one place itemgetter gives no tuple: there is one more.
        itemgetter(*(group.get(places.get(key.encode(), -1), 0) for key in wanted), 0),
    )


def nested_keyed(data: bytes) -> dict[str, dict[str, str]]:
    """``KEY SUB_KEY0=VAL00 SUB_KEY1=VAL01 …`` a line, values as words.

    io.stat may print a key with nothing behind it, with or without a line end before the
    next one, and ``(unknown)``, more than once, in place of a device that was removed.

    Raises:
        ParseError: a line has no key.
    """
    nested: dict[str, dict[str, str]] = {}
    for number, line in enumerate(lines_of(text_of(data)), 1):
        words = line.split()
        if not words or line[0] == " " or "=" in words[0]:
            raise _line_error(data, number, "KEY SUB_KEY=VAL …")
        values: dict[str, str] = {}
        for word in words:
            sub_key, equals, value = word.partition("=")
            if equals:
                values[sub_key] = value
            else:
                values = nested.setdefault(word, {})
    return nested
