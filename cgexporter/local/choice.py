"""``--filter``: which containers are shown.

    FILTER   [FIELD][!]=PATTERN[,PATTERN] or WORD
    FIELD    name, id, pod, namespace, runtime, qos, image, cgroup
    PATTERN  with * for anything, ? for one character, [ab] for one of some

A word alone is looked for in name, ID, pod and namespace. Several filters must all hold.
"""

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from cgexporter.correlate.view import Container, View

_FIELDS: Mapping[str, Callable[[Container], str | None]] = {
    "name": lambda c: c.name,
    "id": lambda c: c.container_id or c.id,
    "pod": lambda c: c.facts.pod or c.place.pod_uid,
    "namespace": lambda c: c.facts.namespace,
    "runtime": lambda c: c.runtime,
    "qos": lambda c: c.qos_class,
    "image": lambda c: c.facts.image,
    "cgroup": lambda c: c.cgroup.path,
}
_WORD_FIELDS = ("name", "id", "pod", "namespace")


@dataclass(frozen=True, slots=True)
class Filter:
    """One condition on a container."""

    fields: Sequence[str]
    patterns: Sequence[str]
    negated: bool = False

    def holds(self, container: Container) -> bool:
        """Whether a container is shown."""
        values = (_FIELDS[field](container) or "" for field in self.fields)
        found = any(
            fnmatch.fnmatchcase(value, pattern) for value in values for pattern in self.patterns
        )
        return found is not self.negated


def parse(text: str) -> Filter:
    """Read a filter.

    Raises:
        ValueError: it is none; the message says why.
    """
    field, equals, pattern = text.partition("=")
    if not equals:
        if not text:
            raise ValueError("a filter is empty")
        return Filter(_WORD_FIELDS, [f"*{text}*"])
    negated = field.endswith("!")
    field = field.removesuffix("!")
    if field not in _FIELDS:
        raise ValueError(f"{field!r} is none of the fields {', '.join(_FIELDS)}")
    return Filter([field], pattern.split(","), negated)


def chosen(view: View, filters: Sequence[Filter]) -> View:
    """A view of the containers for which all filters hold, and of their pods."""
    if not filters:
        return view
    containers = [c for c in view.containers if all(each.holds(c) for each in filters)]
    pods = {container.place.pod_path for container in containers}
    return replace(
        view,
        containers=containers,
        pods=[pod for pod in view.pods if pod.cgroup.path in pods],
        sandboxes=[each for each in view.sandboxes if each.place.pod_path in pods],
        cgroups=[],
    )
