"""What is said of namespaces: who shares them, how many there are, where interfaces end."""

from collections.abc import Iterator, Mapping

from cgexporter.correlate.facts import Port
from cgexporter.correlate.view import View
from cgexporter.families import Samples, families
from cgexporter.metrics import NAMESPACES
from cgexporter.publish import Format, Pairs, container_pairs, pod_pairs


class Facts:
    """Renders the table `metrics.NAMESPACES`; keeps the text while nothing changed."""

    def __init__(self) -> None:
        self._of: object = None
        self._text = ""

    def render(self, view: View, form: Format) -> str:
        """The families, without ``# EOF``."""
        ends = [(n.owner, n.ends) for n in view.networks.values() if n.ends]
        names = [container_pairs(c) for c in view.containers] if ends else []
        of = (view.namespaces, ends, names, form, list(_ports(view)))
        if self._of is None or of[0] is not self._of[0] or of[1:] != self._of[1:]:  # type: ignore[index]
            self._of = of
            self._text = "".join(families(NAMESPACES, _values(view), form))
        return self._text


def _values(view: View) -> Mapping[str, Samples]:
    inventory = view.namespaces
    by_path = {member.path: member for member in inventory.containers}
    containers = [
        (container_pairs(container), by_path[container.cgroup.path])
        for container in view.containers
        if container.cgroup.path in by_path
    ]
    counts = inventory.counts.items()
    return {
        "container_namespace_shared": [
            ((*pairs, ("kind", kind), ("with", other)), 1)
            for pairs, member in containers
            for kind, namespace in member.namespaces.items()
            for other in namespace.shared
        ],
        "container_root_uid": [(pairs, member.root_uid) for pairs, member in containers],
        "container_interface": _ends(
            view, {c.cgroup.path: container_pairs(c) for c in view.containers}
        ),
        "pod_interface": _ends(view, {pod.cgroup.path: pod_pairs(pod) for pod in view.pods}),
        "container_published_port": [
            (pairs, 1) for level, pairs in _ports(view) if level == "container"
        ],
        "pod_published_port": [(pairs, 1) for level, pairs in _ports(view) if level == "pod"],
        "node_namespaces": [((("kind", kind),), count.total) for kind, count in counts],
        "node_namespaces_without_container": [
            ((("kind", kind),), count.without_container) for kind, count in counts
        ],
        "node_namespaces_mounted": [((("kind", kind),), count.mounted) for kind, count in counts],
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
