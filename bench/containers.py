"""Real cgroups that look like Docker's, idle or a little busy, for as long as a `with` block."""

import contextlib
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


@contextlib.contextmanager
def containers(count: int, *, busy: bool = False) -> Iterator[list[str]]:
    """Make cgroups ``/docker/<64 hex digits>`` in every hierarchy.

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
                parent.mkdir()
                made.append(str(parent))
            _enable_controllers(tree, parent)
            for name in ("cpuset.cpus", "cpuset.mems"):  # v1: empty until copied from above
                if (parent / name).exists() and not (parent / name).read_text().strip():
                    (parent / name).write_text(Path(tree, name).read_text())
            for path in paths:
                os.mkdir(tree + path)
                made.append(tree + path)
                for name in ("cpuset.cpus", "cpuset.mems"):
                    if os.path.exists(f"{tree}{path}/{name}"):
                        Path(f"{tree}{path}/{name}").write_text((parent / name).read_text())
        if busy:
            process = _start(paths)
        yield paths
    finally:
        if process is not None:
            process.kill()
            process.wait()
            _wait_until_empty(made)
        for directory in reversed(made):
            os.rmdir(directory)


def _start(paths: list[str]) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [compiled("busy")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
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
