"""Processes that come, go and change while they are read are never taken for one another."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.support import need_root, program

_FORKS = 100_000


@pytest.mark.timeout(600)
def test_a_storm_of_processes(repository: Path) -> None:
    """100,000 quick PIDs, reused all the while: no process is made of two, none is kept."""
    need_root()
    program("busybox", "busybox-static")
    done = subprocess.run(
        [
            program("unshare", "util-linux"),
            *("--pid", "--fork", "--kill-child", "--mount-proc"),
            *(sys.executable, "-m", "tests.integration.storm", str(_FORKS)),
        ],
        check=False,
        cwd=repository,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(repository)},
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["errors"] == 0
    assert seen["forgot"] is True
    assert seen["met"] > 100
    if int(seen["pid_max"]) < _FORKS:
        assert seen["reused"] > 10
    # Each network namespace but the storm's own goes with one UTS namespace.
    partners: dict[int, set[int]] = {}
    for net, uts, _ in seen["pairs"]:
        # One that exits while it is read has no namespaces behind some point.
        if None not in (net, uts) and net != seen["own"][0]:
            partners.setdefault(net, set()).add(uts)
    assert len(partners) >= 4
    assert all(len(those) == 1 for those in partners.values()), partners
    # What a process does at an age is seen before it is twice as old (and a minute later).
    assert seen["late"] < 1.5
