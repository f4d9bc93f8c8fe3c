"""io controller files of cgroup v2."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgexporter.parse.formats import ParseError
from cgexporter.parse.io import IoStat, is_device_number, parse_io_stat

Fixture = Callable[[str], bytes]

V2 = "v2-6.1-systemd/sys/fs/cgroup"
D_IO = f"{V2}/system.slice/docker-3464e8c930a30f454560ae88dbfba8f9696cdc6017393294c090eafff94951d9"
VDB = IoStat(rbytes=1, wbytes=2, rios=3, wios=4, dbytes=5, dios=6)
VDB_LINE = "254:16 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n"


def test_container(fixture: Fixture) -> None:
    """A container that writes and reads a disk has one line."""
    assert parse_io_stat(fixture(f"{D_IO}.scope/io.stat")) == {
        "254:16": IoStat(rbytes=13_049_856, wbytes=16_777_216, rios=201, wios=256, dbytes=0, dios=0)
    }


def test_devices_without_counters(fixture: Fixture) -> None:
    """Loop devices that did nothing have a line of their number alone, and no counters."""
    assert parse_io_stat(fixture(f"{V2}/io.stat")) == {
        "254:16": IoStat(
            rbytes=28_410_880,
            wbytes=165_908_480,
            rios=550,
            wios=529,
            dbytes=4_294_971_392,
            dios=5,
        ),
        "254:0": IoStat(
            rbytes=313_504_768, wbytes=191_696_896, rios=4_074, wios=2_586, dbytes=0, dios=0
        ),
    }


@pytest.mark.parametrize(
    "other",
    [
        "(unknown) rbytes=9 wbytes=9 rios=9 wios=9 dbytes=9 dios=9\n",
        "(unknown) \n(unknown) rbytes=9\n",
        "7:0\n",
        "7:0 \n",
    ],
)
def test_lines_without_device_or_counters(other: str) -> None:
    """A removed device, however often it stands there, costs the others nothing."""
    for data in (other + VDB_LINE, VDB_LINE + other):
        assert parse_io_stat(data.encode()) == {"254:16": VDB}


def test_several_devices_in_one_line() -> None:
    """Linux 5.15 ends no line of a device without counters: the last one of the line has them.

    The kernel's "blk-cgroup: always terminate io.stat lines" ended that. The line is of a host
    in https://github.com/canonical/lxd/issues/10052.
    """
    data = b"7:7 7:6 7:5 7:4 rbytes=28672 wbytes=0 rios=22 wios=0 dbytes=0 dios=0\n"
    assert parse_io_stat(data) == {
        "7:4": IoStat(rbytes=28_672, wbytes=0, rios=22, wios=0, dbytes=0, dios=0)
    }


def test_before_discards() -> None:
    """Before Linux 4.19 discards are not counted: absent, not 0."""
    assert parse_io_stat(b"8:0 rbytes=1 wbytes=2 rios=3 wios=4\n") == {
        "8:0": IoStat(rbytes=1, wbytes=2, rios=3, wios=4)
    }


def test_keys_of_other_controllers() -> None:
    """io.cost and io.latency write into the same lines, words and fractions among them."""
    line = b"8:0 cost.vrate=100.00 rbytes=7 cost.usage=5 use_delay=0 depth=max avg_lat=12\n"
    assert parse_io_stat(line) == {"8:0": IoStat(rbytes=7)}
    assert parse_io_stat(b"8:0 cost.vrate=100.00 cost.usage=5\n") == {}


def test_empty() -> None:
    """A cgroup that did no I/O has an empty file."""
    assert parse_io_stat(b"") == {}


@pytest.mark.parametrize("value", ["", "x", "-1", "1.5", "max"])
def test_malformed_counter(value: str) -> None:
    """A counter that is no decimal is refused."""
    with pytest.raises(ParseError):
        parse_io_stat(f"8:0 rbytes={value} wbytes=1\n".encode())


def test_malformed_counter_names_the_device() -> None:
    """The message says which device to look at."""
    with pytest.raises(ParseError, match="8:0"):
        parse_io_stat(f"{VDB_LINE}8:0 rbytes=x\n".encode())


def test_device_number() -> None:
    """MAJOR:MINOR, both decimal."""
    assert is_device_number("8:0")
    assert is_device_number("254:16")
    for word in ("(unknown)", "8", "8:", ":0", "a:b", "8:0:0", "", "-1:0", "8:0 ", " 8:0"):
        assert not is_device_number(word)


COUNTERS = st.dictionaries(
    st.sampled_from([*IoStat._fields, "cost.usage"]), st.integers(0, 2**64 - 1)
)


@given(st.dictionaries(st.sampled_from(["8:0", "254:16", "7:3", "(unknown)"]), COUNTERS))
def test_any_keys_of_any_devices(devices: dict[str, dict[str, int]]) -> None:
    """Each counter stays with its device, unchanged, whatever else the lines hold."""
    lines = (
        " ".join([device, *(f"{key}={value}" for key, value in counters.items())])
        for device, counters in devices.items()
    )
    assert parse_io_stat("".join(f"{line}\n" for line in lines).encode()) == {
        device: IoStat(**{key: value for key, value in counters.items() if key in IoStat._fields})
        for device, counters in devices.items()
        if device != "(unknown)" and counters.keys() & set(IoStat._fields)
    }
