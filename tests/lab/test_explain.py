"""What `explain` says of Docker's options and of pods is what dockerd and the kubelet make."""

import json
import shlex
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
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
from tests.integration.engines import Engine
from tests.lab import container_image, engine, workloads
from tests.lab import pods as lab_pods
from tests.lab.conftest import Guests
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
_AT_ONCE = 2
_SLEEPS = ("lab:1", "sleep", "1000000")
# A container whose network others have.
_FIRST = "explain"
_NETWORK = f"container:{_FIRST}"
# Requests of the pods of one batch, with those of the saved state, must fit into two CPUs.
_BATCH_MILLICORES = 1200


def _files(settings: Sequence[Setting]) -> set[str]:
    return {line.file for one in settings for line in one.v2}


def _certain(settings: Sequence[Setting]) -> set[str]:
    """Files that are there whatever the I/O scheduler is."""
    lines = [line for one in settings for line in one.v2]
    return {line.file for line in lines if line.when in ("", convert.LINEAR_BY, convert.EXACT_BY)}


# -- Docker ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Daemon:
    """What a dockerd made of each combination of options, and what is said of it."""

    said: Mapping[str, Explanation]
    seen: Mapping[str, Any]


def _words(options: str) -> list[str]:
    return shlex.split(options.format(disk=_DISK, parent=_PARENT))


def _explained(options: str, devices: docker.Devices) -> Explanation:
    return docker.explain(read_command(["docker", "run", *_words(options), "image"]), devices)


def _distinct(every: Sequence[str]) -> Sequence[str]:
    """Those that come to something of their own on v2; the rest is started on v1."""
    found: dict[object, str] = {}
    for options in every:
        said = _explained(options, lambda _: None)
        (group,) = said.groups
        lines = frozenset(line for one in group.settings for line in one.v2)
        found.setdefault((lines, tuple(said.namespaces.items()), group.systemd), options)
    return tuple(found.values())


_OPTIONS = _distinct((*DOCKER, *DOCKER_PRIVILEGED))


def _start(client: Engine, words: Sequence[str]) -> tuple[str, str]:
    """Start a container; its ID, or why it was refused."""
    network = [] if {"--network", "--net"}.intersection(words) else ["--network", _NETWORK]
    try:
        return client.call("run", "-d", *engine.CHEAP, *network, *words, *_SLEEPS), ""
    except RuntimeError as exc:
        return "", str(exc)


# cgroup v1 is in tests/integration/test_explain.py, with the dockerd of a hybrid host.
@pytest.fixture(scope="module")
def daemon(guests: Guests) -> Daemon:
    """The dockerd of a host with cgroup v2, with a container of each combination of options."""
    guest = guests.get("v2")
    guest.put([SCRIPTS / "options.py", Path(reading.__file__)], "/lab")
    kind, number = guest.run(f"stat -c '%F %Hr:%Lr' {_DISK}").rsplit(" ", 1)
    disk = {_DISK: (kind[0], number)}
    wanted = {options: _words(options) for options in _OPTIONS}
    said = {options: _explained(options, disk.get) for options in _OPTIONS}
    with engine.docker(guest) as client, ThreadPoolExecutor(_AT_ONCE) as pool:
        client.call("run", "-d", "--name", _FIRST, *engine.CHEAP, "--network", "none", *_SLEEPS)
        started = dict(zip(wanted, pool.map(partial(_start, client), wanted.values()), strict=True))
        inspected = json.loads(client.call("inspect", *(key for key, _ in started.values() if key)))
    asked = {
        "containers": {one["Id"]: one["State"]["Pid"] for one in inspected},
        "files": sorted({file for one in said.values() for file in _files(one.groups[0].settings)}),
    }
    read_ = guest.json("python3 /lab/options.py", stdin=json.dumps(asked).encode())
    return Daemon(
        said,
        {
            options: {"id": key, "refused": why, **read_.get(key, {})}
            for options, (key, why) in started.items()
        },
    )


@pytest.mark.guest("v2")
@pytest.mark.last(of_all=True)  # so many containers take as long to be removed
@pytest.mark.parametrize("options", _OPTIONS, ids=lambda text: text or "(none)")
def test_options(daemon: Daemon, options: str) -> None:
    """Each file that is predicted says what is predicted, in the cgroup that is predicted."""
    said, seen = daemon.said[options], daemon.seen[options]
    group = said.groups[0]
    if any(docker.ONE_IS_REFUSED in one.note for one in group.settings):
        assert "io.max: invalid argument" in seen["refused"]
        return
    assert not seen["refused"]
    host = Host("v2", _QUADRATIC, "systemd", seen["files"].get)
    compared, wrong = differences(group.settings, host)
    wrong += namespace_differences(said, set(seen["shared"]), host.version)
    assert not wrong
    assert compared >= len(_certain(group.settings))
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
    guest.run(_WITH_DEFAULTS)
    guest.put([SCRIPTS / "static_pods.py"], "/lab")
    memory = int(guest.run("awk '/^MemTotal:/ { print $2 }' /proc/meminfo")) * 1024
    files = sorted(
        {
            file
            for text in _MANIFESTS.values()
            for group in kubernetes.explain(_pod(text), kubernetes.Node(memory)).groups
            for file in _files(group.settings)
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
            "python3 /lab/static_pods.py", stdin=json.dumps(asked).encode(), timeout=850
        )
        seen.append(json.loads(told))
    return Node(memory, batches, seen)


# The saved state's kubelet kills single processes, which is not the default. What it does again and
# again for nobody here takes a guest's time from its pods.
_WITH_DEFAULTS = r"""
set -e
sed -i /singleProcessOOMKill/d /etc/kubernetes/kubelet.yaml
sed -i 's/"--v=2"/"--v=0" "--housekeeping-interval=60s"/' /run/systemd/transient/kubelet.service
systemctl daemon-reload
systemctl restart kubelet
"""


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
