"""What is told of a container or pod beside what its cgroup's path proves."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import NamedTuple

# A cgroup: its path and inode.
Key = tuple[str, int]

NO_LABELS: Mapping[str, str] = {}  # one for all, since most have none


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What a pod's manifest asks for one container; None where it does not say."""

    cpu_request_cores: float | None = None
    cpu_limit_cores: float | None = None
    memory_request_bytes: float | None = None
    memory_limit_bytes: float | None = None


class Port(NamedTuple):
    """A published port: who connects to it on the host reaches the container.

    Attributes:
        host_ip: where it is listened on; "" where that is not said.
        host_port: on the host.
        port: in the container.
        protocol: "tcp", "udp" or "sctp".
    """

    host_ip: str
    host_port: int
    port: int
    protocol: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What sources told of one container or pod. None is not known."""

    container_id: str | None = None
    runtime: str | None = None
    name: str | None = None
    namespace: str | None = None
    pod: str | None = None
    pod_uid: str | None = None
    sandbox: bool | None = None
    image: str | None = None
    restart_count: int | None = None
    qos_class: str | None = None
    owner_kind: str | None = None
    owner_name: str | None = None
    compose_project: str | None = None
    compose_service: str | None = None
    declared: Declared | None = None
    ports: tuple[Port, ...] | None = None  # published; () where it is known that there are none
    labels: Mapping[str, str] = field(default_factory=lambda: NO_LABELS)  # only those asked for


NOTHING = Facts()
Told = Mapping[Key, Facts]
NOBODY: Told = MappingProxyType({})


def merged(parts: Sequence[Facts]) -> Facts:
    """One set of facts; where two parts disagree the earlier one is believed."""
    if len(parts) == 1:
        return parts[0]
    values: dict[str, object] = {}
    labels: dict[str, str] = {}
    for part in parts:
        for each in fields(part):
            value = getattr(part, each.name)
            if each.name == "labels":
                for name, text in part.labels.items():
                    labels.setdefault(name, text)
            elif value is not None:
                values.setdefault(each.name, value)
    return replace(NOTHING, labels=labels or NO_LABELS, **values)  # type: ignore[arg-type]


def label_name(name: str) -> str:
    """The name of a pod's or container's label as a label of ours, as kube-state-metrics has it."""
    return "label_" + re.sub("[^a-zA-Z0-9_]", "_", name)
