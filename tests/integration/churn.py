"""Containers that come and go at full speed, made by a process of its own."""

import multiprocessing
import random
import subprocess
import time
from multiprocessing.connection import Connection
from typing import NamedTuple

from tests.integration.cgroups import Cgroups
from tests.integration.support import PATIENCE_SECONDS

_FORK = multiprocessing.get_context("fork")
_MOST_LIVING = 16
_PROCESS_EACH = 4  # one container in four has a process
_REUSE = 0.25  # of the containers get the ID of one that was removed


class Life(NamedTuple):
    """One container from mkdir to rmdir, by `time.monotonic` of this machine.

    Attributes:
        id: 64 hex digits. A later container may get the same.
        serial: never given twice; its limits tell it.
        making: before its first cgroup was made.
        made: all its cgroups are there and have their limits.
        removing: before the first of them was removed.
        removed: all are gone.
    """

    id: str
    serial: int
    making: float
    made: float
    removing: float
    removed: float


# What a cgroup has until its limits are written.
UNMARKED = {"pids_max": float("inf"), "memory_max_bytes": float("inf"), "cpu_shares": 1024.0}


def marks(serial: int) -> dict[str, float]:
    """The limits of a container, by metric: no two containers have one in common."""
    return {
        "pids_max": 10_000 + serial,
        "memory_max_bytes": (1 << 30) + (serial << 16),
        "cpu_shares": 2_000 + serial,
    }


def _limits(serial: int) -> dict[str, str]:
    """The same, by file of v1 or v2."""
    wanted = {name: str(int(value)) for name, value in marks(serial).items()}
    return {
        "pids.max": wanted["pids_max"],
        "memory.limit_in_bytes": wanted["memory_max_bytes"],
        "memory.max": wanted["memory_max_bytes"],
        "cpu.shares": wanted["cpu_shares"],
    }


class Churn:
    """Makes and removes containers until it is told to stop.

    Args:
        cgroups: of which the process takes a copy.
    """

    def __init__(self, cgroups: Cgroups) -> None:
        self._ours, self._theirs = _FORK.Pipe()
        self._process = _FORK.Process(target=_work, args=(cgroups, self._theirs))

    def start(self) -> None:
        """Begin."""
        self._process.start()
        self._theirs.close()  # so that there is an end of file when it dies

    def stop(self) -> list[Life]:
        """End; all that was made is removed. Gives every life there was."""
        self._ours.send("stop")
        assert self._ours.poll(PATIENCE_SECONDS), "the process that makes cgroups hangs"
        lives: list[Life] = self._ours.recv()
        self._process.join(PATIENCE_SECONDS)
        assert self._process.exitcode == 0
        return lives

    def kill(self) -> None:
        """End it in any case."""
        if self._process.is_alive():
            self._ours.close()  # it ends its processes before itself
            self._process.join(PATIENCE_SECONDS)


def _work(cgroups: Cgroups, told: Connection) -> None:
    worker = _Worker(cgroups)
    try:
        while not told.poll():
            worker.step()
    finally:
        worker.close()
    told.send(worker.lives)


class _Living(NamedTuple):
    id: str
    serial: int
    making: float
    made: float
    process: subprocess.Popen[bytes] | None


class _Worker:
    """The process that does it."""

    def __init__(self, cgroups: Cgroups) -> None:
        self.lives: list[Life] = []
        self._cgroups = cgroups
        self._living: list[_Living] = []
        self._serial = 0
        self._random = random.Random(0)

    def step(self) -> None:
        """Make one or remove one."""
        if len(self._living) <= self._random.randrange(_MOST_LIVING):
            self._living.append(self._make())
        else:
            self.lives.append(self._end(self._random.randrange(len(self._living))))

    def close(self) -> None:
        """Remove what lives."""
        while self._living:
            self.lives.append(self._end(0))

    def _id(self) -> str:
        if self.lives and self._random.random() < _REUSE:
            old = self._random.choice(self.lives[-100:]).id
            if all(old != living.id for living in self._living):
                return old
        return self._cgroups.new_id()

    def _make(self) -> _Living:
        self._serial += 1
        name, making, process = self._id(), time.monotonic(), None
        if self._serial % _PROCESS_EACH == 0:
            process = subprocess.Popen(["sleep", "3600"], stdin=subprocess.DEVNULL)
        self._cgroups.make(name, _limits(self._serial), process.pid if process else None)
        return _Living(name, self._serial, making, time.monotonic(), process)

    def _end(self, index: int) -> Life:
        living = self._living.pop(index)
        removing = time.monotonic()
        if living.process is not None:
            living.process.kill()
            living.process.wait()
        self._cgroups.remove(living.id)
        return Life(*living[:4], removing, time.monotonic())
