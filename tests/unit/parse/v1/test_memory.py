"""memory controller files of cgroup v1."""

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgexporter.parse.formats import ParseError
from cgexporter.parse.v1.memory import MemoryStat, parse_limit, parse_memory_stat, parse_oom_kill

Fixture = Callable[[str], bytes]

SLICE = "v1-6.1-docker/sys/fs/cgroup/memory/system.slice"
D_CPU = f"{SLICE}/docker-cf9c2ba28ed68940aa6075317dc8e31d2b9f75c08a89084cfa987cf6c71739f7.scope"


def test_container(fixture: Fixture) -> None:
    """The keys with descendants are read: those that v2 calls by the plain names."""
    assert parse_memory_stat(fixture(f"{D_CPU}/memory.stat")) == MemoryStat(
        total_cache=77_824,
        total_rss=61_440,
        total_shmem=0,
        total_mapped_file=0,
        total_dirty=0,
        total_writeback=0,
        total_inactive_file=4_096,
        total_active_file=73_728,
        total_swap=0,
        total_workingset_refault_anon=0,
        total_workingset_refault_file=0,
        total_pgfault=687,
        total_pgmajfault=0,
    )


def test_slice(fixture: Fixture) -> None:
    """A slice whose own use is 0 tells what its descendants use."""
    stat = parse_memory_stat(fixture(f"{SLICE}/memory.stat"))
    assert (stat.total_cache, stat.total_rss, stat.total_inactive_file) == (
        (159_334_400, 94_638_080, 72_409_088)
    )


def test_limit(fixture: Fixture) -> None:
    """A limit is in bytes; without one the kernel prints LONG_MAX rounded down to a page."""
    assert parse_limit(fixture(f"{D_CPU}/memory.limit_in_bytes")) == 67_108_864
    assert parse_limit(fixture(f"{D_CPU}/memory.soft_limit_in_bytes")) == 33_554_432
    assert parse_limit(fixture(f"{SLICE}/memory.limit_in_bytes")) == math.inf
    assert parse_limit(fixture(f"{SLICE}/memory.memsw.limit_in_bytes")) == math.inf


@pytest.mark.parametrize("page_size", [4096, 16384, 65536, 262_144, 1])
def test_no_limit_of_any_page_size(page_size: int) -> None:
    """What "no limit" looks like depends on the machine's page size, and none is a number.

    9223372036854771712 with pages of 4 KiB; before Linux 3.19 2**63 - 1.
    """
    value = (2**63 - 1) // page_size * page_size
    assert parse_limit(f"{value}\n".encode()) == math.inf


@pytest.mark.parametrize("value", [0, 4096, 2**40, 2**53 + 1, 2**61])
def test_any_real_limit(value: int) -> None:
    """A limit that some machine could reach is a number with all its digits."""
    assert parse_limit(f"{value}\n".encode()) == value


@pytest.mark.parametrize("data", [b"", b"\n", b"max\n", b"-1\n", b"1 2\n", b"x\n"])
def test_malformed_limit(data: bytes) -> None:
    """v1 prints no `max` and no -1."""
    with pytest.raises(ParseError):
        parse_limit(data)


def test_oom_kill(fixture: Fixture) -> None:
    """Kills are counted since Linux 4.13; before, they are absent and not 0."""
    assert parse_oom_kill(fixture(f"{D_CPU}/memory.oom_control")) == 0
    assert parse_oom_kill(b"oom_kill_disable 0\nunder_oom 1\noom_kill 7\n") == 7
    assert parse_oom_kill(b"oom_kill_disable 1\nunder_oom 0\n") is None
    assert parse_oom_kill(b"") is None


@pytest.mark.parametrize("line", ["total_rss", "total_rss x", "total_rss 1 2", "total_rss -1"])
def test_malformed_line(line: str) -> None:
    """A line that is not KEY VAL is refused, and named."""
    with pytest.raises(ParseError, match="line 2"):
        parse_memory_stat(f"total_cache 1\n{line}\n".encode())
    with pytest.raises(ParseError, match="line 2"):
        parse_oom_kill(f"under_oom 1\n{line}\n".encode())


@given(
    st.lists(
        st.tuples(
            st.sampled_from([*MemoryStat._fields, "cache", "rss", "total_rss_huge"]),
            st.integers(0, 2**64 - 1),
        ),
        unique_by=lambda pair: pair[0],
    )
)
def test_any_subset_of_keys(pairs: list[tuple[str, int]]) -> None:
    """Whatever keys a kernel offers, each known one arrives unchanged, and `rss` as none."""
    parsed = parse_memory_stat("".join(f"{key} {value}\n" for key, value in pairs).encode())
    assert parsed._asdict() == {name: dict(pairs).get(name) for name in MemoryStat._fields}
