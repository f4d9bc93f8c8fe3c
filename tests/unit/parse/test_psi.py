"""Pressure stall information."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgexporter.parse.formats import ParseError
from cgexporter.parse.psi import Pressure, parse_pressure

Fixture = Callable[[str], bytes]

V2 = "v2-6.1-systemd/sys/fs/cgroup"
D_CPU = f"{V2}/system.slice/docker-8714cc23d00282e75e1f1210381f4a61db12858c635d7dd64f30d314b7c4e6ed"
SOME = "some avg10=54.45 avg60=16.00 avg300=3.68 total=12055254\n"
FULL = "full avg10=54.42 avg60=15.98 avg300=3.68 total=12042561\n"


def test_throttled_container(fixture: Fixture) -> None:
    """A container at its CPU limit waits most of the time."""
    assert parse_pressure(fixture(f"{D_CPU}.scope/cpu.pressure")) == Pressure(
        some_total_usec=12_055_254, full_total_usec=12_042_561, some_avg10=54.45, full_avg10=54.42
    )


def test_memory(fixture: Fixture) -> None:
    """A service above memory.high is stalled on memory."""
    data = fixture(f"{V2}/system.slice/lab-mem.service/memory.pressure")
    assert parse_pressure(data) == Pressure(3_422_746, 3_422_746, 22.81, 22.81)


def test_no_stall_is_zero(fixture: Fixture) -> None:
    """A file of zeros is a measurement, not an absence."""
    assert parse_pressure(fixture(f"{D_CPU}.scope/io.pressure")) == Pressure(0, 0, 0.0, 0.0)


def test_irq_has_only_full() -> None:
    """irq.pressure (Linux 6.1) has no `some` line."""
    assert parse_pressure(FULL.encode()) == Pressure(full_total_usec=12_042_561, full_avg10=54.42)


def test_cpu_before_5_13_has_only_some() -> None:
    """Before Linux 5.13 cpu.pressure has no `full` line: absent, not 0."""
    assert parse_pressure(SOME.encode()) == Pressure(some_total_usec=12_055_254, some_avg10=54.45)


def test_any_order() -> None:
    """The lines may change places."""
    assert parse_pressure((FULL + SOME).encode()) == parse_pressure((SOME + FULL).encode())


def test_empty() -> None:
    """An empty file tells nothing."""
    assert parse_pressure(b"") == Pressure()


@pytest.mark.parametrize(
    "line",
    [
        "some",
        "most avg10=0.00 avg60=0.00 avg300=0.00 total=0",
        "some avg10=0.00 avg60=0.00 avg300=0.00 total=",
        "some avg10=0.00 avg60=0.00 avg300=0.00 total=-1",
        "some avg10=0.00 avg60=0.00 avg300=0.00 total=1 more=2",
        "some avg10=nan avg60=0.00 avg300=0.00 total=1",
        "some avg10=0 avg60=0.00 avg300=0.00 total=1",
        "some avg60=0.00 avg300=0.00 total=1",
        " some avg10=0.00 avg60=0.00 avg300=0.00 total=0",
        "",
    ],
)
def test_malformed_line(line: str) -> None:
    """A line that is no pressure line is refused, and named."""
    with pytest.raises(ParseError, match="line 2: expected a pressure line"):
        parse_pressure(f"{SOME}{line}\n".encode())


@given(st.integers(0, 2**64 - 1), st.integers(0, 10_000))
def test_all_digits(total: int, hundredths: int) -> None:
    """Totals are 64-bit and keep all digits; shares are the two decimals of the kernel."""
    share = f"{hundredths // 100}.{hundredths % 100:02}"
    line = f"some avg10={share} avg60=1.00 avg300=2.00 total={total}\n"
    assert parse_pressure(line.encode()) == Pressure(some_total_usec=total, some_avg10=float(share))
