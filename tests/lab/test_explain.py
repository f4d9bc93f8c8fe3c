"""What `explain` says of Docker's options and of pods is what dockerd and the kubelet make."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from cgexporter.resources import convert, docker, kubernetes
from cgexporter.resources.docker_options import read_command
from cgexporter.resources.documents import read
from cgexporter.resources.manifest import Pod, pods
from cgexporter.resources.qos import Qos, qos
from cgexporter.resources.quantity import milli
from cgexporter.resources.settings import Explanation, Setting
from tests.integration import reading
from tests.lab import container_image, workloads
from tests.lab import pods as lab_pods
from tests.lab.conftest import Guests
from tests.lab.machine import Guest
from tests.lab.states import SCRIPTS
from tests.tools.enforced import (
    DOCKER,
    DOCKER_PRIVILEGED,
    Host,
    differences,
    namespace_differences,
)
from tests.tools.kubelet_pods import PODS, compare, manifest, running

# The guests' runc is 1.1 and their crun 1.8.
_QUADRATIC = False
_DISK = f"/dev/{workloads.DEVICE}"
_PARENT = "explain-below.slice"
_OPTIONS = (*DOCKER, *DOCKER_PRIVILEGED)
# Requests of the pods of one batch, with those of the saved state, must fit into two CPUs.
_BATCH_MILLICORES = 1200


def _files(settings: Sequence[Setting], version: str) -> set[str]:
    return {line.file for one in settings for line in (one.v1 if version == "v1" else one.v2)}


def _certain(settings: Sequence[Setting], version: str) -> set[str]:
    """Files that are there whatever the I/O scheduler is."""
    lines = [line for one in settings for line in (one.v1 if version == "v1" else one.v2)]
    return {line.file for line in lines if line.when in ("", convert.LINEAR_BY)}


# -- Docker ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Daemon:
    """What a dockerd made of each combination of options, and what is said of it."""

    version: str
    said: Mapping[str, Explanation]
    seen: Mapping[str, Any]


def _words(options: str) -> list[str]:
    return shlex.split(options.format(disk=_DISK, parent=_PARENT))


# cgroup v1 is in tests/integration/test_explain.py, with the dockerd of a hybrid host.
@pytest.fixture(scope="module", params=["v2"])
def daemon(request: pytest.FixtureRequest, guests: Guests) -> Daemon:
    """The dockerd of one kind of host; all containers are started, read and removed at once."""
    guest = guests.get(request.param)
    version = "v2" if request.param == "v2" else "v1"
    guest.put([SCRIPTS / "options.py", Path(reading.__file__)], "/lab")
    kind, number = guest.run(f"stat -c '%F %Hr:%Lr' {_DISK}").rsplit(" ", 1)
    disk = {_DISK: (kind[0], number)}
    said = {
        options: docker.explain(
            read_command(["docker", "run", *_words(options), "image"]), disk.get
        )
        for options in _OPTIONS
    }
    wanted: dict[str, list[str]] = {}
    for place, options in enumerate(_OPTIONS):
        words = _words(options)
        has_network = {"--network", "--net"}.intersection(words)
        wanted[f"explain-{place}"] = words if has_network else [*words, "--network", "none"]
    files = sorted(
        {file for one in said.values() for file in _files(one.groups[0].settings, version)}
    )
    asked = json.dumps({"options": wanted, "files": files}).encode()
    told = json.loads(guest.run("python3 /lab/options.py", stdin=asked, timeout=800))
    seen = {options: told[f"explain-{n}"] for n, options in enumerate(_OPTIONS)}
    return Daemon(version, said, seen)


@pytest.mark.last
@pytest.mark.parametrize("options", _OPTIONS, ids=lambda text: text or "(none)")
def test_options(daemon: Daemon, options: str) -> None:
    """Each file that is predicted says what is predicted, in the cgroup that is predicted."""
    said, seen = daemon.said[options], daemon.seen[options]
    assert "refused" not in seen, seen
    group = said.groups[0]
    compared, wrong = differences(
        group.settings, Host(daemon.version, _QUADRATIC, seen["files"].get)
    )
    wrong += namespace_differences(said, set(seen["shared"]), daemon.version)
    assert not wrong
    assert compared >= len(_certain(group.settings, daemon.version))
    assert seen["path"] == group.systemd.replace("<ID>", seen["id"])


# -- pods ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Node:
    """Pods of a kubelet: what their manifests say, and what was seen in the batch of each.

    Attributes:
        memory: MemTotal in bytes.
        batches: names of the pods that ran at the same time.
    """

    memory: int
    batches: Sequence[Sequence[str]]
    seen: Sequence[Mapping[str, Any]]

    def of(self, name: str) -> Mapping[str, Any]:
        """What was seen while a pod ran."""
        return next(
            seen for batch, seen in zip(self.batches, self.seen, strict=True) if name in batch
        )


def _pod(text: str) -> Pod:
    (pod,), _ = pods(read(text.encode()))
    return pod


_MANIFESTS = {name: manifest(name, container_image.NAME) for name in PODS}


def _request(pod: Pod) -> int:
    requests, _ = kubernetes.with_overhead(pod)
    return milli(requests["cpu"]) if "cpu" in requests else 0


def _batches() -> Sequence[Sequence[str]]:
    batches: list[list[str]] = [[]]
    asked = 0
    for name, text in _MANIFESTS.items():
        needed = _request(_pod(text))
        if asked + needed > _BATCH_MILLICORES:
            batches.append([])
            asked = 0
        batches[-1].append(name)
        asked += needed
    return batches


@pytest.fixture(scope="module")
def node(guests: Guests) -> Node:
    """A kubelet with its own defaults, to which all pods were given, some at a time."""
    batches = _batches()
    guest = guests.get("kubelet")
    _with_defaults(guest)
    guest.put([SCRIPTS / "static_pods.py"], "/lab")
    memory = int(guest.run("awk '/^MemTotal:/ { print $2 }' /proc/meminfo")) * 1024
    files = sorted(
        {
            file
            for text in _MANIFESTS.values()
            for group in kubernetes.explain(_pod(text), kubernetes.Node(memory)).groups
            for file in _files(group.settings, "v2")
        }
    )
    seen = []
    for batch in batches:
        asked = {
            "manifests": {name: _MANIFESTS[name] for name in batch},
            "running": {name: running(name) for name in batch},
            "files": files,
        }
        told = guest.run(
            "python3 /lab/static_pods.py", stdin=json.dumps(asked).encode(), timeout=600
        )
        seen.append(json.loads(told))
    return Node(memory, batches, seen)


def _with_defaults(guest: Guest) -> None:
    """The saved state's kubelet kills single processes, which is not the default."""
    guest.run(
        "sed -i /singleProcessOOMKill/d /etc/kubernetes/kubelet.yaml && systemctl restart kubelet"
    )


