"""Where files stand still, and what ends it."""

import logging

import pytest

from cgexporter.seldom import CPUS, KILLS, NO_LIMIT, WRITTEN, Occasion, Standstill, free_of_limits

TOP = "/sys/fs/cgroup/cpu"
POD, CONTAINER = f"{TOP}/pod", f"{TOP}/pod/c"
WATCHED = frozenset([""])
FREE = frozenset(["", *NO_LIMIT])
OWN, ABOVE = Occasion("cpu.cfs_quota_us"), Occasion("cpu.cfs_quota_us", above=True)


@pytest.fixture
def standstill() -> Standstill:
    """A container of a pod without a limit, in a scan in which nothing is new."""
    standstill = Standstill()
    for path in (TOP, POD, CONTAINER):
        standstill.note(path, FREE)
    for _ in range(3):
        standstill.begin(0, written=False)
        standstill.end()
    return standstill


@pytest.mark.parametrize("occasion", [WRITTEN, CPUS, KILLS, OWN, ABOVE])
def test_without_limits(standstill: Standstill, occasion: Occasion) -> None:
    """All stands still but the root's CPUs, and nothing where nothing is known."""
    assert standstill.holds(CONTAINER, TOP, occasion)
    assert standstill.holds(TOP, TOP, occasion) is not occasion.above
    assert not standstill.holds(f"{CONTAINER}/other", TOP, occasion)
    standstill.forget(POD)
    assert standstill.holds(CONTAINER, TOP, occasion) is not occasion.above


@pytest.mark.parametrize(
    ("limited", "own", "above"),
    [(CONTAINER, False, False), (POD, True, False), (TOP, True, False)],
)
def test_limits(standstill: Standstill, limited: str, own: bool, above: bool) -> None:
    """A limit ends the standstill of what it makes count, and of nothing else."""
    standstill.note(limited, WATCHED)
    assert standstill.holds(CONTAINER, TOP, OWN) is own
    assert standstill.holds(CONTAINER, TOP, ABOVE) is above
    for other in (WRITTEN, CPUS, KILLS):
        assert standstill.holds(CONTAINER, TOP, other)


@pytest.mark.parametrize(
    ("name", "content", "free"),
    [
        ("cpu.cfs_quota_us", b"-1\n", True),
        ("cpu.cfs_quota_us", b"1000\n", False),
        ("cpu.max", b"max 100000\n", True),
        ("cpu.max", b"1000 100000\n", False),
        ("pids.max", b"max\n", True),
        ("pids.max", b"17\n", False),
        ("pids.max", None, False),
    ],
)
def test_what_sets_no_limit(name: str, content: bytes | None, free: bool) -> None:
    """Of a file that cannot be read nothing is known."""
    assert (name in free_of_limits(7, False, {name: content})) is free
    assert "" in free_of_limits(7, False, {name: content})


def test_root() -> None:
    """Above the host's own root is no limit; above one that is seen in its place there may be."""
    assert free_of_limits(1, True, {}) == FREE
    assert free_of_limits(7, True, {"pids.max": b"max\n"}) == WATCHED


def test_kills() -> None:
    """After the machine's counter the cgroup's follows: it is read in that scan and the next."""
    standstill = Standstill()
    seen = []
    for kills in (3, 3, 3, 4, 4, 4, None, 4, 4, 4):
        standstill.begin(kills, written=False)
        seen.append(standstill.has_killed)
        standstill.end()
    assert seen == [True, True, False, True, True, False, True, True, True, False]


def test_kills_in_a_scan_that_did_not_end(standstill: Standstill) -> None:
    """Who was not come to then is read in the next scan that ends, and in the one after it."""
    for _ in range(3):
        standstill.begin(1, written=False)
        assert standstill.has_killed
    standstill.end()
    seen = []
    for _ in range(3):
        standstill.begin(1, written=False)
        seen.append(standstill.has_killed)
        standstill.end()
    assert seen == [True, False, False]


def test_versions(standstill: Standstill) -> None:
    """What was written is read at once, what follows by and by twice."""
    seen = [standstill.version]

    def begin(*, written: bool = False) -> None:
        standstill.begin(0, written=written)
        seen.append(standstill.version)

    begin()
    begin(written=True)
    begin()
    assert seen == [0, 0, 1, 1]
    standstill.read_twice()
    begin()
    begin()
    assert seen[4:] == [3, 3]
    standstill.forget(CONTAINER)  # has none below
    begin()
    standstill.note(CONTAINER, FREE)
    standstill.forget(POD)
    begin()
    begin()
    assert seen[6:] == [3, 5, 5]


def test_nothing_is_kept_of_who_is_gone() -> None:
    """What is known of a directory ends with it."""
    standstill = Standstill()
    for number in range(3):
        standstill.note(f"{POD}/{number}", FREE)
        standstill.note(f"{POD}/{number}", FREE)
        standstill.forget(f"{POD}/{number}")
        standstill.forget(f"{POD}/{number}")
    assert not standstill._free
    assert not standstill._below


def test_doubt(standstill: Standstill, caplog: pytest.LogCaptureFixture) -> None:
    """A file that changed though nothing is told of it is read from then on, and so are all."""
    with caplog.at_level(logging.WARNING):
        standstill.doubt("cpu.stat.local")
        standstill.begin(0, written=True)  # told a moment late
        standstill.doubt("cpu.stat.local")  # it was read since something was written
        standstill.begin(0, written=False)
        assert standstill.holds(CONTAINER, TOP, ABOVE)
        assert not caplog.messages
        for _ in range(3):
            standstill.doubt("cpu.stat.local")
            standstill.begin(0, written=False)
    assert caplog.messages == [
        "cpu.stat.local changed, nothing told of it: it is read in each scan"
    ]
    assert not standstill.holds(CONTAINER, TOP, ABOVE)
    assert not standstill.holds(CONTAINER, TOP, WRITTEN)
