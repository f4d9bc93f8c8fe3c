"""Manifests → pods: what a pod asks for, as the API server completes it.

Source: kubernetes api/core/v1/types.go, pkg/apis/core/v1/defaults.go (requests that are not
given are limits), pkg/apis/core/validation.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from fractions import Fraction

from cgexporter.resources.documents import Node
from cgexporter.resources.quantity import exact
from cgexporter.resources.settings import ExplainError

Amounts = Mapping[str, Fraction]
NOTHING: Amounts = {}
HUGE = "hugepages-"
_MAX_PODS = 1000
_MAX_NESTED = 8
_TEMPLATES = (
    "DaemonSet",
    "Deployment",
    "Job",
    "ReplicaSet",
    "ReplicationController",
    "StatefulSet",
)
_SUPPORTED_OF_POD = ("cpu", "memory")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_UID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{32}")


class Role(Enum):
    """When a container runs."""

    INIT = "init container"
    SIDECAR = "sidecar"
    MAIN = "container"


@dataclass(frozen=True, slots=True)
class Container:
    """One container of a pod.

    Attributes:
        asked: requests as they are written.
        requests: with limits where a request is not given.
    """

    name: str
    role: Role
    asked: Amounts = field(default_factory=dict)
    requests: Amounts = field(default_factory=dict)
    limits: Amounts = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pod:
    """What a pod's manifest says of resources and namespaces.

    Attributes:
        containers: init containers and sidecars first, in their order.
        requests, limits: of the pod as a whole (``spec.resources``); None where there is none.
    """

    title: str
    uid: str | None
    containers: Sequence[Container]
    overhead: Amounts = field(default_factory=dict)
    requests: Amounts | None = None
    limits: Amounts | None = None
    priority_class: str = ""
    host_network: bool = False
    host_pid: bool = False
    host_ipc: bool = False
    host_users: bool = True
    share_processes: bool = False

    def of(self, *roles: Role) -> Sequence[Container]:
        """Containers of some roles."""
        return [one for one in self.containers if one.role in roles]


def pods(documents: Sequence[Node]) -> tuple[Sequence[Pod], Sequence[str]]:
    """The pods of some documents, and what else was there.

    Raises:
        ExplainError: a manifest is not what the API server takes; the message says where.
    """
    found: list[Pod] = []
    others: dict[str, None] = {}
    for number, document in enumerate(documents, 1):
        where = f"document {number}" if len(documents) > 1 else ""
        if document is None:
            continue
        for place, item in _items(_mapping(document, where), where, 0):
            kind = _text(item.get("kind"), _at(place, "kind"))
            if (spec := _template(item, kind, place)) is None:
                others[kind] = None
            else:
                found.append(_pod(item, kind, *spec))
            if len(found) > _MAX_PODS:
                raise ExplainError(f"more than {_MAX_PODS} pods")
    return found, list(others)


def _at(place: str, name: str) -> str:
    return (
        f"{place}.{name}"
        if place and not place.startswith("document")
        else (f"{place}: {name}" if place else name)
    )


def _fail(place: str, why: str) -> ExplainError:
    return ExplainError(f"{place}: {why}" if place else why)


def _mapping(node: Node, place: str) -> dict[str, Node]:
    if node is None:
        return {}
    if not isinstance(node, dict):
        raise _fail(place, "is no mapping of names to values")
    return node


def _list(node: Node, place: str) -> list[Node]:
    if node is None:
        return []
    if not isinstance(node, list):
        raise _fail(place, "is no list")
    return node


def _text(node: Node, place: str) -> str:
    if isinstance(node, str):
        return node
    raise _fail(place, "is missing" if node is None else "is no text")


def _flag(item: Mapping[str, Node], name: str, place: str, default: bool = False) -> bool:
    node = item.get(name)
    if node is None:
        return default
    if node not in ("true", "false"):
        raise _fail(_at(place, name), "is neither true nor false")
    return node == "true"


def _items(item: dict[str, Node], place: str, depth: int) -> Iterator[tuple[str, dict[str, Node]]]:
    """A manifest, or those of a list of them."""
    kind = item.get("kind")
    if not (isinstance(kind, str) and kind.endswith("List") and "items" in item):
        yield place, item
        return
    if depth == _MAX_NESTED:
        raise _fail(place, "lists in lists in lists")
    for number, node in enumerate(_list(item["items"], _at(place, "items"))):
        inner = _at(place, f"items[{number}]")
        yield from _items(_mapping(node, inner), inner, depth + 1)


def _template(
    item: dict[str, Node], kind: str, place: str
) -> tuple[dict[str, Node], dict[str, Node], str] | None:
    """Metadata, spec and place of the pod in a manifest; None where it has none."""
    steps: tuple[str, ...]
    if kind == "Pod":
        steps = ()
    elif kind == "PodTemplate":
        steps = ("template",)
    elif kind == "CronJob":
        steps = ("spec", "jobTemplate", "spec", "template")
    elif kind in _TEMPLATES:
        steps = ("spec", "template")
    else:
        return None
    for step in steps:
        place = _at(place, step)
        item = _mapping(item.get(step), place)
    spec = _at(place, "spec")
    if "spec" not in item:
        raise _fail(spec, "is missing")
    return (
        _mapping(item.get("metadata"), _at(place, "metadata")),
        _mapping(item["spec"], spec),
        spec,
    )


def _pod(
    item: dict[str, Node], kind: str, metadata: dict[str, Node], spec: dict[str, Node], place: str
) -> Pod:
    own = _mapping(item.get("metadata"), "metadata")
    names = [own.get("namespace") or metadata.get("namespace"), own.get("name")]
    title = "/".join(name for name in names if isinstance(name, str)) or "(no name)"
    uid = metadata.get("uid") if kind == "Pod" else None
    containers = [
        *_containers(spec, "initContainers", place),
        *_containers(spec, "containers", place),
    ]
    if not any(one.role is Role.MAIN for one in containers):
        raise _fail(_at(place, "containers"), "has no container")
    names_ = [one.name for one in containers]
    if twice := {name for name in names_ if names_.count(name) > 1}:
        raise _fail(place, f"two containers are called {min(twice)}")
    priority = spec.get("priorityClassName")
    pod = Pod(
        title=f"{kind} {title}",
        uid=uid if isinstance(uid, str) and _UID.fullmatch(uid) else None,
        containers=containers,
        overhead=_amounts(spec.get("overhead"), _at(place, "overhead")),
        priority_class=priority if isinstance(priority, str) else "",
        host_network=_flag(spec, "hostNetwork", place),
        host_pid=_flag(spec, "hostPID", place),
        host_ipc=_flag(spec, "hostIPC", place),
        host_users=_flag(spec, "hostUsers", place, default=True),
        share_processes=_flag(spec, "shareProcessNamespace", place),
    )
    return _with_own(pod, spec, place)


def _containers(spec: dict[str, Node], kind: str, place: str) -> Iterator[Container]:
    for number, node in enumerate(_list(spec.get(kind), _at(place, kind))):
        where = _at(place, f"{kind}[{number}]")
        item = _mapping(node, where)
        name = _text(item.get("name"), _at(where, "name"))
        if not _NAME.fullmatch(name):
            raise _fail(_at(where, "name"), f"{name[:80]!r} is no name")
        role = Role.MAIN
        if kind == "initContainers":
            role = Role.SIDECAR if item.get("restartPolicy") == "Always" else Role.INIT
        resources = _at(where, "resources")
        asked, limits = _resources(item.get("resources"), resources)
        yield Container(name, role, asked, {**limits, **asked}, limits)


def _resources(node: Node, place: str) -> tuple[Amounts, Amounts]:
    """Requests and limits, neither below 0, no request above its limit."""
    item = _mapping(node, place)
    requests = _amounts(item.get("requests"), _at(place, "requests"))
    limits = _amounts(item.get("limits"), _at(place, "limits"))
    for name, request in requests.items():
        if name in limits and request > limits[name]:
            raise _fail(_at(place, f"requests.{name}"), "is more than its limit")
        if name.startswith(HUGE) and request != limits.get(name):
            raise _fail(_at(place, f"requests.{name}"), "must equal its limit")
    return requests, limits


def _amounts(node: Node, place: str) -> Amounts:
    amounts = {}
    for name, value in _mapping(node, place).items():
        where = _at(place, name[:80])
        amount = exact(value) if isinstance(value, str) else None
        if amount is None:
            shown = repr(value[:40]) if isinstance(value, str) else "this"
            raise _fail(where, f"{shown} is no quantity, such as 100m or 64Mi")
        if amount < 0:
            raise _fail(where, "is below 0")
        if name.startswith(HUGE) and not exact(name.removeprefix(HUGE)):
            raise _fail(where, "names no page size, as hugepages-2Mi does")
        amounts[name] = amount
    return amounts


def _with_own(pod: Pod, spec: dict[str, Node], place: str) -> Pod:
    """The pod's own resources, completed as defaultPodRequests and defaultHugePagePodLimits do."""
    if spec.get("resources") is None:
        return pod
    where = _at(place, "resources")
    requests, limits = (dict(part) for part in _resources(spec["resources"], where))
    for name in (*requests, *limits):
        if name not in _SUPPORTED_OF_POD and not name.startswith(HUGE):
            raise _fail(where, f"{name} is not for a whole pod: cpu, memory and {HUGE}* are")
    whole = replace(pod, requests=requests, limits=limits)
    _complete(whole, requests, limits)
    _check(whole, where)
    return whole


