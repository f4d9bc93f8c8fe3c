"""What runtimes and the kubelet write into annotations and labels.

Keys from containerd (internal/cri/annotations), CRI-O (internal/annotations), the kubelet's CRI
labels (pkg/kubelet/types/labels.go), cri-dockerd (core/docker_service.go), nerdctl and Compose.
Whoever starts a container may set most of them, so what they say of a pod is believed only where
the cgroup's path names the same pod: see `resolver`.
"""

import sys
from collections.abc import Mapping
from typing import Any

from cgexporter.correlate.facts import NO_LABELS, Facts, Port
from cgexporter.names import ports

_CRI, _CRIO, _KUBELET = "io.kubernetes.cri.", "io.kubernetes.cri-o.", "io.kubernetes."

_KEYS = {
    "name": (_CRI + "container-name", _KUBELET + "container.name", "nerdctl/name"),
    "namespace": (_CRI + "sandbox-namespace", _KUBELET + "pod.namespace"),
    "pod": (_CRI + "sandbox-name", _KUBELET + "pod.name"),
    "pod_uid": (_CRI + "sandbox-uid", _KUBELET + "pod.uid"),
    "image": (_CRI + "image-name", _CRIO + "ImageName", _CRI + "podsandbox.image-name"),
    "compose_project": ("com.docker.compose.project", "io.podman.compose.project"),
    "compose_service": ("com.docker.compose.service", "io.podman.compose.service"),
}
_SHARED = ("name", "namespace", "image")
_TYPES = (
    _CRI + "container-type",
    "io.cri-containerd.kind",
    _CRIO + "ContainerType",
    "io.kubernetes.docker.type",
)
_RESTARTS = "io.kubernetes.container.restartCount"
_MANAGER = "io.container.manager"
_NERDCTL_PORTS, _CRIO_PORTS = "nerdctl/ports", _CRIO + "PortMappings"
_MANAGERS = {"libpod": "podman", "cri-o": "cri-o"}
# What the kubelet calls a sandbox where it is a container like others.
_SANDBOX_NAME = "POD"

KEYS = frozenset(key for keys in _KEYS.values() for key in keys) | {
    *(*_TYPES, _RESTARTS, _MANAGER, _NERDCTL_PORTS, _CRIO_PORTS),
}


def read(pairs: Mapping[str, str], labels: frozenset[str]) -> Facts:
    """What annotations or labels tell.

    Args:
        pairs: of the container; keys that are not in KEYS are ignored.
        labels: names of those that are passed on as they are.
    """
    found: dict[str, Any] = {
        field: next((pairs[key] for key in keys if pairs.get(key)), None)
        for field, keys in _KEYS.items()
    }
    kind = next((pairs[key] for key in _TYPES if pairs.get(key)), None)
    sandbox = None if kind is None else kind in ("sandbox", "podsandbox")
    if sandbox or found["name"] == _SANDBOX_NAME:
        sandbox, found["name"] = True, None
    for field in _SHARED:  # the same in most containers: kept once
        if found[field] is not None:
            found[field] = sys.intern(found[field])
    restarts = pairs.get(_RESTARTS, "")
    return Facts(
        **found,
        runtime=_MANAGERS.get(pairs.get(_MANAGER, "")),
        sandbox=sandbox,
        restart_count=int(restarts) if restarts.isascii() and restarts.isdecimal() else None,
        ports=_ports(pairs),
        labels={name: pairs[name] for name in sorted(labels) if pairs.get(name)} or NO_LABELS,
    )


def _ports(pairs: Mapping[str, str]) -> tuple[Port, ...] | None:
    if written := pairs.get(_NERDCTL_PORTS):
        return ports.nerdctl(written)
    if written := pairs.get(_CRIO_PORTS):
        return ports.crio(written)
    return None
