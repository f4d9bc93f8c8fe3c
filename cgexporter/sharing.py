"""What is said of namespaces: who shares them, how many there are, where interfaces end."""

from collections.abc import Iterator, Mapping

from cgexporter.correlate.facts import Port
from cgexporter.correlate.view import View
from cgexporter.families import Samples, families
from cgexporter.metrics import NAMESPACES
from cgexporter.model.namespaces import HostCount
from cgexporter.publish import Format, Pairs, container_pairs, labels, pod_pairs

# A container's labels, the kind of a namespace, and with whom it is shared.
_Key = tuple[Pairs, str, str]


class Facts:
    """Renders the table `metrics.NAMESPACES`; keeps the text while nothing changed."""

    def __init__(self) -> None:
        # All of it as text, from the last rendering.
        self._known: dict[_Key, str] = {}
        self._shared_of: tuple[object, ...] = (None,)
        self._shared = ""
        self._counted_of: tuple[object, ...] = ()
        self._counted = ""

    def render(self, view: View, form: Format) -> str:
        """The families, without ``# EOF``."""
        inventory = view.namespaces
        ends = [(n.owner, n.ends) for n in view.networks.values() if n.ends]
        names = [container_pairs(c) for c in view.containers] if ends else []
        # By identity: the same list as before where nothing changed, and long to compare.
        before, rest = self._shared_of, (ends, names, form, list(_ports(view)))
        if before[0] is not inventory.containers or before[1:] != rest:
            self._shared_of = (inventory.containers, *rest)
            known, self._known = self._known, {}
            self._shared = "".join(families(_SHARED, _values(view, known, self._known), form))
        if self._counted_of != (counted := (inventory.counts, form)):
            self._counted_of = counted
            self._counted = "".join(families(_COUNTED, _counts(inventory.counts), form))
        return self._shared + self._counted


def _counts(counts: Mapping[str, HostCount]) -> Mapping[str, Samples]:
    """By kind how many namespaces the host has."""
    by_kind = [((("kind", kind),), count) for kind, count in counts.items()]
    return {
        "node_namespaces": [(pairs, count.total) for pairs, count in by_kind],
        "node_namespaces_without_container": [
            (pairs, count.without_container) for pairs, count in by_kind
        ],
        "node_namespaces_mounted": [(pairs, count.mounted) for pairs, count in by_kind],
    }


# What a process of anybody's may change is at the table's end, and rendered by itself.
_COUNTED = [row for row in NAMESPACES if row.name in _counts({})]
_SHARED = [row for row in NAMESPACES if row not in _COUNTED]


def _values(view: View, known: Mapping[_Key, str], used: dict[_Key, str]) -> Mapping[str, Samples]:
    inventory = view.namespaces
    by_path = {member.path: member for member in inventory.containers}
    containers = [
        (container_pairs(container), by_path[container.cgroup.path])
        for container in view.containers
        if container.cgroup.path in by_path
    ]
    for pairs, member in containers:
        for kind, namespace in member.namespaces.items():
            for other in namespace.shared:
                key = (pairs, kind, other)
                used[key] = known.get(key) or labels((*pairs, ("kind", kind), ("with", other)))
    return {
        "container_namespace_shared": [(text, 1) for text in used.values()],
        "container_root_uid": [(pairs, member.root_uid) for pairs, member in containers],
        "container_interface": _ends(
            view, {c.cgroup.path: container_pairs(c) for c in view.containers}
        ),
        "pod_interface": _ends(view, {pod.cgroup.path: pod_pairs(pod) for pod in view.pods}),
        "container_published_port": [
            (pairs, 1) for level, pairs in _ports(view) if level == "container"
        ],
        "pod_published_port": [(pairs, 1) for level, pairs in _ports(view) if level == "pod"],
    }


def _ports(view: View) -> Iterator[tuple[str, Pairs]]:
    """Published ports; those of a sandbox are its pod's."""
    for container in view.containers:
        if container.facts.ports:
            pairs = container_pairs(container)
            yield from (("container", _of(pairs, port)) for port in container.facts.ports)
    pods = {pod.cgroup.path: pod for pod in view.pods}
    for sandbox in view.sandboxes:
        if sandbox.facts.ports and (pod := pods.get(sandbox.place.pod_path or "")):
            pairs = pod_pairs(pod)
            yield from (("pod", _of(pairs, port)) for port in sandbox.facts.ports)


def _of(pairs: Pairs, port: Port) -> Pairs:
    return (*pairs, *((name, str(value)) for name, value in zip(port._fields, port, strict=True)))


def _ends(view: View, owners: Mapping[str, Pairs]) -> Samples:
    return [
        ((*owners[network.owner], *zip(end._fields, end, strict=True)), 1)
        for network in view.networks.values()
        if network.owner in owners
        for end in network.ends
    ]
