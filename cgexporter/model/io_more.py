"""Block I/O of a cgroup in detail: limits, weights, and what io.cost, io.latency and BFQ count."""

from collections.abc import Mapping
from typing import NamedTuple

from cgexporter.model.units import MICROSECONDS, MILLISECONDS, NANOSECONDS, seconds
from cgexporter.parse import io as v2


class DeviceLimits(NamedTuple):
    """Limits, weight and latency target of one device; inf is no limit."""

    device: str  # MAJOR:MINOR, or "default" for all without a line
    read_bytes_per_second: float | None = None
    write_bytes_per_second: float | None = None
    reads_per_second: float | None = None
    writes_per_second: float | None = None
    weight: int | None = None
    latency_target_seconds: float | None = None


class DeviceCost(NamedTuple):
    """What io.cost and io.latency count on one device."""

    device: str
    cost_usage_seconds: float | None = None
    cost_wait_seconds: float | None = None
    cost_indebt_seconds: float | None = None
    cost_indelay_seconds: float | None = None
    use_delay: float | None = None
    delay_seconds: float | None = None
    latency_depth: float | None = None
    latency_average_seconds: float | None = None
    latency_window_seconds: float | None = None
    latency_missed: float | None = None
    latency_total: float | None = None


class DeviceBfq(NamedTuple):
    """What the BFQ scheduler counts on one device (v1)."""

    device: str
    read_bytes: int | None = None
    written_bytes: int | None = None
    reads: int | None = None
    writes: int | None = None
    service_seconds: float | None = None
    wait_seconds: float | None = None
    merged: int | None = None
    queued: int | None = None
    time_seconds: float | None = None
    sectors: int | None = None


IoLimits = tuple[DeviceLimits, ...]
IoCost = tuple[DeviceCost, ...]
IoBfq = tuple[DeviceBfq, ...]


def limits_v2(
    maximum: dict[str, v2.IoMax] | None,
    weights: dict[str, int] | None,
    bfq_weights: dict[str, int] | None,
    targets: dict[str, int] | None,
) -> IoLimits:
    """Build from ``io.max``, ``io.weight`` (or ``io.bfq.weight``) and ``io.latency``."""
    maximum, targets = maximum or {}, targets or {}
    weights = weights if weights is not None else bfq_weights or {}
    return tuple(
        DeviceLimits(
            device,
            *maximum.get(device, v2.IoMax()),
            weights.get(device),
            seconds(targets.get(device), MICROSECONDS),
        )
        for device in sorted(maximum.keys() | weights.keys() | targets.keys())
    )


def limits_v1(
    read_bps: dict[str, int] | None,
    write_bps: dict[str, int] | None,
    read_iops: dict[str, int] | None,
    write_iops: dict[str, int] | None,
    weight: dict[str, int] | None,
    weight_device: dict[str, int] | None,
) -> IoLimits:
    """Build from ``blkio.throttle.*_device`` and ``blkio.bfq.weight*``."""
    columns = (read_bps or {}, write_bps or {}, read_iops or {}, write_iops or {})
    weights = (weight or {}) | (weight_device or {})
    devices = sorted(set().union(*columns, weights))
    return tuple(
        DeviceLimits(device, *_four(columns, device), weights.get(device)) for device in devices
    )


def with_payload(outer: IoLimits, payload: IoLimits) -> IoLimits:
    """The limits of a container whose processes are in a cgroup below: the stricter of each."""
    below = {each.device: each for each in payload}
    merged = [_stricter(each, below.pop(each.device, None)) for each in outer]
    return (*merged, *below.values())


def _stricter(outer: DeviceLimits, payload: DeviceLimits | None) -> DeviceLimits:
    if payload is None:
        return outer
    limits: dict[str, float | None] = {}
    for name in DeviceLimits._fields[1:5]:
        both = getattr(outer, name), getattr(payload, name)
        limits[name] = min((limit for limit in both if limit is not None), default=None)
    return outer._replace(**limits)  # type: ignore[arg-type]


_Column = Mapping[str, int]


def _four(
    columns: tuple[_Column, _Column, _Column, _Column], device: str
) -> tuple[int | None, int | None, int | None, int | None]:
    one, two, three, four = columns
    return one.get(device), two.get(device), three.get(device), four.get(device)


def cost(stat: Mapping[str, v2.IoCost] | None) -> IoCost:
    """Build from the keys of io.cost and io.latency in ``io.stat``."""
    return tuple(
        DeviceCost(
            device,
            seconds(line.cost_usage, MICROSECONDS),
            seconds(line.cost_wait, MICROSECONDS),
            seconds(line.cost_indebt, MICROSECONDS),
            seconds(line.cost_indelay, MICROSECONDS),
            line.use_delay,
            seconds(line.delay_nsec, NANOSECONDS),
            line.depth,
            seconds(line.avg_lat, MICROSECONDS),
            seconds(line.win, MILLISECONDS),
            line.missed,
            line.total,
        )
        for device, line in sorted((stat or {}).items())
    )


_Operations = dict[str, dict[str, int]]


def bfq(
    service_bytes: _Operations | None,
    serviced: _Operations | None,
    service_time: _Operations | None,
    wait_time: _Operations | None,
    merged: _Operations | None,
    queued: _Operations | None,
    time_msec: dict[str, int] | None,
    sectors: dict[str, int] | None,
) -> IoBfq:
    """Build from ``blkio.bfq.*_recursive``: bytes, operations, nanoseconds, milliseconds."""
    tables = [table or {} for table in (service_bytes, serviced, service_time, wait_time)]
    by_bytes, by_operations, by_service, by_wait = tables
    merged, queued, time_msec, sectors = merged or {}, queued or {}, time_msec or {}, sectors or {}
    devices = set().union(*tables, merged, queued, time_msec, sectors)
    return tuple(
        DeviceBfq(
            device,
            by_bytes.get(device, {}).get("Read"),
            by_bytes.get(device, {}).get("Write"),
            by_operations.get(device, {}).get("Read"),
            by_operations.get(device, {}).get("Write"),
            seconds(by_service.get(device, {}).get("Total"), NANOSECONDS),
            seconds(by_wait.get(device, {}).get("Total"), NANOSECONDS),
            merged.get(device, {}).get("Total"),
            queued.get(device, {}).get("Total"),
            seconds(time_msec.get(device), MILLISECONDS),
            sectors.get(device),
        )
        for device in sorted(devices)
    )
