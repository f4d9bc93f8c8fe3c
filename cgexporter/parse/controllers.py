"""hugetlb, rdma, misc. Source: cgroup-v2.rst, "HugeTLB", "RDMA" and "Misc" interface files."""

from typing import NamedTuple

from cgexporter.parse.formats import FlatKeyed, ParseError, flat_keyed, limit, lines_of, text_of


class Rdma(NamedTuple):
    """One device's line of ``rdma.current`` or ``rdma.max``; inf is no limit."""

    hca_handle: float | None = None
    hca_object: float | None = None


_events_max = FlatKeyed(["max"])


def parse_events_max(data: bytes) -> int | None:
    """Parse ``hugetlb.<size>.events``: how often the limit refused (``max``)."""
    return _events_max(data)[0]


def parse_rdma(data: bytes) -> dict[str, Rdma]:
    """Parse ``rdma.current`` or ``rdma.max``: by device name.

    Raises:
        ParseError: a value is neither a decimal nor ``max``.
    """
    devices = {}
    for number, line in enumerate(lines_of(text_of(data)), 1):
        device, *pairs = line.split() or [""]
        if not device:
            raise ParseError(f"line {number}: expected DEVICE KEY=VAL …, found {line[:80]!r}")
        values = dict(pair.partition("=")[::2] for pair in pairs)
        devices[device] = Rdma._make(
            None if word is None else limit(word)
            for word in (values.get(key) for key in Rdma._fields)
        )
    return devices


def parse_misc(data: bytes) -> dict[str, float]:
    """Parse ``misc.current``, ``misc.peak``, ``misc.max`` or ``misc.capacity``, by resource.

    Raises:
        ParseError: a line is not ``KEY VAL``.
    """
    values = {}
    for number, line in enumerate(lines_of(text_of(data)), 1):
        key, space, value = line.partition(" ")
        if not key or not space:
            raise ParseError(f"line {number}: expected KEY VAL, found {line[:80]!r}")
        values[key] = limit(value)
    return values


def parse_misc_events(data: bytes) -> dict[str, int]:
    """Parse ``misc.events``: how often each resource's limit refused (``<resource>.max``)."""
    return {
        key.removesuffix(".max"): value
        for key, value in flat_keyed(data).items()
        if key.endswith(".max")
    }
