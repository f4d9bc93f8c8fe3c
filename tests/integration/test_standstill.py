"""Files that stand still are not read, and no scan has an old value of one for it."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import pytest

from cgexporter import files, host
from cgexporter.hierarchies import find
from cgexporter.model import Cgroup
from cgexporter.scan import Scanner
from tests.integration.cgroups import Cgroups, give_cpus
from tests.integration.reading import hierarchies
from tests.integration.support import eventually

_SPIN = "while True: pass"
_FORK = """
import os
for _ in range(5):
    try:
        if not os.fork():
            os._exit(0)
        os.wait()
    except BlockingIOError:
        pass
"""
_EAT = "x = bytearray(256 << 20)"


@dataclass(frozen=True, slots=True)
class Seen:
    """What stands still, as far as this host has it."""

    throttled: float | None
    throttled_local: float | None
    refused: int | None
    killed: int | None
    cpus: object

    @classmethod
    def of(cls, cgroup: Cgroup) -> "Seen":
        """Take it from a cgroup."""
        cpu, pids, memory = cgroup.cpu, cgroup.pids, cgroup.memory
        return cls(
            cpu and cpu.throttled_seconds,
            cpu and cpu.throttled_local_seconds,
            pids and pids.events_max,
            memory and memory.events_local_oom_kill,
            cgroup.cpuset,
        )


class Family:
    """A container that has a cgroup below, in each hierarchy, and two scanners.

    Attributes:
        heeding: the scanner that does not read what stands still.
    """

    def __init__(self, cgroups: Cgroups) -> None:
        self._cgroups = cgroups
        self._id = cgroups.new_id()
        self._child = f"{self._id}/below"
        for each in (self._id, self._child):
            cgroups.make(each, {})
            for directory in cgroups.directories(each):
                give_cpus(directory)
        self.heeding, self._plain = (
            Scanner(
                find("/sys/fs/cgroup", "/proc"),
                sections=("cpu", "cpuset", "memory", "pids"),
                rank=self._rank,
                max_open_files=5000,
            )
            for _ in range(2)
        )
        self.heeding.heed_notices()
        self.settle()

    def _rank(self, path: str) -> int | None:
        return 1 if path in ("/", "/docker") or self._id in path else None

    def settle(self) -> None:
        """Scan until all is looked at in each 64th scan only."""
        for _ in range(70):
            self.heeding.scan()

    def run(
        self, program: str, seconds: float = 10, *, first: Callable[[], object] = lambda: None
    ) -> None:
        """Run a Python program below for so long at most.

        To bring it there is to write, so that scans come before it begins, and before `first`.
        """
        waiting = f"import sys; sys.stdin.read()\n{program}"
        command = [sys.executable, "-c", waiting]
        with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
            self._cgroups.move(process.pid, self._child)
            self.settle()
            first()
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                process.kill()

    def write(self, name: str, value: str, *, below: bool = False) -> bool:
        """Write to a file of the container; whether there is one."""
        files = [d / name for d in self._cgroups.directories(self._child if below else self._id)]
        there = [file for file in files if file.exists()]
        for file in there:
            file.write_text(value)
        return bool(there)

    def set_quota(self, microseconds: str, *, below: bool = False) -> None:
        """Let it have so much CPU time in each 100 ms; "" is no quota."""
        self.write("cpu.cfs_quota_us", microseconds or "-1", below=below)
        self.write("cpu.max", microseconds or "max", below=below)

    def look(self) -> tuple[Seen, Seen]:
        """What is below, as both see it now."""
        path = f"/docker/{self._child}"
        return (
            Seen.of(self.heeding.scan().cgroups[path]),
            Seen.of(self._plain.scan().cgroups[path]),
        )

    def close(self) -> None:
        """Let all go."""
        for scanner in (self.heeding, self._plain):
            scanner.close()
        for each in (self._child, self._id):
            eventually(partial(self._is_empty, each), f"the end of all processes in {each}")
            self._cgroups.remove(each)

    def _is_empty(self, each: str) -> bool:
        procs = (directory / "cgroup.procs" for directory in self._cgroups.directories(each))
        return not any(file.read_text() for file in procs)


@pytest.fixture
def family(cgroups: Cgroups) -> Iterator[Family]:
    """A container with a cgroup below, whose scanner has settled."""
    family = Family(cgroups)
    yield family
    family.close()


def test_throttled_by_a_limit_above(family: Family) -> None:
    """A quota that is set above, works, and is taken away, in each scan."""
    family.run(_SPIN, 0.5, first=lambda: family.set_quota("1000"))
    ours, others = family.look()
    assert ours == others
    assert ours.throttled_local is None or ours.throttled_local > 0.1  # since Linux 6.6
    family.run(_SPIN, 0.3)
    family.set_quota("")
    after, others = family.look()
    assert after == others
    assert ours.throttled_local is None or after.throttled_local != ours.throttled_local
    family.run(_SPIN, 0.5, first=lambda: family.set_quota("1000", below=True))
    family.set_quota("", below=True)  # and no scan has seen it
    after, others = family.look()
    assert after == others
    assert after.throttled is not None
    assert after.throttled > 0.1


def test_refused_by_a_limit_above(family: Family) -> None:
    """Forks that are refused for a limit above, which is there between two scans only."""
    family.run(_FORK, first=lambda: family.write("pids.max", "1"))
    family.write("pids.max", "max")
    ours, others = family.look()
    assert ours == others
    assert ours.refused == 5
    assert family.write("pids.max", "1")
    family.run(_FORK)
    ours, others = family.look()
    assert ours == others
    assert ours.refused == 10


def test_killed(family: Family) -> None:
    """Each kill is in the next scan, though nobody tells of it."""
    limit = "memory.limit_in_bytes" if v1_memory() else "memory.max"
    assert family.write(limit, str(32 << 20), below=True)
    for kills in (1, 2, 3):
        family.run(_EAT)
        ours, others = family.look()
        assert ours == others
        assert ours.killed == kills


def test_cpus_to_use(family: Family) -> None:
    """CPUs to use follow what is written, on v2 above: v1 allows none that is used below."""
    before, _ = family.look()
    legacy = any("cpuset" in tree.controllers for tree in hierarchies())
    if not family.write("cpuset.cpus", "0", below=legacy):
        pytest.skip("no cpuset here")
    ours, others = family.look()
    assert ours == others
    assert ours != before


def test_what_stands_still_is_not_held(family: Family) -> None:
    """Without a quota what counts it is not held, and with one above it is."""
    before = family.heeding.descriptors.held
    family.set_quota("1000")
    family.heeding.scan()
    family.settle()
    assert family.heeding.descriptors.held > before
    family.set_quota("")
    family.settle()
    assert family.heeding.descriptors.held == before


def test_what_stands_still_is_not_read(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is written and nobody killed, none of it is opened."""
    opened: list[str] = []
    real: Callable[..., int] = host.os.open

    def opening(path: str, *arguments: int, **more: int) -> int:
        opened.append(path)
        return real(path, *arguments, **more)

    monkeypatch.setattr(files, "next_due", lambda *_: sys.maxsize)
    family.settle()  # each file had its last turn
    monkeypatch.setattr(host.os, "open", opening)
    family.heeding.scan()
    lists = {"cgroup.procs", "cgroup.threads", "tasks"}
    assert {path.rpartition("/")[2] for path in opened if path[0] != "/"} <= lists


def v1_memory() -> bool:
    """Whether memory is a controller of v1 here."""
    return any("memory" in tree.controllers for tree in hierarchies())
