"""A captured Kubernetes node whose counters move: what cgroup v1 and kernels without PSI lack.

The capture is of a moment. Its copy here is moved on by a test: each container gets a sickness,
and what it uses is added to its own files and to those of every cgroup above it, as the kernel
would. The kernel's formats are the captured files'; the numbers are not measured.
"""

import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

CAPTURE = Path(__file__).resolve().parents[1] / "fixtures/v2-6.1-kubernetes"
DEVICE = "254:0"
MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Sickness:
    """What happens to a container in each second.

    Attributes:
        cpu: cores used.
        throttled: share of 10 periods in which it is stopped.
        memory: bytes that it has, of which `cache` is file cache.
        pressure: by resource, the share of time waiting and stalled.
        oom_seconds: an OOM kill each so many seconds; 0 is never.
        read, write: bytes.
        refaults: pages of cache read again.
    """

    name: str
    namespace: str
    pod: str
    cpu: float = 0.05
    throttled: float | None = None
    memory: int = 20 * MIB
    cache: int = 5 * MIB
    pressure: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    oom_seconds: int = 0
    read: int = 0
    write: int = 0
    refaults: int = 0
    resources: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


# By the first digits of the captured IDs; names and resources are in the tree's NOTE.md.
PATIENTS = {
    "925b06e21729": Sickness(
        name="main",
        namespace="apps",
        pod="guar-5c9f56c79d-j4zbl",
        cpu=0.2,
        throttled=0.8,
        pressure={"cpu": (0.85, 0.7)},
        resources={
            "requests": {"cpu": "200m", "memory": "64Mi"},
            "limits": {"cpu": "200m", "memory": "64Mi"},
        },
    ),
    "f8cc91c7aae2": Sickness(
        name="main",
        namespace="apps",
        pod="burst-786f948c54-fpn8t",
        cpu=0.12,
        throttled=0.05,
        memory=95 * MIB,
        cache=1 * MIB,
        pressure={"memory": (0.8, 0.7), "io": (0.1, 0.06)},
        # Often enough that any ten seconds of a scraping Prometheus have one within.
        oom_seconds=4,
        read=12 * MIB,
        refaults=3000,
        resources={
            "requests": {"cpu": "100m", "memory": "32Mi"},
            # More than the kernel enforces: a mismatch.
            "limits": {"cpu": "300m", "memory": "128Mi"},
        },
    ),
    "093e339ca1b4": Sickness(
        name="main",
        namespace="mon",
        pod="lab1-q7fvg",
        pressure={"io": (0.6, 0.45)},
        write=30 * MIB,
        read=2 * MIB,
        memory=60 * MIB,
        cache=45 * MIB,
    ),
    "e225add29cab": Sickness(
        name="main",
        namespace="apps",
        pod="beste-6b9fddf4cd-fpvjn",
        cpu=0.7,
        pressure={"cpu": (0.75, 0.1)},
    ),
}


