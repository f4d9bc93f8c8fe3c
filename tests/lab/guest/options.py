"""In the guest: start containers with options of Docker, and print what the kernel says of each.

    options.py < WANTED

WANTED is JSON: `options`, a list of words for each container by its name, and `files`, names of
files to read of its cgroups. Printed is JSON too. Beside it lies tests/integration/reading.py.
"""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, "/lab")
import reading  # type: ignore[import-not-found]

# More at once take more memory than the guest has: a shim each.
_AT_ONCE = 20
_CPUS = 2


def _start(name: str, words: list[str]) -> str:
    """Why it was refused; "" where it runs."""
    command = ["docker", "run", "-d", "--name", name, *words, "lab:1", "sleep", "1000000"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stderr.strip() if done.returncode else ""


def _read(identity: str, pid: int, files: list[str]) -> dict[str, object]:
    where: dict[str, Path] = reading.directories(pid)
    found = {}
    for name in files:
        for directory in where.values():
            try:
                found[name] = (directory / name.replace("/PID/", f"/{pid}/")).read_text()
                break
            except FileNotFoundError:
                continue
    kinds = sorted(os.listdir("/proc/1/ns"))
    shared = [k for k in kinds if os.readlink(f"/proc/{pid}/ns/{k}") == _hosts(k)]
    memory = where.get("memory", where.get(""))
    root = Path("/sys/fs/cgroup/memory" if "memory" in where else "/sys/fs/cgroup")
    assert memory is not None
    path = f"/{memory.relative_to(root)}"
    return {"id": identity, "path": path, "files": found, "shared": shared}


def _hosts(kind: str) -> str:
    return os.readlink(f"/proc/1/ns/{kind}")


def _some(options: dict[str, list[str]], files: list[str]) -> dict[str, object]:
    with ThreadPoolExecutor(_CPUS) as pool:
        refused = dict(zip(options, pool.map(_start, options, options.values()), strict=True))
    running = [name for name, why in refused.items() if not why]
    said = subprocess.run(
        ["docker", "inspect", "-f", "{{.Id}} {{.State.Pid}}", *running],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    found: dict[str, object] = {name: {"refused": why} for name, why in refused.items() if why}
    for name, identity, pid in zip(running, said[::2], said[1::2], strict=True):
        found[name] = _read(identity, int(pid), files)
    subprocess.run(["docker", "rm", "-f", *options], stdout=subprocess.DEVNULL, check=True)
    return found


def main() -> None:
    """Do it, some at a time."""
    wanted = json.load(sys.stdin)
    names = list(wanted["options"])
    found: dict[str, object] = {}
    for begin in range(0, len(names), _AT_ONCE):
        some = {name: wanted["options"][name] for name in names[begin : begin + _AT_ONCE]}
        found |= _some(some, wanted["files"])
    json.dump(found, sys.stdout)


main()
