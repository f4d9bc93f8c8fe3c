"""io controller files. Source: cgroup-v2.rst, "IO Interface Files"."""

from typing import NamedTuple

from cgexporter.parse.formats import ParseError, decimal, nested_keyed


class IoStat(NamedTuple):
    """One device's line of ``io.stat``: bytes and operations, None where absent."""

    rbytes: int | None = None
    wbytes: int | None = None
    rios: int | None = None
    wios: int | None = None
    dbytes: int | None = None
    dios: int | None = None


def is_device_number(word: str) -> bool:
    """Whether a word is ``MAJOR:MINOR``."""
    major, colon, minor = word.partition(":")
    return bool(colon) and major.isdecimal() and minor.isdecimal()


def parse_io_stat(data: bytes) -> dict[str, IoStat]:
    """Parse ``io.stat``: by device number (``MAJOR:MINOR``), whole disks.

    A device without counters (a line that ends after its number) and devices that the
    kernel no longer knows (``(unknown)``) are left out. Keys of io.cost and io.latency in
    the same line are not counters of this table.

    Raises:
        ParseError: a line has no key, or a counter is no decimal.
    """
    stats = {}
    for device, values in nested_keyed(data).items():
        if is_device_number(device) and values:
            counters = (values.get(key) for key in IoStat._fields)
            try:
                stat = IoStat._make(None if word is None else decimal(word) for word in counters)
            except ParseError as exc:
                raise ParseError(f"device {device}: {exc}") from None
            if any(value is not None for value in stat):
                stats[device] = stat
    return stats
