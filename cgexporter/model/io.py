"""Block I/O of a cgroup by device, from io.stat (v2) or blkio (v1)."""

from typing import NamedTuple

from cgexporter.parse import io as v2


class DeviceIo(NamedTuple):
    """Bytes and operations on one whole disk; None is "not counted"."""

    device: str  # MAJOR:MINOR
    read_bytes: int | None = None
    written_bytes: int | None = None
    discarded_bytes: int | None = None
    reads: int | None = None
    writes: int | None = None
    discards: int | None = None


Io = tuple[DeviceIo, ...]


def io_v2(stat: dict[str, v2.IoStat] | None) -> Io:
    """Build from ``io.stat``, which includes descendants."""
    return tuple(
        DeviceIo(device, line.rbytes, line.wbytes, line.dbytes, line.rios, line.wios, line.dios)
        for device, line in sorted((stat or {}).items())
    )


_Operations = dict[str, dict[str, int]]


def io_v1(
    recursive_bytes: _Operations | None,
    recursive_operations: _Operations | None,
    own_bytes: _Operations | None,
    own_operations: _Operations | None,
    *,
    leaf: bool,
) -> Io:
    """Build from ``blkio.throttle.io_service_bytes`` and ``io_serviced``.

    The ``_recursive`` files include descendants, as io.stat does. Where the kernel lacks
    them the plain files say the same of a cgroup without children, and of no other.
    """
    done = recursive_bytes if recursive_bytes is not None else own_bytes if leaf else None
    operations = (
        recursive_operations
        if recursive_operations is not None
        else own_operations
        if leaf
        else None
    )
    by_bytes, by_operations = done or {}, operations or {}
    return tuple(
        DeviceIo(
            device,
            by_bytes.get(device, {}).get("Read"),
            by_bytes.get(device, {}).get("Write"),
            by_bytes.get(device, {}).get("Discard"),
            by_operations.get(device, {}).get("Read"),
            by_operations.get(device, {}).get("Write"),
            by_operations.get(device, {}).get("Discard"),
        )
        for device in sorted(by_bytes.keys() | by_operations.keys())
    )
