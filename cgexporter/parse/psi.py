"""Pressure stall information. Source: Documentation/accounting/psi.rst, "Pressure interface"."""

import re
from typing import NamedTuple

from cgexporter.parse.formats import ParseError, decimal, lines_of, text_of


class Pressure(NamedTuple):
    """One ``*.pressure`` file: total stall time in microseconds, recent shares in percent.

    ``some`` and ``full`` are absent line by line: cpu has ``full`` from Linux 5.13 on
    (always 0 system-wide), irq has only ``full``.
    """

    some_total_usec: int | None = None
    full_total_usec: int | None = None
    some_avg10: float | None = None
    full_avg10: float | None = None


_LINE = re.compile(
    r"(some|full) avg10=(\d+\.\d+) avg60=\d+\.\d+ avg300=\d+\.\d+ total=(\d+)", re.ASCII
)
_REST = rb"avg10=([0-9]+\.[0-9]+) avg60=[0-9]+\.[0-9]+ avg300=[0-9]+\.[0-9]+ total=([0-9]{1,20})\n"
# As every kernel from 5.13 on prints all but irq.pressure.
_BOTH = re.compile(b"some %bfull %b" % (_REST, _REST))


def parse_pressure(data: bytes) -> Pressure:
    """Parse ``cpu.pressure``, ``memory.pressure``, ``io.pressure`` or ``irq.pressure``.

    Raises:
        ParseError: a line is not ``some|full avg10=… avg60=… avg300=… total=…``.
    """
    if both := _BOTH.fullmatch(data):
        words = both.groups()
        return Pressure(int(words[1]), int(words[3]), float(words[0]), float(words[2]))
    some = full = some_avg10 = full_avg10 = None
    for number, line in enumerate(lines_of(text_of(data)), 1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise ParseError(f"line {number}: expected a pressure line, found {line[:80]!r}")
        kind, avg10, total = match.groups()
        if kind == "some":
            some, some_avg10 = decimal(total), float(avg10)
        else:
            full, full_avg10 = decimal(total), float(avg10)
    return Pressure(some, full, some_avg10, full_avg10)
