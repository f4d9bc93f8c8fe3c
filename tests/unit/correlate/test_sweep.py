"""A sweep over hand-made /proc trees, with a clock of the test's own."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from cgexporter.correlate import sweep as module
from cgexporter.correlate.origin import normal
from cgexporter.correlate.processes import KINDS
from cgexporter.correlate.sweep import RECHECK_SECONDS, Sweep
from cgexporter.hierarchies import Hierarchies, Hierarchy
from cgexporter.kernel import Missing

_NET = KINDS.index("net")


class Clock:
    """A clock that goes on by itself with each look at it, if wanted."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.step = 0.0

    def monotonic(self) -> float:
        """Stands for `time.monotonic`."""
        self.now += self.step
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Gives the sweep this clock."""
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


class Proc:
    """A hand-made /proc."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, pid: int, *, started: int = 5, net: int = 1, cgroup: str = "/") -> None:
        """Make a process, or change it in place."""
        place = self.root / str(pid)
        (place / "ns").mkdir(parents=True, exist_ok=True)
        (place / "stat").write_text(f"{pid} (sh) S 1 1 1 0 -1 0 {'0 ' * 12}{started} 0 0\n")
        (place / "cgroup").write_text(f"0::{cgroup}\n")
        (place / "mountinfo").write_text("")
        for kind in KINDS:
            link = place / "ns" / kind
            link.unlink(missing_ok=True)
            link.symlink_to(f"{kind}:[{net if kind == 'net' else 100}]")

    def remove(self, pid: int) -> None:
        """The process exits."""
        for place, _, files in os.walk(self.root / str(pid), topdown=False):
            for file in files:
                os.unlink(f"{place}/{file}")
            os.rmdir(place)


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    """An empty /proc."""
    return Proc(tmp_path)


@pytest.fixture
def make(proc: Proc) -> Callable[[], Sweep]:
    """Makes a sweep of it."""
    tree = Hierarchy("/nowhere", "/", frozenset(), unified=True)
    return lambda: Sweep(Hierarchies(tree, {}, str(proc.root)), 0.0005)


def nets(sweep: Sweep) -> Sequence[tuple[int, int | None]]:
    """Network namespace of each process."""
    return sorted((one.pid, one.group.links.inodes[_NET]) for one in sweep.processes)


def test_processes_come_and_go(proc: Proc, make: Callable[[], Sweep], clock: Clock) -> None:
    """A pass knows those who are there, and forgets those who are not."""
    proc.put(1)
    proc.put(7, net=2, cgroup="/a")
    sweep = make()
    sweep.through()
    assert nets(sweep) == [(1, 1), (7, 2)]
    assert sweep.pids_in("/a") == [7]
    assert sweep.knows_host
    proc.remove(7)
    sweep.through()
    assert nets(sweep) == [(1, 1)]
    assert sweep.pids_in("/a") == []
    assert sum(sweep.groups.values()) == 1


def test_pid_of_another_process(proc: Proc, make: Callable[[], Sweep], clock: Clock) -> None:
    """A PID that is given again is another process, and no news of the old one."""
    proc.put(7, started=5, net=2)
    sweep = make()
    sweep.through()
    looked = clock.now
    clock.now += 1
    proc.remove(7)
    proc.put(7, started=9, net=3)
    sweep.through()
    assert nets(sweep) == [(7, 3)]
    assert sweep.news_of(7, 5, looked) is Missing.GONE
    assert sweep.news_of(7, 9, clock.now) is None


def test_a_change_is_seen_in_time(proc: Proc, make: Callable[[], Sweep], clock: Clock) -> None:
    """A namespace that changes late in life is seen a minute later at the latest."""
    proc.put(7, net=2)
    sweep = make()
    for _ in range(600):
        sweep.through()
        clock.now += 1
    proc.put(7, net=3)
    changed = clock.now
    while nets(sweep) == [(7, 2)]:
        clock.now += 1
        sweep.through()
    assert 2 < clock.now - changed <= RECHECK_SECONDS  # not read in each scan, but in time


def test_a_young_process_is_read_again_soon(
    proc: Proc, make: Callable[[], Sweep], clock: Clock
) -> None:
    """Runtimes unshare just after they fork: the next pass sees it."""
    proc.put(7, net=2)
    sweep = make()
    sweep.through()
    proc.put(7, net=3)
    clock.now += 1
    sweep.through()
    assert nets(sweep) == [(7, 3)]


def test_a_scan_is_bounded(proc: Proc, make: Callable[[], Sweep], clock: Clock) -> None:
    """A sweep stops when its time is over, and goes on where it stopped."""
    for pid in range(1, 101):
        proc.put(pid)
    sweep = make()
    clock.step = 0.001  # each look at the clock takes a millisecond
    sweep.step(1)
    first = len(nets(sweep))
    assert 10 < first < 30  # 20 ms until the first pass is through
    assert not sweep.complete
    while not sweep.complete:
        sweep.step(1)
    assert len(nets(sweep)) == 100
    sweep.close()


def test_odd_files_cost_one_process(proc: Proc, make: Callable[[], Sweep], clock: Clock) -> None:
    """A process whose files are not in their format is left out, and counted."""
    proc.put(1)
    proc.put(7)
    (proc.root / "7/cgroup").write_text("nonsense\n")
    sweep = make()
    sweep.through()
    assert nets(sweep) == [(1, 1)]
    assert sweep.errors == 1


def test_mounts(proc: Proc, make: Callable[[], Sweep], clock: Clock) -> None:
    """Mounts of a mount namespace are told while it lives."""
    proc.put(7)
    (proc.root / "7/mountinfo").write_text("9 2 0:4 net:[55] /run/netns/x rw - nsfs nsfs rw\n")
    sweep = make()
    sweep.through()
    assert [mount.inode for mount in sweep.mounts] == [55]
    proc.remove(7)
    sweep.through()
    assert list(sweep.mounts) == []


@pytest.mark.parametrize(
    ("root", "path", "absolute"),
    [
        ("/a/b", "/", "/a/b"),
        ("/a/b", "/c", "/a/b/c"),
        ("/a/b", "/..", "/a"),
        ("/a/b", "/../c", "/a/c"),
        ("/a/b", "/../../init.scope", "/init.scope"),
        ("/a/b", "/../../..", "/"),
    ],
)
def test_paths_across_cgroup_namespaces(root: str, path: str, absolute: str) -> None:
    """A path relative to the exporter's own cgroup is made absolute."""
    assert normal(root, path) == absolute
