"""Real cgroups that look like Docker's, idle or a little busy, for as long as a `with` block."""

import contextlib
import functools
import hashlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from cgexporter.hierarchies import find

BENCH = Path(__file__).resolve().parent
PARENT = "/docker"


def compiled(name: str) -> Path:
    """Compile one of the C programs beside this file; returns the program."""
    program = Path(tempfile.gettempdir()) / f"cgexporter-bench-{os.getuid()}-{name}"
    source = BENCH / f"{name}.c"
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        subprocess.run(["cc", "-O2", "-o", program, source], check=True)
    return program


@functools.cache
def trees() -> list[str]:
    """Where this host's hierarchies are mounted."""
    return [tree.mount_point for tree in find("/sys/fs/cgroup", "/proc").all]


def _enable_controllers(tree: str, parent: Path) -> None:
    """On v2, hand every controller down to the children of `parent`."""
    offered = Path(tree, "cgroup.controllers")
    if offered.exists():
        words = " ".join(f"+{name}" for name in offered.read_text().split())
        for place in (Path(tree), parent):
            (place / "cgroup.subtree_control").write_text(words)


def make(tree: str, path: str) -> None:
    """Make one cgroup in one hierarchy, such that processes may join it."""
    directory = Path(tree + path)
    directory.mkdir()
    for name in ("cpuset.cpus", "cpuset.mems"):  # v1: nothing may run there while empty
        file = directory / name
        if file.exists() and not file.read_text().strip():
            above = directory.parent / name
            if above.exists() and above.read_text().strip():
                file.write_text(above.read_text())


@contextlib.contextmanager
def containers(count: int, *, busy: bool = False, crowd: int = 0) -> Iterator[list[str]]:
    """Make cgroups ``/docker/<64 hex digits>`` in every hierarchy.

    Args:
        count: how many.
        busy: a process in each does a little.
        crowd: so many processes in each wait, in namespaces of their own.

    Yields:
        Their paths.
    """
    names = [hashlib.sha256(str(n).encode()).hexdigest() for n in range(count)]
    paths = [f"{PARENT}/{name}" for name in names]
    made: list[str] = []
    process = None
    try:
        for tree in trees():
            parent = Path(tree + PARENT)
            if not parent.exists():
                make(tree, PARENT)
                made.append(str(parent))
            _enable_controllers(tree, parent)
            for path in paths:
                make(tree, path)
                made.append(tree + path)
        if busy:
            process = _start(paths, "busy")
        elif crowd:
            process = _start(paths, "crowd", str(crowd))
        yield paths
    finally:
        if process is not None:
            process.kill()
            process.wait()
            _wait_until_empty(made)
        for directory in reversed(made):
            os.rmdir(directory)


def _start(paths: list[str], name: str, *arguments: str) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [compiled(name), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    for path in paths:
        process.stdin.write(" ".join(f"{tree}{path}/cgroup.procs" for tree in trees()) + "\n")
    process.stdin.close()
    assert process.stdout.readline() == "ready\n"
    return process


def _wait_until_empty(directories: list[str]) -> None:
    for directory in directories:
        while Path(directory, "cgroup.procs").read_text():
            os.sched_yield()