def _complete(pod: Pod, requests: dict[str, Fraction], limits: dict[str, Fraction]) -> None:
    if requests or limits:
        for name, amount in total(pod, "limits").items():
            if name.startswith(HUGE) and name not in requests:
                limits.setdefault(name, amount)
    if limits:
        for name, amount in total(pod, "requests").items():
            if name in _SUPPORTED_OF_POD:
                requests.setdefault(name, amount)
        for name, amount in limits.items():
            requests.setdefault(name, amount)


def _check(pod: Pod, place: str) -> None:
    requests, limits = pod.requests or {}, pod.limits or {}
    needed = total(pod, "requests")
    for name, amount in requests.items():
        if amount < needed.get(name, 0):
            raise _fail(_at(place, f"requests.{name}"), "is less than its containers request")
        if name in limits and amount > limits[name]:
            raise _fail(_at(place, f"requests.{name}"), "is more than its limit")
    for one in pod.containers:
        for name, amount in one.limits.items():
            if name in limits and amount > limits[name]:
                raise _fail(
                    _at(place, f"limits.{name}"), f"is less than the limit of container {one.name}"
                )


def total(pod: Pod, kind: str) -> Amounts:
    """What the containers of a pod need together, without overhead.

    Sidecars count with the containers; each init container with the sidecars begun before it is
    a moment of its own, of which the greatest counts. Source: component-helpers
    resource/helpers.go, AggregateContainerRequests and AggregateContainerLimits.

    Args:
        pod: whose.
        kind: ``requests`` or ``limits``.
    """
    whole: dict[str, Fraction] = {}
    for one in pod.of(Role.MAIN):
        _sum(whole, getattr(one, kind))
    begun: dict[str, Fraction] = {}
    greatest: dict[str, Fraction] = {}
    for one in pod.of(Role.INIT, Role.SIDECAR):
        amounts = getattr(one, kind)
        if one.role is Role.SIDECAR:
            _sum(whole, amounts)
            _sum(begun, amounts)
            moment = dict(begun)
        else:
            moment = dict(amounts)
            _sum(moment, begun)
        for name, amount in moment.items():
            greatest[name] = max(amount, greatest.get(name, amount))
    for name, amount in greatest.items():
        whole[name] = max(amount, whole.get(name, amount))
    return whole


def _sum(into: dict[str, Fraction], amounts: Amounts) -> None:
    for name, amount in amounts.items():
        into[name] = into.get(name, Fraction(0)) + amount
