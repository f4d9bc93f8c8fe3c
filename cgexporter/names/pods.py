"""Pods as the Kubernetes API has them → facts of pods and their containers.

Source: kubernetes api/core/v1/types.go. ``env`` of a container's manifest may hold secrets: it is
not picked.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from cgexporter.correlate.facts import NO_LABELS, Declared, Facts, Key
from cgexporter.names import Answer, Answers, Wanted, ports
from cgexporter.names.pick import VALUE, Each, Pairs, Picked, Shape, at, count, each, text, texts
from cgexporter.resources.quantity import quantity

_RESOURCES = Pairs(frozenset({"cpu", "memory"}))
_ASKED: Shape = Each(
    {
        "name": VALUE,
        "ports": ports.POD,
        "resources": {"requests": _RESOURCES, "limits": _RESOURCES},
    }
)
_STATUS: Shape = Each({"name": VALUE, "containerID": VALUE, "image": VALUE, "restartCount": VALUE})
_KINDS = ("containers", "initContainers", "ephemeralContainers")
_STATUSES = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")
# A static pod's cgroups and log directory have the hash of its manifest for a UID, while its
# mirror in the API has another. Source: pkg/kubelet/types/pod_update.go.
_HASH = "kubernetes.io/config.hash"


@dataclass(frozen=True, slots=True)
class PodFacts:
    """One pod: its own facts, and those of its containers by their IDs."""

    pod: Facts
    containers: Mapping[str, Facts]


def pod_shape(labels: frozenset[str]) -> Shape:
    """What to pick of a pod; only these labels."""
    return {
        "metadata": {
            "name": VALUE,
            "namespace": VALUE,
            "uid": VALUE,
            "resourceVersion": VALUE,
            "labels": Pairs(labels),
            "annotations": Pairs(frozenset({_HASH})),
            "ownerReferences": Each({"kind": VALUE, "name": VALUE, "controller": VALUE}),
        },
        "spec": dict.fromkeys(_KINDS, _ASKED),
        "status": {"qosClass": VALUE, **dict.fromkeys(_STATUSES, _STATUS)},
    }


def read_pod(picked: Picked) -> PodFacts | None:
    """Facts of a pod that `pod_shape` picked; None where it has no UID."""
    uid = text(at(picked, "metadata", "annotations", _HASH)) or text(at(picked, "metadata", "uid"))
    if uid is None:
        return None
    owners = each(at(picked, "metadata", "ownerReferences"))
    owner = next((owner for owner in owners if owner.get("controller") is True), {})
    pod = Facts(
        namespace=text(at(picked, "metadata", "namespace")),
        pod=text(at(picked, "metadata", "name")),
        pod_uid=uid,
        qos_class=text(at(picked, "status", "qosClass")),
        owner_kind=text(owner.get("kind")),
        owner_name=text(owner.get("name")),
        labels=texts(at(picked, "metadata", "labels")) or NO_LABELS,
    )
    asked = {
        text(container.get("name")): container
        for kind in _KINDS
        for container in each(at(picked, "spec", kind))
    }
    declared = {name: _declared(container) for name, container in asked.items()}
    published = {name: ports.of_pod(container.get("ports")) for name, container in asked.items()}
    containers = {
        id_: replace(
            pod,
            container_id=id_,
            runtime=runtime,
            name=text(status.get("name")),
            image=text(status.get("image")),
            restart_count=count(status.get("restartCount")),
            sandbox=False,
            declared=declared.get(text(status.get("name"))),
            ports=published.get(text(status.get("name"))),
        )
        for status in _statuses(picked)
        for runtime, id_ in _ids(status)
    }
    return PodFacts(pod, containers)


def _statuses(picked: Picked) -> Iterator[Mapping[str, Picked]]:
    for kind in _STATUSES:
        yield from each(at(picked, "status", kind))


def _ids(status: Mapping[str, Picked]) -> Iterator[tuple[str, str]]:
    """Runtime and ID of a container that was started: ``containerd://<id>``."""
    runtime, scheme, id_ = (text(status.get("containerID")) or "").partition("://")
    if scheme and runtime and id_:
        yield runtime, id_


def _declared(container: Mapping[str, Picked]) -> Declared:
    requests = texts(at(container.get("resources"), "requests"))
    limits = texts(at(container.get("resources"), "limits"))
    return Declared(
        cpu_request_cores=quantity(requests.get("cpu", "")),
        cpu_limit_cores=quantity(limits.get("cpu", "")),
        memory_request_bytes=quantity(requests.get("memory", "")),
        memory_limit_bytes=quantity(limits.get("memory", "")),
    )


def answers(pods: Sequence[PodFacts], wanted: Sequence[Wanted]) -> Answers:
    """What pods tell of the containers and pods that are wanted."""
    by_uid = {facts.pod.pod_uid: facts.pod for facts in pods}
    by_id = {id_: told for facts in pods for id_, told in facts.containers.items()}
    found: dict[Key, Answer] = {}
    for want in wanted:
        told = by_uid.get(want.id) if want.is_pod else by_id.get(want.id or "")
        if told is not None:
            found[want.key] = Answer(told)
    return found
