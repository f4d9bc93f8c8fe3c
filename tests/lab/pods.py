"""Static pods of each QoS class, and what their containers were asked to be held to."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.lab import container_image
from tests.lab.machine import Guest

# Of the kubelet, as a node of static pods reaches it.
KUBELET = "http://127.0.0.1:10255"
MIB = 1 << 20
BUSY = "while :; do :; done"
# Reads and writes a file, past the page cache where that is on a disk.
DISK = (
    "while :; do dd if=/dev/zero of=/tmp/f bs=64k count=16 oflag=direct; "
    "dd if=/tmp/f of=/dev/null bs=64k iflag=direct; sleep 0.5; done 2>/dev/null"
)
# The child asks to be the OOM killer's victim, so that the container itself lives on.
EATS = (
    "while :; do sh -c 'echo 1000 >/proc/self/oom_score_adj; x=aaaaaaaa; while :; do x=$x$x; done'"
    "; sleep 10; done 2>/dev/null"
)
SLEEP = "sleep 1000000"
SERVE = "echo served >/tmp/index.html; exec httpd -f -p 8080 -h /tmp"


@dataclass(frozen=True, slots=True)
class PodContainer:
    """One container of a pod: cores and bytes that it asks for and is limited to."""

    name: str
    command: str
    cpu_request: float | None = None
    cpu_limit: float = math.inf
    memory_request: int | None = None
    memory_limit: float = math.inf

    def manifest(self) -> Mapping[str, object]:
        """As a pod's specification has it."""
        asks = {"cpu": _milli(self.cpu_request), "memory": self.memory_request}
        limits = {"cpu": _milli(self.cpu_limit), "memory": self.memory_limit}
        return {
            "name": self.name,
            "image": container_image.NAME,
            "imagePullPolicy": "Never",
            "command": ["sh", "-c", self.command],
            "resources": {
                kind: {name: f"{value}" for name, value in each.items() if _is_set(value)}
                for kind, each in (("requests", asks), ("limits", limits))
            },
        }


def _milli(cores: float | None) -> str | float | None:
    return f"{round(cores * 1000)}m" if _is_set(cores) and cores is not None else None


def _is_set(value: object) -> bool:
    return value is not None and value != math.inf


@dataclass(frozen=True, slots=True)
class Pod:
    """One static pod."""

    name: str
    qos: str
    containers: Sequence[PodContainer]
    init: Sequence[PodContainer] = ()
    spec: Mapping[str, object] = field(default_factory=dict)

    def manifest(self) -> str:
        """For the kubelet's folder of static pods."""
        return json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "name": self.name,
                    "namespace": "default",
                    "labels": {"app": self.name},
                },
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "containers": [each.manifest() for each in self.containers],
                    "initContainers": [each.manifest() for each in self.init],
                    **self.spec,
                },
            },
            indent=1,
        )


PODS = (
    Pod("guaranteed", "Guaranteed", [PodContainer("main", BUSY, 0.2, 0.2, 64 * MIB, 64 * MIB)]),
    Pod(
        "burstable",
        "Burstable",
        [
            PodContainer("main", DISK, 0.1, 0.3, 32 * MIB, 96 * MIB),
            PodContainer("side", SLEEP, 0.01, math.inf, 8 * MIB),
        ],
        init=[PodContainer("first", "true")],
    ),
    Pod("killed", "Burstable", [PodContainer("main", EATS, None, math.inf, 16 * MIB, 24 * MIB)]),
    Pod("besteffort", "BestEffort", [PodContainer("main", SERVE)]),
    Pod("onhost", "BestEffort", [PodContainer("main", SLEEP)], spec={"hostNetwork": True}),
)


def told_of(guest: Guest) -> list[dict[str, Any]]:
    """The pods as a node's kubelet tells of them: crictl would take seconds to start there."""
    items: list[dict[str, Any]] = guest.json(f"curl -sS {KUBELET}/pods")["items"]
    return items


def write(directory: Path) -> Path:
    """Write all manifests into a folder there; the folder."""
    folder = directory / "manifests"
    folder.mkdir()
    for pod in PODS:
        (folder / f"{pod.name}.json").write_text(pod.manifest())
    return folder
