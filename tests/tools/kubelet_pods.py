"""Pods whose cgroups a kubelet makes, against what `cgexporter explain -f` predicts.

Plain functions, without a cluster.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from cgexporter.resources.kubernetes import Node, explain
from cgexporter.resources.manifest import Pod
from cgexporter.resources.settings import Explanation, Group
from tests.tools.enforced import Host, differences

# By name, `resources` of each container as YAML; "init:" and "side:" are init containers and
# sidecars, "hold:" is an init container that does not end, "pod:" is the pod's own. Every rule
# that sets a file is in several.
PODS: Mapping[str, Mapping[str, str]] = {
    "none": {"main": "{}"},
    "equal": {"main": "{limits: {cpu: 200m, memory: 64Mi}}"},
    "equal-two": {
        "main": "{limits: {cpu: 100m, memory: 32Mi}}",
        "more": "{limits: {cpu: 50m, memory: 48Mi}, requests: {cpu: 50m, memory: 48Mi}}",
    },
    "burst": {"main": "{requests: {cpu: 100m, memory: 32Mi}, limits: {cpu: 300m, memory: 96Mi}}"},
    "burst-two": {
        "main": "{requests: {cpu: 100m, memory: 32Mi}, limits: {cpu: 300m, memory: 96Mi}}",
        "more": "{requests: {cpu: 10m, memory: 8Mi}}",
    },
    "cpu-request": {"main": "{requests: {cpu: 250m}}"},
    "memory-request": {"main": "{requests: {memory: 64Mi}}"},
    "cpu-limit": {"main": "{limits: {cpu: 150m}}"},
    "memory-limit": {"main": "{limits: {memory: 100M}}"},
    "tiny-cpu": {"main": "{requests: {cpu: 1m}, limits: {cpu: 5m}}"},
    "odd-bytes": {"main": "{limits: {memory: 33333333, cpu: 123m}}"},
    "exponents": {"main": "{limits: {memory: 64e6, cpu: 1e-1}, requests: {memory: 32e6}}"},
    "zero-request": {"main": "{requests: {cpu: 0}, limits: {cpu: 200m, memory: 64Mi}}"},
    "init": {
        "init:first": "{limits: {cpu: 400m, memory: 128Mi}}",
        "main": "{requests: {cpu: 100m, memory: 32Mi}, limits: {cpu: 200m, memory: 64Mi}}",
    },
    "init-held": {
        "init:first": "{}",
        "hold:second": "{requests: {cpu: 30m, memory: 24Mi}, limits: {cpu: 300m, memory: 48Mi}}",
        "main": "{requests: {cpu: 10m, memory: 32Mi}, limits: {cpu: 200m}}",
    },
    "mixed": {
        "main": "{limits: {cpu: 40m, memory: 48Mi}}",
        "more": "{requests: {memory: 16Mi}}",
    },
    "sidecar": {
        "side:mesh": "{requests: {cpu: 20m, memory: 16Mi}, limits: {cpu: 50m, memory: 32Mi}}",
        "init:first": "{}",
        "main": "{requests: {cpu: 100m, memory: 24Mi}, limits: {cpu: 200m, memory: 64Mi}}",
    },
    "sidecar-equal": {
        "side:mesh": "{limits: {cpu: 50m, memory: 32Mi}}",
        "main": "{limits: {cpu: 100m, memory: 64Mi}}",
    },
    "pod-level": {"pod:": "{limits: {cpu: 300m, memory: 128Mi}}", "main": "{}", "more": "{}"},
    "pod-level-mixed": {
        "pod:": "{requests: {cpu: 150m, memory: 96Mi}, limits: {cpu: 400m, memory: 160Mi}}",
        "main": "{requests: {cpu: 100m, memory: 32Mi}, limits: {memory: 64Mi}}",
        "more": "{}",
    },
}  # fmt: skip


def manifest(name: str, image: str) -> str:
    """The manifest of one of PODS; its containers sleep, its init containers end at once.

    A network of its own would have nothing of cgroups, and take a node longer than all the rest.
    """
    lines: dict[str, list[str]] = {"initContainers": [], "containers": []}
    own = ""
    for who, resources in PODS[name].items():
        role, _, short = who.rpartition(":")
        if role == "pod":
            own = f"  resources: {resources}\n"
            continue
        command = "['true']" if role == "init" else "[sleep, '100000']"
        restart = "restartPolicy: Always, " if role == "side" else ""
        lines["initContainers" if role else "containers"].append(
            f"  - {{name: {short}, image: {image!r}, imagePullPolicy: Never, command: {command}, "
            f"{restart}resources: {resources}}}\n"
        )
    return (
        f"apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: default}}\nspec:\n"
        f"  terminationGracePeriodSeconds: 1\n  hostNetwork: true\n{own}"
        + "".join(f"  {kind}:\n{''.join(some)}" for kind, some in lines.items() if some)
    )


def running(name: str) -> list[str]:
    """Names of the containers of one of PODS that run once all is started."""
    pod = PODS[name]
    begun = [who.rpartition(":")[::2] for who in pod]
    held = any(role == "hold" for role, _ in begun)
    roles = ("side", "hold") if held else ("side", "")
    return [short for role, short in begun if role in roles]


def compare(
    pod: Pod,
    paths: Mapping[str, str],
    read: Callable[[str, str], str | None],
    *,
    memory: int,
    leave_out: Sequence[str] = (),
) -> tuple[int, list[str]]:
    """How many predicted files of a running pod on v2 were compared, and which differ.

    Args:
        pod: as its manifest says, with its UID.
        paths: of the cgroups of its containers that run, by name.
        read: a file of the cgroup at a path; /proc/PID/… of its first process.
        memory: MemTotal of the node in bytes.
        leave_out: files that the node's settings decide, or that cannot be read.
    """
    said = explain(pod, Node(memory))
    compared, wrong = 0, []
    for group, path in _places(said, paths):
        host = Host(version="v2", quadratic=False, driver="systemd", read=partial(read, path))
        settings = [
            one
            for one in group.settings
            if not {line.file for line in one.v2}.intersection(leave_out)
        ]
        count, found = differences(settings, host)
        compared += count
        wrong += [f"{group.name}: {one}" for one in found]
        foreseen = re.escape(group.systemd).replace("<ID>", "[0-9a-f]{64}")
        if not re.fullmatch(foreseen, path):
            wrong.append(f"{group.name} is in {path}, not {group.systemd}")
    return compared, wrong


def _places(said: Explanation, paths: Mapping[str, str]) -> Iterator[tuple[Group, str]]:
    for group in said.groups:
        if group.name == "the pod" or (group.name.startswith("QoS tier ") and group.settings):
            yield group, group.systemd
        elif (path := paths.get(group.name.rpartition(" ")[2])) is not None:
            yield group, path
