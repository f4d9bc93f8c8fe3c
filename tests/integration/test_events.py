"""What happens between two scrapes is counted: real containers that are killed and removed."""

import contextlib
import json
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.processes import Server
from tests.integration.reading import hierarchies
from tests.integration.runc import Runc
from tests.integration.support import eventually, program

# A clock of 15 s between scrapes, shortened: several containers live and die in each.
INTERVAL_SECONDS = 1.5
KILLS = 100
LIMIT_BYTES = 16 << 20

Serve = Callable[..., Server]


class Victims:
    """Containers of one parent cgroup that want more memory than they may have."""

    def __init__(self, runc: Runc, directory: Path, parent: str) -> None:
        self.parent = parent
        self._runc = runc
        self._bundle = directory / "bundle"
        programs = self._bundle / "rootfs/bin"
        programs.mkdir(parents=True)
        shutil.copy(program("busybox", "busybox-static"), programs / "busybox")
        assert runc.call("spec", "--bundle", str(self._bundle))
        self._spec = json.loads((self._bundle / "config.json").read_text())
        self._count = 0

    def run(self, script: str, *, resources: dict[str, object]) -> None:
        """Run one to its end, and remove it; runc does both."""
        name = f"{self._runc.unique}-victim-{self._count}"
        self._count += 1
        self._spec["process"] |= {"terminal": False, "args": ["/bin/busybox", "sh", "-c", script]}
        self._spec["linux"]["resources"] = resources
        self._spec["linux"]["cgroupsPath"] = f"{self.parent}/{name}"
        (self._bundle / "config.json").write_text(json.dumps(self._spec))
        self._runc.call("run", "--bundle", str(self._bundle), name)

    def kill_one(self) -> None:
        """Have the OOM killer kill one."""
        memory = {"limit": LIMIT_BYTES, "swap": LIMIT_BYTES}
        self.run("exec /bin/busybox tail /dev/zero", resources={"memory": memory})


def value(server: Server, family: str, cgroup: str) -> float | None:
    """A sample of a cgroup; None where there is none."""
    page = server.get("/metrics").text
    found = re.search(rf'^{family}{{cgroup="{re.escape(cgroup)}"}} (\S+)$', page, re.MULTILINE)
    return None if found is None else float(found[1])


@pytest.fixture
def victims(runc: Runc, tmp_path: Path) -> Iterator[Victims]:
    """Victims in a cgroup that stays when they are gone."""
    victims = Victims(runc, tmp_path, f"/{runc.unique}-{secrets.token_hex(2)}")
    victims.run("exit 0", resources={})  # runc makes the cgroups around it
    yield victims
    for tree in hierarchies():
        with contextlib.suppress(FileNotFoundError):
            Path(f"{tree.mount_point}{victims.parent}").rmdir()


def test_each_oom_kill_is_counted(serve: Serve, victims: Victims) -> None:
    """100 of 100 containers that are killed and removed between two scrapes are counted.

    They are told of by the cgroup around them, and so is the time of the last kill.
    """
    server = serve()
    kills = "cgexporter_slice_oom_kills_total"
    assert eventually(lambda: value(server, kills, victims.parent) == 0.0, "the cgroup around")
    began = time.time()
    scraped = time.monotonic()
    seen = [0.0]
    for _ in range(KILLS):
        victims.kill_one()
        if time.monotonic() - scraped > INTERVAL_SECONDS:
            scraped = time.monotonic()
            seen.append(value(server, kills, victims.parent) or 0.0)
    # On v1 a kill that its cgroup did not live to tell is known half a second later.
    eventually(lambda: value(server, kills, victims.parent) == KILLS, f"{KILLS} kills")
    ended = time.time()
    assert seen == sorted(seen)
    last = value(server, "cgexporter_slice_last_oom_kill_timestamp_seconds", victims.parent)
    assert last is not None
    assert began < last <= ended
    # Nothing but the parent is left of them.
    assert victims.parent + "/" not in server.get("/metrics").text


def test_each_refused_fork_is_counted(serve: Serve, victims: Victims) -> None:
    """A container that hits its limit of tasks and is gone before the next scrape is counted."""
    server = serve()
    hits = "cgexporter_slice_pids_limit_hits_total"
    assert eventually(lambda: value(server, hits, victims.parent) == 0.0, "the cgroup around")
    # A shell whose fork fails ends at once.
    forks = "for i in $(/bin/busybox seq 40); do /bin/busybox sleep 0.2 & done"
    script = f"({forks}); exec /bin/busybox sleep 0.2"
    for _ in range(10):
        victims.run(script, resources={"pids": {"limit": 20}})
    assert (value(server, hits, victims.parent) or 0) >= 10
