"""What is asked of a dockerd and a kubelet, to compare what they make of it with `explain`."""

import shlex
from collections.abc import Sequence
from typing import Any

from cgexporter.resources import docker, kubernetes
from cgexporter.resources.docker_options import read_command
from cgexporter.resources.documents import read
from cgexporter.resources.manifest import Pod, pods
from cgexporter.resources.quantity import milli
from cgexporter.resources.settings import Explanation, Setting
from tests.lab import container_image, workloads
from tests.tools.enforced import DOCKER, DOCKER_PRIVILEGED
from tests.tools.kubelet_pods import PODS, manifest, running

DISK = f"/dev/{workloads.DEVICE}"
_PARENT = "explain-below.slice"
# Requests of the pods of one batch, with those of the saved state, must fit into two CPUs.
_BATCH_MILLICORES = 1200


def files(settings: Sequence[Setting]) -> set[str]:
    """Names of the files of cgroup v2 that are predicted."""
    return {line.file for one in settings for line in one.v2}


def words(options: str) -> list[str]:
    """Options of Docker with what they name on the guest."""
    return shlex.split(options.format(disk=DISK, parent=_PARENT))


def of_options(options: str, devices: docker.Devices) -> Explanation:
    """What is said of a container with some options."""
    return docker.explain(read_command(["docker", "run", *words(options), "image"]), devices)


def _distinct(every: Sequence[str]) -> Sequence[str]:
    """Those that come to something of their own on v2; the rest is started on v1."""
    found: dict[object, str] = {}
    for options in every:
        said = of_options(options, lambda _: None)
        (group,) = said.groups
        lines = frozenset(line for one in group.settings for line in one.v2)
        found.setdefault((lines, tuple(said.namespaces.items()), group.systemd), options)
    return tuple(found.values())


OPTIONS = _distinct((*DOCKER, *DOCKER_PRIVILEGED))


def options_asked() -> Any:
    """Containers to start, and names of the files to read of each."""
    # Any disk: which files there are does not depend on its number.
    said = [of_options(options, lambda _: ("b", "254:16")) for options in OPTIONS]
    named = sorted({file for one in said for file in files(one.groups[0].settings)})
    return {"options": {options: words(options) for options in OPTIONS}, "files": named}


def pod(text: str) -> Pod:
    """The pod of a manifest."""
    (found,), _ = pods(read(text.encode()))
    return found


MANIFESTS = {name: manifest(name, container_image.NAME) for name in PODS}


def request(one: Pod) -> int:
    """Thousandths of a CPU that it asks for."""
    requests, _ = kubernetes.with_overhead(one)
    return milli(requests["cpu"]) if "cpu" in requests else 0


def batches() -> Sequence[Sequence[str]]:
    """Names of the pods that run at the same time."""
    found: list[list[str]] = [[]]
    asked = 0
    for name, text in MANIFESTS.items():
        needed = request(pod(text))
        if asked + needed > _BATCH_MILLICORES:
            found.append([])
            asked = 0
        found[-1].append(name)
        asked += needed
    return found


def pods_asked() -> Any:
    """Pods to run, batch by batch, and names of the files to read of each."""
    # Any memory: which files there are does not depend on it.
    said = [kubernetes.explain(pod(text), kubernetes.Node(1 << 31)) for text in MANIFESTS.values()]
    named = {file for one in said for group in one.groups for file in files(group.settings)}
    return {
        "batches": [
            {
                "manifests": {name: MANIFESTS[name] for name in batch},
                "running": {name: running(name) for name in batch},
            }
            for batch in batches()
        ],
        "files": sorted(named),
    }
