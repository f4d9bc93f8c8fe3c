"""cpu controller files of cgroup v2."""

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgexporter.parse.cpu import (
    CpuMax,
    CpuStat,
    parse_cpu_max,
    parse_cpu_stat,
    parse_cpu_stat_local,
)
from cgexporter.parse.formats import ParseError

Fixture = Callable[[str], bytes]

V2 = "v2-6.1-systemd/sys/fs/cgroup"
D_CPU = f"{V2}/system.slice/docker-8714cc23d00282e75e1f1210381f4a61db12858c635d7dd64f30d314b7c4e6ed"
P_CPU = (
    f"{V2}/machine.slice/libpod-847ddf70a7e5b69c7dce14dc5f34797280636047514589bab0110f8e15efe13b"
)
UNIFIED_6_18 = "hybrid-6.18-docker-cgroupfs/sys/fs/cgroup/unified"


def test_limited_container(fixture: Fixture) -> None:
    """A container with a CPU limit reports its throttling."""
    assert parse_cpu_stat(fixture(f"{D_CPU}.scope/cpu.stat")) == CpuStat(
        usage_usec=4_580_396,
        user_usec=4_445_792,
        system_usec=134_604,
        nr_periods=225,
        nr_throttled=220,
        throttled_usec=16_158_440,
        nr_bursts=0,
        burst_usec=0,
    )
    assert parse_cpu_max(fixture(f"{D_CPU}.scope/cpu.max")) == CpuMax(20_000, 100_000)


def test_without_the_controller(fixture: Fixture) -> None:
    """Where the cpu controller is off, usage is there and periods are absent, not 0."""
    data = fixture("hybrid-6.1-systemd/sys/fs/cgroup/unified/cpu.stat")
    assert parse_cpu_stat(data) == CpuStat(
        usage_usec=157_504_000, user_usec=89_836_000, system_usec=67_668_000
    )


def test_key_of_a_newer_kernel(fixture: Fixture) -> None:
    """A key that is new (`nice_usec`) is ignored and moves nothing."""
    data = fixture(f"{UNIFIED_6_18}/cgx-lab-docker/cpu.stat")
    assert b"nice_usec 0\n" in data
    assert parse_cpu_stat(data) == CpuStat(
        usage_usec=8_338_061, user_usec=8_294_401, system_usec=43_660
    )


def test_unlimited(fixture: Fixture) -> None:
    """`max` is no limit; the period is there all the same."""
    assert parse_cpu_max(fixture(f"{P_CPU}.scope/cpu.max")) == CpuMax(math.inf, 100_000)


def test_payload(fixture: Fixture) -> None:
    """Podman with crun puts the limit on a cgroup below the container's."""
    assert parse_cpu_max(fixture(f"{P_CPU}.scope/container/cpu.max")) == CpuMax(30_000, 100_000)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"max\n",
        b"100000\n",
        b"1 2 3\n",
        b"-1 100000\n",
        b"max max\n",
        b"max 0\n",
        b"x 1",
    ],
)
def test_malformed_maximum(data: bytes) -> None:
    """A maximum without its period, or with a period of 0, is refused."""
    with pytest.raises(ParseError):
        parse_cpu_max(data)


@pytest.mark.parametrize("line", ["usage_usec", "usage_usec x", "usage_usec 1 2", "usage_usec -1"])
def test_malformed_line(line: str) -> None:
    """A line the format does not allow is refused, never half read."""
    with pytest.raises(ParseError, match="line 2"):
        parse_cpu_stat(f"user_usec 1\n{line}\n".encode())
    with pytest.raises(ParseError, match="line 1"):
        parse_cpu_stat_local(f"{line}\n".replace("usage", "throttled").encode())


def test_local(fixture: Fixture) -> None:
    """cpu.stat.local has one key, and is empty where the controller is off."""
    assert parse_cpu_stat_local(b"throttled_usec 25359989\n") == 25_359_989
    assert parse_cpu_stat_local(fixture(f"{UNIFIED_6_18}/cgx-lab-docker/cpu.stat.local")) is None


def test_empty() -> None:
    """An empty file counts nothing."""
    assert parse_cpu_stat(b"") == CpuStat()


@given(
    st.lists(
        st.tuples(st.sampled_from([*CpuStat._fields, "nice_usec"]), st.integers(0, 2**64 - 1)),
        unique_by=lambda pair: pair[0],
    )
)
def test_any_subset_of_keys(pairs: list[tuple[str, int]]) -> None:
    """Whatever keys a kernel offers, in whatever order, each known one arrives unchanged."""
    parsed = parse_cpu_stat("".join(f"{key} {value}\n" for key, value in pairs).encode())
    assert parsed._asdict() == {name: dict(pairs).get(name) for name in CpuStat._fields}
