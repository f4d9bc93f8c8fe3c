"""cpu and cpuacct controller files of cgroup v1."""

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgexporter.parse.formats import ParseError, single_value
from cgexporter.parse.v1.cpu import (
    CpuacctStat,
    CpuStat,
    parse_cfs_period,
    parse_cfs_quota,
    parse_cpu_stat,
    parse_cpu_stat_local,
    parse_cpuacct_stat,
)

Fixture = Callable[[str], bytes]

V1 = "v1-6.1-docker/sys/fs/cgroup/cpu,cpuacct"
SLICE = f"{V1}/system.slice"
D_CPU = f"{SLICE}/docker-cf9c2ba28ed68940aa6075317dc8e31d2b9f75c08a89084cfa987cf6c71739f7.scope"
ID_6_18 = "b987b3a1a2a637e1a14506ef8e4ab53f3361b0d30dd587307e39f612d265551a"
D_6_18 = f"hybrid-6.18-docker-cgroupfs/sys/fs/cgroup/cpu/cgx-lab-docker/{ID_6_18}"


def test_limited_container(fixture: Fixture) -> None:
    """Throttling is in nanoseconds, user and system time in ticks, the limit in microseconds."""
    assert parse_cpu_stat(fixture(f"{D_CPU}/cpu.stat")) == CpuStat(
        nr_periods=264, nr_throttled=258, throttled_time=19_272_248_383, nr_bursts=0, burst_time=0
    )
    assert parse_cpuacct_stat(fixture(f"{D_CPU}/cpuacct.stat")) == CpuacctStat(user=505, system=33)
    assert single_value(fixture(f"{D_CPU}/cpuacct.usage")) == 5_390_404_919
    assert parse_cfs_quota(fixture(f"{D_CPU}/cpu.cfs_quota_us")) == 20_000
    assert parse_cfs_period(fixture(f"{D_CPU}/cpu.cfs_period_us")) == 100_000
    assert single_value(fixture(f"{D_CPU}/cpu.shares")) == 512


def test_unlimited(fixture: Fixture) -> None:
    """A quota of -1 is no limit, as `max` is on v2."""
    assert parse_cfs_quota(fixture(f"{V1}/cpu.cfs_quota_us")) == math.inf
    assert parse_cfs_quota(b"-1") == math.inf


def test_local(fixture: Fixture) -> None:
    """cpu.stat.local (Linux 6.6) counts on v1 too, in nanoseconds."""
    assert parse_cpu_stat_local(fixture(f"{D_6_18}/cpu.stat.local")) == 25_359_989_728
    assert parse_cpu_stat_local(b"") is None


def test_before_bursts() -> None:
    """An older kernel counts no bursts: absent, not 0."""
    data = b"nr_periods 3\nnr_throttled 2\nthrottled_time 1\n"
    assert parse_cpu_stat(data) == CpuStat(nr_periods=3, nr_throttled=2, throttled_time=1)


def test_key_of_another_scheduler(fixture: Fixture) -> None:
    """Vendors' kernels add keys (`wait_sum`, `exec_clock`), which are ignored."""
    data = fixture(f"{D_CPU}/cpu.stat")
    odd = b"wait_sum 77\n" + data + b"current_bw 18446744073709551615\n"
    assert parse_cpu_stat(odd) == parse_cpu_stat(data)


def test_empty() -> None:
    """An empty file counts nothing."""
    assert parse_cpu_stat(b"") == CpuStat()
    assert parse_cpuacct_stat(b"") == CpuacctStat()


@pytest.mark.parametrize("line", ["user", "user x", "user 1 2", "user -1"])
def test_malformed_line(line: str) -> None:
    """A line that is not KEY VAL is refused, and named."""
    with pytest.raises(ParseError, match="line 2"):
        parse_cpuacct_stat(f"system 1\n{line}\n".encode())
    with pytest.raises(ParseError, match="line 2"):
        parse_cpu_stat(f"nr_periods 1\n{line}\n".replace("user", "nr_throttled").encode())


@pytest.mark.parametrize("data", [b"", b"\n", b"-2\n", b"max\n", b"- 1\n", b"20000 100000\n"])
def test_malformed_quota(data: bytes) -> None:
    """No other negative number is a quota."""
    with pytest.raises(ParseError):
        parse_cfs_quota(data)


@pytest.mark.parametrize("data", [b"", b"0\n", b"-1\n", b"max\n"])
def test_malformed_period(data: bytes) -> None:
    """A period of 0, by which nothing can be divided, is refused."""
    with pytest.raises(ParseError):
        parse_cfs_period(data)


@given(
    st.lists(
        st.tuples(st.sampled_from([*CpuStat._fields, "wait_sum"]), st.integers(0, 2**64 - 1)),
        unique_by=lambda pair: pair[0],
    )
)
def test_any_subset_of_keys(pairs: list[tuple[str, int]]) -> None:
    """Whatever keys a kernel offers, in whatever order, each known one arrives unchanged."""
    parsed = parse_cpu_stat("".join(f"{key} {value}\n" for key, value in pairs).encode())
    assert parsed._asdict() == {name: dict(pairs).get(name) for name in CpuStat._fields}
