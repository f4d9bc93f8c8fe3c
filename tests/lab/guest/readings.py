"""In the guest: read the kernel's files of containers, or let their counters stand still.

    readings.py read|freeze|thaw PID…

`read` prints JSON: all numbers by PID. Beside it lies tests/integration/reading.py, which has no
line of cgexporter.
"""

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, "/lab")
import reading  # type: ignore[import-not-found]

_directories = reading.directories


def _of_the_whole(pid: int) -> dict[str, Path]:
    """Crun puts the processes into a cgroup of their own below the container's."""
    where: dict[str, Path] = _directories(pid)
    return {c: path.parent if path.name == "container" else path for c, path in where.items()}


reading.directories = _of_the_whole


def freeze(pid: int, wanted: bool) -> None:
    """Stop or resume all tasks of a container, and wait for it."""
    where = reading.directories(pid)
    legacy = where.get("freezer")
    if legacy is not None:
        file, said = legacy / "freezer.state", ("THAWED", "FROZEN")[wanted]
        state, shown = file, said
    else:
        file, said = where[""] / "cgroup.freeze", str(int(wanted))
        state, shown = where[""] / "cgroup.events", f"frozen {said}"
    file.write_text(said)
    deadline = time.monotonic() + 30
    while shown not in state.read_text():
        if time.monotonic() > deadline:
            raise TimeoutError(f"PID {pid}: {state} is not {shown}")
        time.sleep(0.05)


def main() -> None:
    """Do what is asked."""
    action, *words = sys.argv[1:]
    pids = [int(word) for word in words]
    if action == "read":
        numbers = {str(pid): reading.numbers(pid) for pid in pids}
        json.dump(numbers, sys.stdout)
    else:
        for pid in pids:
            freeze(pid, action == "freeze")


main()
