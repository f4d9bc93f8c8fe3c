"""Containers' cgroups made by hand: ``/docker/<64 hex>`` in every hierarchy of this host."""

import contextlib
import errno
import secrets
import time
from collections.abc import Mapping
from pathlib import Path

from tests.integration.reading import Tree, hierarchies
from tests.integration.support import PATIENCE_SECONDS


class Cgroups:
    """Makes and removes them.

    Attributes:
        run: what all IDs begin with that this one gives: 6 hex digits.
    """

    def __init__(self) -> None:
        self.run = secrets.token_hex(3)
        self._trees = hierarchies()
        self._new_parents: list[Path] = []
        self._count = 0
        for tree in self._trees:
            parent = tree.mount_point / "docker"
            with contextlib.suppress(FileExistsError):
                parent.mkdir()
                self._new_parents.append(parent)
            _delegate(tree, parent)

    def new_id(self) -> str:
        """An ID that nobody had: 64 hex digits, whose first 12 are unique too."""
        self._count += 1
        return f"{self.run}{self._count:06x}{secrets.token_hex(26)}"

    def directories(self, container_id: str) -> list[Path]:
        """Where a container is, in each hierarchy."""
        return [tree.mount_point / "docker" / container_id for tree in self._trees]

    def make(self, container_id: str, limits: Mapping[str, str], pid: int | None = None) -> None:
        """Make a container; of its limits by file each hierarchy takes those it knows."""
        for directory in self.directories(container_id):
            directory.mkdir()
            for file, limit in limits.items():
                if (directory / file).exists():
                    (directory / file).write_text(limit)
        if pid is not None:
            self.move(pid, container_id)

    def move(self, pid: int, container_id: str) -> None:
        """Bring a process into a container."""
        for directory in self.directories(container_id):
            give_cpus(directory)
            (directory / "cgroup.procs").write_text(str(pid))

    def remove(self, container_id: str) -> None:
        """Remove a container whose processes have ended."""
        for directory in self.directories(container_id):
            remove_empty(directory)

    def close(self) -> None:
        """Remove all that is left."""
        for tree in self._trees:
            for left in (tree.mount_point / "docker").glob(f"{self.run}*"):
                remove_empty(left)
        for parent in self._new_parents:
            with contextlib.suppress(OSError):  # in use by others
                parent.rmdir()


def _delegate(tree: Tree, parent: Path) -> None:
    """Let the children of a new cgroup have controllers, CPUs and memory nodes."""
    if tree.unified:
        for above in (tree.mount_point, parent):
            for controller in ("memory", "pids"):
                with contextlib.suppress(OSError):  # a v1 hierarchy has it
                    (above / "cgroup.subtree_control").write_text(f"+{controller}")
    give_cpus(parent)


def give_cpus(directory: Path) -> None:
    """On v1 a cgroup has no CPUs and no memory nodes, and takes no process, until it gets some."""
    if (directory / "cpuset.effective_cpus").exists():
        for file in ("cpuset.cpus", "cpuset.mems"):
            if not (directory / file).read_text().strip():
                (directory / file).write_text((directory.parent / file).read_text())


def remove_empty(directory: Path) -> None:
    """Remove a cgroup, once its last process is gone."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            directory.rmdir()
        except FileNotFoundError:
            return
        except OSError as exc:
            # A process that was just killed is still on its way out.
            if exc.errno != errno.EBUSY or time.monotonic() > deadline:
                raise
        else:
            return
