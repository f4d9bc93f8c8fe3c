"""blkio controller files of cgroup v1."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgexporter.parse.formats import ParseError
from cgexporter.parse.v1.blkio import parse_by_operation

Fixture = Callable[[str], bytes]

BLKIO = "v1-6.1-docker/sys/fs/cgroup/blkio"
D_IO = (
    f"{BLKIO}/system.slice"
    "/docker-2e809c6e4a0c2a2ec838e9b8e2ae473770f79d4d3a291134eb1c7d39395de3fd.scope"
)
OPERATIONS = ("Read", "Write", "Sync", "Async", "Discard", "Total")


def test_container(fixture: Fixture) -> None:
    """Bytes and operations of a container's one device; the sum over devices is left out."""
    assert parse_by_operation(fixture(f"{D_IO}/blkio.throttle.io_service_bytes_recursive")) == {
        "254:16": {
            "Read": 16_785_408,
            "Write": 16_777_216,
            "Sync": 33_562_624,
            "Async": 0,
            "Discard": 0,
            "Total": 33_562_624,
        }
    }
    operations = parse_by_operation(fixture(f"{D_IO}/blkio.throttle.io_serviced"))
    assert operations["254:16"]["Read"] == 258
    assert operations["254:16"]["Write"] == 256


def test_root(fixture: Fixture) -> None:
    """The root lists every device, idle ones with zeros."""
    devices = parse_by_operation(fixture(f"{BLKIO}/blkio.throttle.io_service_bytes_recursive"))
    assert len(devices) == 10
    assert devices["254:16"]["Read"] == 16_785_408
    assert devices["7:0"] == dict.fromkeys(OPERATIONS, 0)


def test_idle() -> None:
    """A cgroup that did no I/O has only the sum, or nothing."""
    assert parse_by_operation(b"Total 0\n") == {}
    assert parse_by_operation(b"") == {}


def test_before_discards() -> None:
    """Before Linux 4.19 there is no Discard: absent, not 0."""
    data = b"8:0 Read 1\n8:0 Write 2\n8:0 Sync 3\n8:0 Async 0\n8:0 Total 3\nTotal 3\n"
    assert "Discard" not in parse_by_operation(data)["8:0"]


@pytest.mark.parametrize(
    "line", ["8:0 Read", "8:0 Read 1 2", "Read 1", "8 Read 1", "8:0", "", "Totals 1", "8:x Read 1"]
)
def test_malformed_line(line: str) -> None:
    """A line of another form is refused, and named."""
    with pytest.raises(ParseError, match="line 2: expected DEVICE OP VAL"):
        parse_by_operation(f"8:0 Read 1\n{line}\nTotal 1\n".encode())


@pytest.mark.parametrize("value", ["x", "-1", "1.5", "max"])
def test_malformed_value(value: str) -> None:
    """A value that is no decimal is refused."""
    with pytest.raises(ParseError):
        parse_by_operation(f"8:0 Read {value}\n".encode())


def test_unknown_device() -> None:
    """NVMe multipath devices are `(unknown)`; the others are read all the same.

    Seen in https://github.com/containerd/cgroups/pull/398; io.stat does so on v2.
    """
    data = b"(unknown) Read 5\n(unknown) Total 5\n8:0 Read 1\n8:0 Total 1\nTotal 6\n"
    assert parse_by_operation(data) == {"8:0": {"Read": 1, "Total": 1}}


@given(
    st.dictionaries(
        st.sampled_from(["8:0", "254:16", "7:3"]),
        st.dictionaries(st.sampled_from(OPERATIONS), st.integers(0, 2**64 - 1), min_size=1),
    ),
)
def test_any_operations_of_any_devices(devices: dict[str, dict[str, int]]) -> None:
    """Each number stays with its device and operation, unchanged."""
    lines = [
        f"{device} {operation} {value}\n"
        for device, operations in devices.items()
        for operation, value in operations.items()
    ]
    for data in ("".join(lines), "".join(reversed(lines))):
        assert parse_by_operation(f"{data}Total 1\n".encode()) == devices
