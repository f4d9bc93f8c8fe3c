"""memory controller files of cgroup v2."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgexporter.parse.formats import ParseError
from cgexporter.parse.memory import (
    MemoryEvents,
    MemoryStat,
    parse_memory_events,
    parse_memory_stat,
)

Fixture = Callable[[str], bytes]

V2 = "v2-6.1-systemd/sys/fs/cgroup"
D_CPU = f"{V2}/system.slice/docker-8714cc23d00282e75e1f1210381f4a61db12858c635d7dd64f30d314b7c4e6ed"


def test_container(fixture: Fixture) -> None:
    """Each key of the table arrives in bytes or counts, the other keys are ignored."""
    assert parse_memory_stat(fixture(f"{D_CPU}.scope/memory.stat")) == MemoryStat(
        anon=57_344,
        file=61_440,
        kernel=262_144,
        sock=0,
        shmem=0,
        file_mapped=0,
        file_dirty=0,
        file_writeback=0,
        inactive_file=4_096,
        active_file=57_344,
        slab_reclaimable=64_912,
        slab_unreclaimable=134_048,
        workingset_refault_anon=0,
        workingset_refault_file=0,
        pgscan=0,
        pgsteal=0,
        pgfault=797,
        pgmajfault=1,
    )


def test_root(fixture: Fixture) -> None:
    """The root cgroup has a memory.stat too; `file` is neither `file_mapped` nor another."""
    stat = parse_memory_stat(fixture(f"{V2}/memory.stat"))
    assert (stat.file, stat.file_mapped, stat.file_dirty, stat.inactive_file) == (
        (377_856_000, 108_523_520, 3_076_096, 161_521_664)
    )
    assert (stat.workingset_refault_file, stat.pgfault, stat.pgmajfault) == (6_024, 401_503, 2_299)


def test_events(fixture: Fixture) -> None:
    """A service above memory.high was slowed down, and nothing else happened to it."""
    expected = MemoryEvents(low=0, high=1520, max=0, oom=0, oom_kill=0, oom_group_kill=0)
    for name in ("memory.events", "memory.events.local"):
        assert parse_memory_events(fixture(f"{V2}/system.slice/lab-mem.service/{name}")) == expected


def test_events_of_an_older_kernel() -> None:
    """Before Linux 5.17 there is no `oom_group_kill`: absent, not 0."""
    data = b"low 0\nhigh 0\nmax 3\noom 2\noom_kill 1\n"
    assert parse_memory_events(data) == MemoryEvents(low=0, high=0, max=3, oom=2, oom_kill=1)


def test_two_files_of_one_parser(fixture: Fixture) -> None:
    """An old kernel's file and a new one's may be read in turn; neither shows in the other."""
    new = fixture(f"{V2}/system.slice/lab-mem.service/memory.events")
    for _ in range(2):
        assert parse_memory_events(new).high == 1520
        assert parse_memory_events(b"oom_kill 9\nlow 4\n") == MemoryEvents(low=4, oom_kill=9)


def test_empty() -> None:
    """An empty file counts nothing."""
    assert parse_memory_stat(b"") == MemoryStat()
    assert parse_memory_events(b"") == MemoryEvents()


@pytest.mark.parametrize("line", ["anon", "anon x", "anon 1 2", "anon -1", "anon=1"])
def test_malformed_line(line: str) -> None:
    """A line the format does not allow is refused, and named."""
    with pytest.raises(ParseError, match="line 2"):
        parse_memory_stat(f"file 1\n{line}\n".encode())
    with pytest.raises(ParseError, match="line 2"):
        parse_memory_events(f"low 1\n{line}\n".replace("anon", "oom").encode())


@given(
    st.lists(
        st.tuples(
            st.sampled_from([*MemoryStat._fields, "zswpin", "percpu", "hugetlb"]),
            st.integers(0, 2**64 - 1),
        ),
        unique_by=lambda pair: pair[0],
    )
)
def test_any_subset_of_keys(pairs: list[tuple[str, int]]) -> None:
    """The kernel promises no order and adds keys: each known one arrives unchanged."""
    parsed = parse_memory_stat("".join(f"{key} {value}\n" for key, value in pairs).encode())
    assert parsed._asdict() == {name: dict(pairs).get(name) for name in MemoryStat._fields}
