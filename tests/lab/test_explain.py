"""What `explain` says of Docker's options and of pods is what dockerd and the kubelet make."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from cgexporter.resources import convert, docker
from cgexporter.resources.qos import Qos, qos
from cgexporter.resources.settings import Explanation, Setting
from tests.lab import explained, observed
from tests.lab import pods as lab_pods
from tests.lab.conftest import observation
from tests.lab.explained import MANIFESTS, OPTIONS
from tests.tools.enforced import Host, differences, namespace_differences
from tests.tools.kubelet_pods import PODS, compare, running

# The guests' runc is 1.1 and their crun 1.8.
_QUADRATIC = False


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


# cgroup v1 is in tests/integration/test_explain.py, with the dockerd of a hybrid host.
@pytest.fixture(scope="module")
def daemon(lab: None) -> Daemon:
    """The dockerd of a host with cgroup v2, with a container of each combination of options."""
    seen = observation(observed.DOCKER)
    kind, number = seen["disk"]
    disk = {explained.DISK: (kind, number)}
    said = {options: explained.of_options(options, disk.get) for options in OPTIONS}
    return Daemon(said, seen["options"])


@pytest.mark.parametrize("options", OPTIONS, ids=lambda text: text or "(none)")
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


@pytest.fixture(scope="module")
def node(lab: None) -> Node:
    """A kubelet with its own defaults, to which all pods were given, some at a time."""
    seen = observation(observed.KUBELET)
    return Node(seen["memory"], explained.batches(), seen["batches"])


@pytest.mark.parametrize("name", PODS)
def test_pods(node: Node, name: str) -> None:
    """Each predicted file of a pod, its tier and its containers says what the kubelet made."""
    seen = node.of(name)
    paths = seen["paths"][name]
    assert sorted(paths) == sorted(running(name))
    pod = replace(explained.pod(MANIFESTS[name]), uid=seen["uids"][name])

    def kept(path: str, file: str) -> str | None:
        found: str | None = seen["files"].get(path, {}).get(file)
        return found

    compared, wrong = compare(pod, paths, kept, memory=node.memory)
    assert not wrong
    of_tier = 1 if qos(pod)[0] is Qos.BEST_EFFORT else 0
    assert compared == of_tier + 3 + 6 * len(paths)


def test_burstable_tier(node: Node) -> None:
    """The tier weighs what the requests of its pods come to, as is said."""
    others = sum(
        explained.request(explained.pod(pod.manifest()))
        for pod in lab_pods.PODS
        if pod.qos == "Burstable"
    )
    for batch, seen in zip(node.batches, node.seen, strict=True):
        together = [explained.pod(MANIFESTS[name]) for name in batch]
        asked = others + sum(
            explained.request(pod) for pod in together if qos(pod)[0] is Qos.BURSTABLE
        )
        weight = convert.weight_linear(convert.milli_to_shares(asked))
        path = "/kubepods.slice/kubepods-burstable.slice"
        assert seen["files"][path]["cpu.weight"].strip() == str(weight), batch
