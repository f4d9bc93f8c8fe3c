"""Containers and services that the real tools start, and the limits that they were asked for."""

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.lab.machine import HIERARCHIES, Guest
from tests.lab.pods import BUSY, EATS, MIB, SLEEP

MB = 1_000_000
# Of the disk that /data is on.
DEVICE = "vdb"
_DISK = (
    "while :; do dd if=/dev/zero of=/data/$HOSTNAME bs=64k count=16 oflag=direct; "
    "dd if=/data/$HOSTNAME of=/dev/null bs=64k iflag=direct; sleep 1; done 2>/dev/null"
)
_SERVE = "echo served >/tmp/index.html; exec httpd -f -p 8080 -h /tmp"
_AS_LAB = (
    "cd /home/lab && runuser -u lab -- env HOME=/home/lab XDG_RUNTIME_DIR=/run/user/1000 "
    "DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/1000/bus "
)
# How each runtime's client is called, and how it tells name, ID and PID of containers, all of them
# at once: each start of a client takes seconds in a guest. ctr tells all that there are.
_INSPECT = " inspect -f '{{.Name}} {{.Id}} {{.State.Pid}}' "
_CLIENTS = {
    "docker": ("docker", f"docker{_INSPECT}"),
    "podman": ("podman", f"podman{_INSPECT}"),
    "rootless": (f"{_AS_LAB}podman", f"{_AS_LAB}podman{_INSPECT}"),
    "containerd": ("ctr", "ctr tasks ls | awk 'NR > 1 { print $1, $1, $2 }' # "),
}
_UNIFIED = frozenset({"v2"})
# What clients say of all that runs stays true in a saved state, and each start of a client takes
# seconds in a guest: it is asked once, and kept there.
_STARTED, POD, WEB_ADDRESS = "/lab/started", "/lab/pod.json", "/lab/web-address"
_SEEN = (
    f"podman pod inspect labpod >{POD}",
    f"docker inspect -f '{{{{.NetworkSettings.IPAddress}}}}' d-web >{WEB_ADDRESS}",
    f"for _ in 1 2 3 4 5; do curl -sS -m 20 http://$(cat {WEB_ADDRESS}):8080/; done",
)


@dataclass(frozen=True, slots=True)
class Workload:
    """One container.

    Attributes:
        limits: by metric without prefix and level; what is not asked for is no limit.
        options: of the client's `run`.
        on: hierarchies on which it can be started.
    """

    name: str
    client: str
    options: str = ""
    command: str = SLEEP
    limits: Mapping[str, float] = field(default_factory=dict)
    on: frozenset[str] = frozenset(HIERARCHIES)

    @property
    def runtime(self) -> str:
        """As the exporter names it."""
        return "podman" if self.client == "rootless" else self.client

    def start(self) -> str:
        """The command line that starts it."""
        client, _ = _CLIENTS[self.client]
        command = f"sh -c {shlex.quote(self.command)}"
        if self.client == "containerd":
            return f"ctr run -d {self.options} docker.io/library/lab:1 {self.name} {command}"
        return f"{client} run -d --name {self.name} {self.options} lab:1 {command}"


def _disk_limits(read: float, write: float, writes: float = math.inf) -> dict[str, float]:
    return {
        f"io_limit_read_bytes_per_second{{{DEVICE}}}": read,
        f"io_limit_write_bytes_per_second{{{DEVICE}}}": write,
        f"io_limit_writes_per_second{{{DEVICE}}}": writes,
    }


