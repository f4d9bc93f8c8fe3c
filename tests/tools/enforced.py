"""What `cgexporter explain` predicts against what the kernel says of a running container.

Plain functions, so that a guest of the lab can run them too; nothing of pytest is needed.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

from cgexporter.resources import convert
from cgexporter.resources.settings import Explanation, Line, Setting

# Docker options of one container each; {disk} is a whole disk, {parent} a parent that the daemon's
# cgroup driver takes. Every option that sets a file is in several, alone and with what it depends
# on.
DOCKER: Sequence[str] = (
    "",
    "--cpus 1.5",
    "--cpus 0.01",
    "--cpus 1/4 --cpu-shares 2",
    "--cpus .123456789",
    "--cpus 0.000001",
    "--cpu-quota 50000",
    "--cpu-quota 1000 --cpu-period 1000000",
    "--cpu-quota -1",
    "--cpu-period 50000",
    "--cpu-period 20000 --cpu-quota 35000 --cpu-shares 1024",
    "--cpu-shares 512",
    "-c 262144",
    "--cpu-shares 3 --cpus 0",
    "--cpuset-cpus 0",
    "--cpuset-cpus 1,0 --cpuset-mems 0",
    "--cpuset-cpus 0-1 --cpus 1",
    "-m 64m",
    "--memory 6291456",
    "--memory 6291457b",
    "--memory 0.1g --memory-swap 150mb",
    "-m 1G --memory-swap 1G",
    "-m 32MiB --memory-swap -1",
    "--memory 48m --memory-swap 0",
    "--memory 100000k --memory-reservation 50000k",
    "--memory-reservation 7777777",
    "-m 64m --memory-swappiness 0",
    "-m 64m --memory-swappiness 35 --memory-swap 64m",
    "--memory-swappiness -1",
    "-m 64m --oom-kill-disable",
    "-m 64m --oom-kill-disable=false",
    "--oom-score-adj 500",
    "--oom-score-adj 0 -m 64m",
    "--pids-limit 50",
    "--pids-limit -1",
    "--pids-limit 0 --cpus 1",
    "--device-read-bps {disk}:1mb",
    "--device-write-bps {disk}:2.5m",
    "--device-read-iops {disk}:100 --device-write-iops {disk}:200",
    "--device-read-bps {disk}:1mb --device-write-bps {disk}:2mb --device-write-iops {disk}:100",
    "--device-read-bps {disk}:1b",
    "--blkio-weight 300",
    "--blkio-weight-device {disk}:200 --blkio-weight 10",
    "--device-cgroup-rule 'c 42:* mr'",
    "--device-cgroup-rule 'b 8:1 r' --device-cgroup-rule 'c 1:11 w'",
    "--device {disk}:/dev/mine:rw",
    "--device {disk}",
    "--pid host",
    "--ipc host --uts host",
    "--ipc private --pids-limit 7",
    "--net host",
    "--userns host --cgroupns private",
    "--cgroupns host",
    "--cgroup-parent {parent} -m 64m",
    "-itd --memory=128m --cpus=0.5 --ulimit nofile=100 --shm-size 8m -e A=b --read-only",
    "--cpus 1 --cpu-shares 256 -m 96m --memory-reservation 64m --pids-limit 33 --cpuset-cpus 0",
    "-m 96m --memory-swap 128m --oom-score-adj 10 --device-write-bps {disk}:3mb --cpus 2",
)
# Only where root has all capabilities.
DOCKER_PRIVILEGED: Sequence[str] = ("--privileged", "--privileged -m 64m --cgroupns private")


@dataclass(frozen=True, slots=True)
class Host:
    """Where the container runs.

    Attributes:
        version: "v1" or "v2".
        quadratic: its runtime makes cpu.weight as runc does since 1.3.2.
        driver: "systemd" or "cgroupfs".
        read: a cgroup file of the container, by name, or /proc/PID/… of its first process; None
            where there is none.
    """

    version: str
    quadratic: bool
    driver: str
    read: Callable[[str], str | None]


# Of each condition whether it holds on a host; kubelets here are 1.35 or later.
_HOLDS: Mapping[str, Callable[[Host], bool]] = {
    "": lambda _: True,
    convert.CGROUPFS: lambda host: host.driver == "cgroupfs",
    convert.LINEAR_BY: lambda host: not host.quadratic,
    convert.QUADRATIC_BY: lambda host: host.quadratic,
    convert.ROUNDED_BY: lambda host: host.quadratic and host.driver == "systemd",
    convert.EXACT_BY: lambda host: not host.quadratic or host.driver == "cgroupfs",
    convert.KUBELET_ROUNDED_BY: lambda host: host.driver == "systemd",
    convert.KUBELET_EXACT_BY: lambda host: host.driver == "cgroupfs",
}


def _chosen(lines: Sequence[Line], host: Host) -> Iterator[Line]:
    """The lines that hold on this host; where I/O schedulers differ, the first file there is."""
    scheduled = False
    for line in lines:
        if holds := _HOLDS.get(line.when):
            if holds(host):
                yield line
        elif not scheduled and host.read(line.file) is not None:
            scheduled = True
            yield line


def _same(line: Line, actual: str) -> bool:
    if re.fullmatch("[0-9]+", actual) and int(actual) >= 2**62:
        actual = "max"
    # Of a device or key its own line.
    return line.value == actual or (" " in line.value and line.value in actual.splitlines())


def differences(settings: Sequence[Setting], host: Host) -> tuple[int, list[str]]:
    """How many predicted files were compared, and those that say something else."""
    compared, found = 0, []
    for setting in settings:
        for line in _chosen(setting.v1 if host.version == "v1" else setting.v2, host):
            actual = host.read(line.file)
            compared += 1
            if actual is None or not _same(line, actual.strip()):
                found.append(f"{setting.asked}: {line.file} = {line.value}, but is {actual!r}")
    return compared, found


def namespace_differences(
    explanation: Explanation, shared: AbstractSet[str], version: str
) -> list[str]:
    """Namespaces that are not whose they are said to be, as far as that is said of this host.

    Args:
        explanation: what is said.
        shared: kinds of namespace that the container has in common with the host.
        version: "v1" or "v2".
    """
    found = []
    for kind, said in explanation.namespaces.items():
        by_version = {"v2": "its own", "v1": "the host's"}
        whose = by_version[version] if said.startswith("its own on v2, the host's on v1") else said
        if whose == "the host's" and kind not in shared:
            found.append(f"{kind} is not the host's")
        if whose.startswith("its own") and kind in shared:
            found.append(f"{kind} is the host's")
    return found


def shared_namespaces(pid: int) -> AbstractSet[str]:
    """Kinds of namespace that a process has in common with this one, which is in the host's."""
    return {
        kind
        for kind in os.listdir("/proc/self/ns")
        if os.readlink(f"/proc/{pid}/ns/{kind}") == os.readlink(f"/proc/self/ns/{kind}")
    }


def reader(directories: Sequence[Path], pid: int = 0) -> Callable[[str], str | None]:
    """Read a file in the first of some directories that has it, or of a process."""

    def read(name: str) -> str | None:
        for directory in directories:
            try:
                return (directory / name.replace("/PID/", f"/{pid}/")).read_text()
            except FileNotFoundError:
                continue
        return None

    return read
