"""io controller files. Source: cgroup-v2.rst, "IO Interface Files"."""

from typing import NamedTuple

from cgexporter.parse.formats import ParseError, decimal, limit, lines_of, nested_keyed, text_of


class IoStat(NamedTuple):
    """One device's line of ``io.stat``: bytes and operations, None where absent."""

    rbytes: int | None = None
    wbytes: int | None = None
    rios: int | None = None
    wios: int | None = None
    dbytes: int | None = None
    dios: int | None = None


class IoCost(NamedTuple):
    """What io.cost and io.latency add to a device's line; None where absent.

    Source: cgroup-v2.rst, "IO Interface Files"; block/blk-iocost.c, ioc_pd_stat;
    block/blk-iolatency.c, iolatency_pd_stat; block/blk-cgroup.c, blkcg_print_one_stat.
    """

    cost_usage: int | None = None  # microseconds, as are wait, indebt and indelay
    cost_wait: int | None = None
    cost_indebt: int | None = None
    cost_indelay: int | None = None
    use_delay: int | None = None
    delay_nsec: int | None = None
    depth: float | None = None
    avg_lat: int | None = None  # microseconds
    win: int | None = None  # milliseconds
    missed: int | None = None
    total: int | None = None


class IoMax(NamedTuple):
    """One device's line of ``io.max``: bytes and operations a second; inf is no limit."""

    rbps: float | None = None
    wbps: float | None = None
    riops: float | None = None
    wiops: float | None = None


_COST_KEYS = tuple(
    "cost." + field.removeprefix("cost_") if field.startswith("cost_") else field
    for field in IoCost._fields
)


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


def parse_io_cost(data: bytes) -> dict[str, IoCost]:
    """Parse what io.cost and io.latency print into ``io.stat``, by device number.

    Raises:
        ParseError: a line has no key, or a value is no number.
    """
    found = {}
    for device, values in nested_keyed(data).items():
        if not is_device_number(device) or not values:
            continue
        cost = IoCost._make(
            None if word is None else limit(word)
            for word in (values.get(key) for key in _COST_KEYS)
        )
        if any(value is not None for value in cost):
            found[device] = cost
    return found


def parse_io_max(data: bytes) -> dict[str, IoMax]:
    """Parse ``io.max``: by device number; a device without a line has no limit.

    Raises:
        ParseError: a line has no key, or a limit is neither a decimal nor ``max``.
    """
    return {
        device: IoMax._make(
            None if word is None else limit(word)
            for word in (values.get(key) for key in IoMax._fields)
        )
        for device, values in nested_keyed(data).items()
        if is_device_number(device)
    }


def parse_io_latency(data: bytes) -> dict[str, int]:
    """Parse ``io.latency``: the target in microseconds, by device number."""
    return {
        device: decimal(values["target"])
        for device, values in nested_keyed(data).items()
        if is_device_number(device) and "target" in values
    }


def parse_weights(data: bytes) -> dict[str, int]:
    """Parse ``io.weight`` or ``blkio.bfq.weight_device``: by device number, or "default".

    ``blkio.bfq.weight`` of v1 is the default alone, without its name.

    Raises:
        ParseError: a line is neither ``KEY VAL`` nor ``VAL``.
    """
    weights = {}
    for line in lines_of(text_of(data)):
        key, space, value = line.rpartition(" ")
        if not space or key == "default" or is_device_number(key):
            weights[key or "default"] = decimal(value)
        elif key:
            raise ParseError(f"expected DEVICE WEIGHT, found {line[:80]!r}")
    return weights
