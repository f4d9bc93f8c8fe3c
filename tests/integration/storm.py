"""A storm of short processes in a PID namespace of its own, watched by a sweep.

Run as PID 1 of that namespace, with /proc mounted anew: prints one JSON document. Two kinds of
processes do nothing but fork: each kind lives in a network and a UTS namespace of its own, so a
process that seems to be in one of either kind was made of two. Others unshare, setns and exec.
"""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from cgexporter.correlate.processes import KINDS
from cgexporter.correlate.sweep import Sweep
from cgexporter.hierarchies import find

_NET, _UTS = KINDS.index("net"), KINDS.index("uts")
_FORKS = "i=0; while [ $i -lt {count} ]; do (:); i=$((i+1)); done"
_CHURN = "while :; do unshare --uts true; nsenter --net=/proc/1/ns/net true; done"


def _shell(script: str, *unshare: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(["unshare", *unshare, "busybox", "sh", "-c", script])


def _use_few_pids() -> str:
    """Make PIDs come round soon, here alone: since Linux 6.14 each PID namespace has its own."""
    limit = Path("/proc/sys/kernel/pid_max")
    with contextlib.suppress(OSError):
        limit.write_text("400")
    return limit.read_text().strip()


def _changes_are_seen(sweep: Sweep) -> float:
    """How long a sweep takes to see what a process of some age does; its age, at most."""
    sleeper = subprocess.Popen(
        ["busybox", "sh", "-c", "sleep 1; exec unshare --net busybox sleep 600"]
    )
    try:
        sweep.through()
        before = os.readlink(f"/proc/{sleeper.pid}/ns/net")
        born = time.monotonic()
        while os.readlink(f"/proc/{sleeper.pid}/ns/net") == before:
            sweep.through()
            time.sleep(0.05)
        changed = time.monotonic()
        inode = int(os.readlink(f"/proc/{sleeper.pid}/ns/net")[5:-1])
        while True:
            sweep.through()
            seen = {one.pid: one for one in sweep.processes}[sleeper.pid]
            if seen.group.links.inodes[_NET] == inode:
                return (time.monotonic() - changed) / (changed - born)
            time.sleep(0.02)
    finally:
        sleeper.kill()
        sleeper.wait()


def main(forks: int) -> None:
    """Make the storm, watch it, and say what was seen."""
    pid_max = _use_few_pids()
    sweep = Sweep(find("/sys/fs/cgroup", "/proc"), 0.0005)
    late = _changes_are_seen(sweep)
    script = _FORKS.format(count=forks // 4)
    kinds = [_shell(script, "--net", "--uts") for _ in range(4)]
    churn = [_shell(_CHURN, "--uts") for _ in range(2)]
    pairs: Counter[tuple[int | None, int | None]] = Counter()
    met: set[tuple[int, int]] = set()
    passes = 0
    while any(process.poll() is None for process in kinds):
        sweep.step(0)
        passes += 1
        for one in sweep.processes:
            if (one.pid, one.started) not in met:
                met.add((one.pid, one.started))
            pairs[one.group.links.inodes[_NET], one.group.links.inodes[_UTS]] += 1
    for process in churn:
        process.kill()
        process.wait()
    time.sleep(0.5)
    for _ in range(2):  # the rest of the pass, and a whole one
        sweep.through()
    left = sorted(one.pid for one in sweep.processes)
    living = sorted(int(name) for name in os.listdir("/proc") if name.isdecimal())
    json.dump(
        {
            "pid_max": pid_max,
            "late": late,
            "steps": passes,
            "met": len(met),
            "reused": len(met) - len({pid for pid, _ in met}),
            "pairs": [[*pair, count] for pair, count in pairs.items()],
            "own": [
                int(os.readlink(f"/proc/self/ns/{kind}").partition("[")[2][:-1])
                for kind in ("net", "uts")
            ],
            "errors": sweep.errors,
            "forgot": left == living,
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main(int(sys.argv[1]))
