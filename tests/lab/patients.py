"""Containers that are sick each in a way of its own, and one that is not, on a host with cgroup v2.

All are started before the state is saved, and frozen there: what takes a guest minutes is done
once, and a test lets those run that it is about.
"""

import inspect
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tests.integration.engines import Engine
from tests.lab import engine
from tests.lab.machine import Guest
from tests.lab.pods import EATS, MIB
from tests.tools import sick

HEALTHY = sick.healthy(20)
# Docker's options and the script of each, by name, of those that run at the same time.
WARDS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "each by itself": {
        "throttled": ("--cpus 0.05", sick.BUSY),
        "bursts": ("", sick.bursts(600, 4)),
        "full": ("--memory 32m --memory-swap 32m --shm-size 64m", sick.filled(30)),
        "killed": (
            "--memory 16m --memory-swap 16m",
            EATS.replace("sleep 10", "sleep 1"),
        ),
        "forks": ("--pids-limit 12", sick.FORKS),
        "shares": ("--network host --pid host --ipc host --uts host", HEALTHY),
        "swaps": (
            "--memory 32m --memory-swap 160m --shm-size 96m",
            sick.filled(64, sick.reads("/dev/shm/full", "1M")),
        ),
        "high": (
            "--memory 128m --memory-swap 128m --shm-size 96m",
            sick.filled(24, sick.writes("/dev/shm/more", "64k", 32)),
        ),
        "healthy": ("--cpus 1 --memory 64m --pids-limit 50", HEALTHY),
    },
    "starved": {
        "poor": ("--cpu-shares 2", sick.BUSY),
        "hog": ("--cpu-shares 8192", sick.loops(4)),
    },
    "disks": {
        "reads": (
            "--memory 24m --memory-swap 24m -v /data:/data",
            sick.reads("/data/big", "1M"),
        ),
        "slow": (
            "-v /data:/data --device-write-bps /dev/vdb:1mb",
            sick.writes("/data/slow", "256k", 8, "oflag=direct"),
        ),
    },
    "neighbours": {
        "waits": ("-v /data:/data", sick.reads("/data/small", "4k", "iflag=direct")),
        "moves": ("-v /data:/data", sick.writes("/data/large", "1M", 16, "oflag=direct")),
    },
}
# The swap is on the other disk than /data, so that one may be slow without the other.
_FILES = """
set -e
dd if=/dev/zero of=/swap bs=1M count=192
chmod 600 /swap
mkswap /swap
swapon /swap
dd if=/dev/urandom of=/data/big bs=1M count=64 oflag=direct
dd if=/dev/urandom of=/data/small bs=1M count=4 oflag=direct
"""


def start_one(client: Engine, name: str, options: str, script: str) -> str:
    """Start a container; the path of its cgroup."""
    network = [] if "--network" in options else ["--network", "none"]
    words = ["--name", name, *engine.CHEAP, *network, *options.split()]
    identity = client.call("run", "-d", *words, "lab:1", "sh", "-c", script)
    return _path(identity)


def _path(identity: str) -> str:
    return f"/system.slice/docker-{identity}.scope"


def start(guest: Guest) -> None:
    """Start all patients, each frozen when it is as sick as it shall be."""
    guest.run(f"( {_FILES} ) >/dev/null 2>&1")
    with engine.docker(guest) as client:
        for ward in WARDS.values():
            started = {name: start_one(client, name, *what) for name, what in ward.items()}
            if "bursts" in started:
                # Now: with so little CPU even the start of its processes would take long.
                client.call("update", "--cpus", "0.05", "bursts")
                guest.run(f"echo 16M >/sys/fs/cgroup{started['high']}/memory.high")
                _wait_for_swap(guest, started["swaps"], 24 * MIB)
            freeze(guest, started.values(), wanted=True)


def made_of() -> Sequence[str | Path]:
    """What the state depends on."""
    return Path(__file__), Path(inspect.getfile(engine)), json.dumps(WARDS)


def paths(guest: Guest, ward: str) -> dict[str, str]:
    """The paths of the cgroups of a ward's patients, by name."""
    names = list(WARDS[ward])
    said = guest.run(f"docker inspect -f '{{{{.Id}}}}' {' '.join(names)}").split()
    return {name: _path(identity) for name, identity in zip(names, said, strict=True)}


def freeze(guest: Guest, cgroups: Iterable[str], *, wanted: bool) -> None:
    """Let containers stand still, or go on."""
    each = f"echo {wanted:d} >/sys/fs/cgroup$c/cgroup.freeze"
    guest.run(f"for c in {' '.join(cgroups)}; do {each}; done")


def _wait_for_swap(guest: Guest, path: str, size: int) -> None:
    """Wait until so many bytes of a container are on disk."""
    guest.run(
        f"cd /sys/fs/cgroup{path}; for _ in $(seq 120); do "
        f"[ $(cat memory.swap.current) -gt {size} ] && exit; sleep 0.5; "
        "done; grep . memory.*; exit 1"
    )
