"""blkio of cgroup v1. Source: cgroup-v1/blkio-controller.rst, "Details of cgroup files"."""

from cgexporter.parse.formats import ParseError, decimal, lines_of, text_of
from cgexporter.parse.io import is_device_number


def parse_by_operation(data: bytes) -> dict[str, dict[str, int]]:
    """Parse ``blkio.*.io_service_bytes`` and ``io_serviced``, ``_recursive`` or not.

    Returns:
        By device number (``MAJOR:MINOR``), then by operation: Read, Write, Discard, Sync,
        Async, Total; bytes or operations. The file's last line, ``Total N`` over all
        devices, is left out, and so are devices that were removed (``(unknown)``).

    Raises:
        ParseError: a line is neither ``DEVICE OPERATION VAL`` nor ``Total VAL``.
    """
    devices: dict[str, dict[str, int]] = {}
    for number, line in enumerate(lines_of(text_of(data)), 1):
        words = line.split()
        if len(words) == 3 and is_device_number(words[0]):
            devices.setdefault(words[0], {})[words[1]] = decimal(words[2])
        elif not (len(words) == 3 and words[0] == "(unknown)") and words[:-1] != ["Total"]:
            raise ParseError(f"line {number}: expected DEVICE OP VAL, found {line[:80]!r}")
    return devices


def parse_by_device(data: bytes) -> dict[str, int]:
    """Parse ``blkio.throttle.*_device`` (limits a second), ``blkio.bfq.time`` and ``sectors``.

    Returns:
        By device number; a device without a line has no limit.

    Raises:
        ParseError: a line is not ``MAJOR:MINOR VAL``.
    """
    devices = {}
    for number, line in enumerate(lines_of(text_of(data)), 1):
        device, _, value = line.partition(" ")
        if not is_device_number(device):
            raise ParseError(f"line {number}: expected DEVICE VAL, found {line[:80]!r}")
        devices[device] = decimal(value)
    return devices
