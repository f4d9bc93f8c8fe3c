"""Which processes are whose, as they come and go."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration import seen
from tests.integration.cgroups import Cgroups
from tests.integration.processes import Server, output
from tests.integration.runc import Runc
from tests.integration.support import eventually, missing

# A scanner may remember for that many scans what it knows of a process.
SCANS = 40
# So often a race between a look and processes that end is tried.
LOOKS = 20


@pytest.fixture
def sleepers() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that tests start; all are ended before cgroups are removed."""
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        process.kill()
        process.wait()


def _sleep(sleepers: list[subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(["sleep", "3600"], stdin=subprocess.DEVNULL)
    sleepers.append(process)
    return process


def _published(server: Server, run: str) -> list[str]:
    lines = server.get("/metrics").text
    infos = re.compile(rf'^cgexporter_container_info{{.*\bid="({run}\w+)"', re.MULTILINE)
    return sorted(infos.findall(lines))


def test_process_that_moves(
    cgroups: Cgroups, sleepers: list[subprocess.Popen[bytes]], server: Server
) -> None:
    """A process that leaves one container for another hides neither."""
    first, second = cgroups.new_id(), cgroups.new_id()
    process = _sleep(sleepers)
    cgroups.make(first, {}, process.pid)
    for _ in range(5):
        assert _published(server, cgroups.run) == [first[:12]]
    cgroups.make(second, {}, process.pid)
    both = [first[:12], second[:12]]
    assert [_published(server, cgroups.run) for _ in range(SCANS)] == [both] * SCANS


def _set_next_pid(pid: int) -> None:
    """Let the kernel give this PID next, or the first free one above."""
    file = Path("/proc/sys/kernel/ns_last_pid")
    if not file.exists():
        missing(f"{file} (CONFIG_CHECKPOINT_RESTORE)")
    file.write_text(str(pid - 1))


def test_pid_that_is_given_again(
    cgroups: Cgroups, sleepers: list[subprocess.Popen[bytes]], server: Server
) -> None:
    """A container whose process got the PID of another's, which ended, is shown with it."""
    first, second = cgroups.new_id(), cgroups.new_id()
    ended, stays = _sleep(sleepers), _sleep(sleepers)
    cgroups.make(first, {}, ended.pid)
    cgroups.move(stays.pid, first)
    for _ in range(5):
        assert _published(server, cgroups.run) == [first[:12]]
    ended.kill()
    ended.wait()

    def again() -> subprocess.Popen[bytes] | None:
        _set_next_pid(ended.pid)
        process = _sleep(sleepers)
        return process if process.pid == ended.pid else None

    cgroups.make(second, {}, eventually(again, f"PID {ended.pid} to be given again").pid)
    both = [first[:12], second[:12]]
    assert [_published(server, cgroups.run) for _ in range(SCANS)] == [both] * SCANS


def test_children_with_lower_pids(runc: Runc) -> None:
    """A container is one, and known by its init, also when its children have lower PIDs.

    v1 lists a cgroup's processes by PID, and PIDs begin again at 300.
    """
    _set_next_pid(20_000)
    container = runc.run("forks", "while :; do sleep 0.001; done", resources={})
    for _ in range(LOOKS):
        _set_next_pid(2_000)
        parsed = seen.document(output("--once", "--format", "json"))
        mine = [c for c in parsed["containers"] if container.name in str(c["cgroup"])]
        assert [(c["id"], c["pid"]) for c in mine] == [(container.name, container.pid)]