class MovingNode:
    """A copy of the capture below a directory.

    Attributes:
        cgroupfs, procfs, root: for the exporter's flags.
    """

    def __init__(self, directory: Path) -> None:
        shutil.copytree(CAPTURE, directory / "host", symlinks=True)
        self.cgroupfs = directory / "host/sys/fs/cgroup"
        self.procfs = directory / "host/proc"
        self.root = directory / "host/root"
        self._seconds = 0
        (self.procfs / "vmstat").write_text("oom_kill 0\n")
        links = self.root / "var/log/containers"
        links.mkdir(parents=True)
        self._containers: dict[Path, Sickness] = {}
        for path in self.cgroupfs.rglob("cri-containerd-*.scope"):
            id_ = path.name.removeprefix("cri-containerd-").removesuffix(".scope")
            if sick := PATIENTS.get(id_[:12]):
                self._containers[path] = sick
                target = f"/var/log/pods/{sick.namespace}_{sick.pod}_{self._uid(path)}/main/0.log"
                link = f"{sick.pod}_{sick.namespace}_{sick.name}-{id_}.log"
                (links / link).symlink_to(target)
        assert len(self._containers) == len(PATIENTS)

    def pods(self) -> bytes:
        """What this node's kubelet would answer to ``/pods``."""
        return json.dumps(
            {
                "kind": "PodList",
                "apiVersion": "v1",
                "items": [
                    {
                        "metadata": {
                            "name": sick.pod,
                            "namespace": sick.namespace,
                            "uid": self._uid(path),
                        },
                        "spec": {"containers": [{"name": sick.name, "resources": sick.resources}]},
                        "status": {
                            "containerStatuses": [
                                {
                                    "name": sick.name,
                                    "containerID": "containerd://"
                                    + path.name.removeprefix("cri-containerd-").removesuffix(
                                        ".scope"
                                    ),
                                    "restartCount": 1,
                                }
                            ]
                        },
                    }
                    for path, sick in self._containers.items()
                ],
            }
        ).encode()

    def advance(self) -> None:
        """One second passes."""
        self._seconds += 1
        for path, sick in self._containers.items():
            self._set(path, sick)
            for cgroup in (path, *path.parents):
                self._add(cgroup, sick)
                if cgroup == self.cgroupfs:
                    break

    def _uid(self, path: Path) -> str:
        found = re.search(r"pod([0-9a-f_]{36})\.slice", path.parent.name)
        assert found
        return found[1].replace("_", "-")

    def _set(self, path: Path, sick: Sickness) -> None:
        wave = 1 + 0.01 * (self._seconds % 5 - 2)
        memory = int(sick.memory * wave)
        _replace(path / "memory.current", lambda _: f"{memory}\n")
        stat = {"inactive_file": sick.cache // 2, "active_file": sick.cache // 2}
        stat |= {"file": sick.cache, "anon": memory - sick.cache}
        _flat(path / "memory.stat", stat.get)

    def _add(self, cgroup: Path, sick: Sickness) -> None:
        used = int(sick.cpu * 1_000_000)
        more = {"usage_usec": used, "user_usec": used * 3 // 4, "system_usec": used // 4}
        if sick.throttled is not None and cgroup.name.startswith(("cri-", "kubepods-")):
            stopped = round(sick.throttled * 10)
            more |= {"nr_periods": 10, "nr_throttled": stopped, "throttled_usec": stopped * 70_000}
        _flat(cgroup / "cpu.stat", lambda key, old: old + more.get(key, 0))
        pages = {"workingset_refault_file": sick.refaults, "pgmajfault": sick.refaults // 20}
        pages |= {"pgscan": 2 * sick.refaults, "pgsteal": sick.refaults, "pgfault": 500}
        _flat(cgroup / "memory.stat", lambda key, old: old + pages.get(key, 0))
        events: dict[str, int] = {}
        if sick.refaults:
            events = {"max": 20, "high": 3}
        if sick.oom_seconds and self._seconds % sick.oom_seconds == 0:
            events |= {"oom": 1, "oom_kill": 1}
        _flat(cgroup / "memory.events", lambda key, old: old + events.get(key, 0))
        if cgroup == self.cgroupfs and "oom_kill" in events:
            _flat(self.procfs / "vmstat", lambda _, old: old + 1)
        for resource, (some, full) in sick.pressure.items():
            own = cgroup / f"{resource}.pressure"
            if cgroup == self.cgroupfs:  # others of the machine go on
                for file in (own, self.procfs / "pressure" / resource):
                    _pressure(file, int(some * 250_000), int(full * 125_000))
            else:
                _pressure(own, int(some * 1e6), int(full * 1e6))
        if sick.read or sick.write:
            _io(cgroup / "io.stat", sick)


def _replace(file: Path, change: Callable[[str], str]) -> None:
    """Write in place, for the exporter holds the file open, and never shorter than before.

    A counter only grows and its line with it, so that a reader sees the old or the new digits.
    """
    if not file.exists():
        return
    with file.open("r+") as opened:
        content = change(opened.read()).encode()
        os.pwrite(opened.fileno(), content, 0)
        os.ftruncate(opened.fileno(), len(content))


def _flat(file: Path, value: Callable[[str, int], int]) -> None:
    def change(text: str) -> str:
        pairs = (line.split() for line in text.splitlines())
        return "".join(f"{key} {value(key, int(old))}\n" for key, old in pairs)

    _replace(file, change)


def _pressure(file: Path, some: int, full: int) -> None:
    more = {"some": some, "full": full}

    def change(text: str) -> str:
        return re.sub(
            r"^(some|full) (.*total=)(\d+)$",
            lambda m: f"{m[1]} {m[2]}{int(m[3]) + more[m[1]]}",
            text,
            flags=re.MULTILINE,
        )

    _replace(file, change)


def _io(file: Path, sick: Sickness) -> None:
    more = {"rbytes": sick.read, "wbytes": sick.write}
    more |= {"rios": sick.read >> 15, "wios": sick.write >> 15}

    def change(text: str) -> str:
        lines = {line.split()[0]: line for line in text.splitlines() if line.strip()}
        line = lines.get(DEVICE, f"{DEVICE} rbytes=0 wbytes=0 rios=0 wios=0 dbytes=0 dios=0")
        words = (word.split("=") for word in line.split()[1:])
        lines[DEVICE] = " ".join(
            [DEVICE, *(f"{key}={int(old) + more.get(key, 0)}" for key, old in words)]
        )
        return "".join(f"{line}\n" for line in lines.values())

    _replace(file, change)
