"""In the guest: print what the kernel says of containers.

    options.py < WANTED

WANTED is JSON: `containers`, a PID of each by its name, and `files`, names of files to read of
their cgroups. Printed is JSON too. Beside it lies tests/integration/reading.py.
"""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, "/lab")
import reading  # type: ignore[import-not-found]


def _namespaces(pid: int) -> dict[str, str]:
    kinds = sorted(os.listdir("/proc/1/ns"))
    return {kind: os.readlink(f"/proc/{pid}/ns/{kind}") for kind in kinds}


def _read(pid: int, files: Sequence[str]) -> dict[str, object]:
    where: dict[str, Path] = reading.directories(pid)
    found = {}
    for name in files:
        for directory in where.values():
            try:
                found[name] = (directory / name.replace("/PID/", f"/{pid}/")).read_text()
                break
            except FileNotFoundError:
                continue
    hosts = _namespaces(1)
    shared = [kind for kind, inode in _namespaces(pid).items() if inode == hosts[kind]]
    memory = where.get("memory", where.get(""))
    root = Path("/sys/fs/cgroup/memory" if "memory" in where else "/sys/fs/cgroup")
    assert memory is not None
    return {"path": f"/{memory.relative_to(root)}", "files": found, "shared": shared}


def main() -> None:
    """Read them all."""
    wanted = json.load(sys.stdin)
    found = {name: _read(pid, wanted["files"]) for name, pid in wanted["containers"].items()}
    json.dump(found, sys.stdout)


main()