WORKLOADS = (
    Workload(
        "d-cpu",
        "docker",
        "--cpus 0.1 --cpu-shares 512 --memory 64m --memory-reservation 32m --pids-limit 50",
        BUSY,
        {"cpu_limit_cores": 0.1, "memory_max_bytes": 64 * MIB, "pids_max": 50},
    ),
    Workload(
        "d-io",
        "docker",
        "-v /data:/data --device-read-bps /dev/vdb:1mb --device-write-bps /dev/vdb:2mb "
        "--device-write-iops /dev/vdb:100",
        _DISK,
        _disk_limits(MIB, 2 * MIB, 100),
    ),
    Workload("d-set", "docker", "--cpuset-cpus 1", limits={"cpuset_cpus": 1}),
    Workload("d-web", "docker", "--label com.docker.compose.project=shop", _SERVE),
    Workload("d-net", "docker", "--network=host"),
    Workload("d-pid", "docker", "--pid=container:d-cpu"),
    Workload(
        "d-parent",
        "docker",
        "--cgroup-parent lab-parent.slice --memory 32m --cgroupns=host",
        limits={"memory_max_bytes": 32 * MIB},
    ),
    Workload(
        "d-oom",
        "docker",
        "--memory 24m --memory-swap 24m",
        EATS,
        {"memory_max_bytes": 24 * MIB},
    ),
    Workload(
        "p-cpu",
        "podman",
        "-v /data:/data --cpus 0.15 --memory 64m --pids-limit 60 --device-read-bps /dev/vdb:1mb",
        BUSY,
        {
            "cpu_limit_cores": 0.15,
            "memory_max_bytes": 64 * MIB,
            "pids_max": 60,
            f"io_limit_read_bytes_per_second{{{DEVICE}}}": MIB,
        },
    ),
    Workload("p-pod", "podman", "--pod labpod --memory 32m", limits={"memory_max_bytes": 32 * MIB}),
    Workload("p-net", "podman", "--network=host"),
    Workload(
        "r-less",
        "rootless",
        "--network none --memory 48m --pids-limit 40",
        SLEEP,
        {"memory_max_bytes": 48 * MIB, "pids_max": 40},
        on=_UNIFIED,  # v1 is not delegated to users
    ),
    Workload(
        "c-fs",
        "containerd",
        "--cpu-quota 15000 --cpu-period 100000 --memory-limit 67108864",
        BUSY,
        {"cpu_limit_cores": 0.15, "memory_max_bytes": 64 * MIB},
    ),
    Workload(
        "c-sd",
        "containerd",
        "--runc-systemd-cgroup --cgroup lab.slice:ctr:c-sd --cpu-quota 30000 "
        "--cpu-period 100000 --memory-limit 67108864",
        SLEEP,
        {"cpu_limit_cores": 0.3, "memory_max_bytes": 64 * MIB},
    ),
)
# Podman's pod has a container of its own, which it calls infra.
_POD = (
    "podman pod create --name labpod --infra-image docker.io/library/lab:1 "
    "--infra-command 'sleep 1000000'"
)


@dataclass(frozen=True, slots=True)
class Service:
    """A systemd service with limits."""

    name: str
    properties: str
    command: Sequence[str]
    limits: Mapping[str, float]

    @property
    def cgroup(self) -> str:
        """Its cgroup."""
        return f"/system.slice/{self.name}.service"

    def start(self) -> str:
        """The command line that starts it."""
        return f"systemd-run -q --unit {self.name} {self.properties} {shlex.join(self.command)}"


SERVICES = (
    Service(
        "lab-limited",
        "-p CPUQuota=15% -p MemoryMax=64M -p TasksMax=32 -p 'IOReadBandwidthMax=/dev/vdb 1M'",
        ("sh", "-c", BUSY),
        {
            "cpu_limit_cores": 0.15,
            "memory_max_bytes": 64 * MIB,
            "pids_max": 32,
            f"io_limit_read_bytes_per_second{{{DEVICE}}}": MB,
        },
    ),
    Service(
        "lab-high",
        "-p CPUQuota=10% -p MemoryHigh=32M -p MemoryMax=64M -p MemorySwapMax=0",
        ("stress-ng", "--vm", "1", "--vm-bytes", "40M", "--vm-keep", "-q"),
        {"cpu_limit_cores": 0.1, "memory_max_bytes": 64 * MIB},
    ),
)


@dataclass(frozen=True, slots=True)
class Started:
    """A container that runs."""

    workload: Workload
    id: str
    pid: int


def _wanted(hierarchy: str) -> list[Workload]:
    return [each for each in WORKLOADS if hierarchy in each.on]


def _told(hierarchy: str) -> list[str]:
    """Command lines that keep what clients say of their containers."""
    lines = []
    for client, (_, inspect) in _CLIENTS.items():
        if names := [each.name for each in _wanted(hierarchy) if each.client == client]:
            lines.append(f"( {inspect}{' '.join(names)}\n) >>{_STARTED}")
    return lines


def commands(hierarchy: str) -> list[str]:
    """Command lines that start all that can be started on such a guest, and ask for it."""
    containers = [each.start() for each in _wanted(hierarchy)]
    services = [each.start() for each in SERVICES]
    return [_POD, *containers, *services, *_told(hierarchy), *_SEEN]


def start(guest: Guest) -> None:
    """Start it all."""
    lines = [f"( {line} ) >/dev/null" for line in commands(guest.hierarchy)]
    guest.run("set -e\n" + "\n".join(lines), timeout=1200)


def find(guest: Guest) -> dict[str, Started]:
    """ID and PID of each by name, from the client that started it."""
    wanted = {each.name: each for each in _wanted(guest.hierarchy)}
    found = {}
    for line in guest.run(f"cat {_STARTED}").splitlines():
        name, identity, pid = line.removeprefix("/").split()
        found[name] = Started(wanted[name], identity, int(pid))
    assert found.keys() == wanted.keys()
    return found