@pytest.mark.guest("kubelet")
@pytest.mark.last
@pytest.mark.parametrize("name", PODS)
def test_pods(node: Node, name: str) -> None:
    """Each predicted file of a pod, its tier and its containers says what the kubelet made."""
    seen = node.of(name)
    paths = seen["paths"][name]
    assert sorted(paths) == sorted(running(name))
    pod = replace(_pod(_MANIFESTS[name]), uid=seen["uids"][name])

    def kept(path: str, file: str) -> str | None:
        found: str | None = seen["files"].get(path, {}).get(file)
        return found

    compared, wrong = compare(pod, paths, kept, memory=node.memory)
    assert not wrong
    of_tier = 1 if qos(pod)[0] is Qos.BEST_EFFORT else 0
    assert compared == of_tier + 3 + 6 * len(paths)


@pytest.mark.guest("kubelet")
@pytest.mark.last
def test_burstable_tier(node: Node) -> None:
    """The tier weighs what the requests of its pods come to, as is said."""
    others = sum(_request(_pod(pod.manifest())) for pod in lab_pods.PODS if pod.qos == "Burstable")
    for batch, seen in zip(node.batches, node.seen, strict=True):
        together = [_pod(_MANIFESTS[name]) for name in batch]
        asked = others + sum(_request(pod) for pod in together if qos(pod)[0] is Qos.BURSTABLE)
        weight = convert.weight_linear(convert.milli_to_shares(asked))
        path = "/kubepods.slice/kubepods-burstable.slice"
        assert seen["files"][path]["cpu.weight"].strip() == str(weight), batch
