"""Namespaces of a host and with whom each container shares its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Namespace:
    """A container's or pod's namespace of one kind.

    Attributes:
        inode: as ``readlink /proc/PID/ns/KIND`` says; None where it may not be read.
        host: it is the host's; None where that is not known.
        pod: it is that of others in the same pod (its sandbox among them).
        containers: who else, outside the pod, is in it; nobody is named where it is the
            host's.
        certain: it can be told from those of others; else `host` alone is known.
    """

    inode: int | None
    host: bool | None
    pod: bool = False
    containers: Sequence[str] = ()
    certain: bool = True

    @property
    def shared(self) -> Sequence[str]:
        """With what it is shared: host, pod, container."""
        kinds = (("host", self.host), ("pod", self.pod), ("container", self.containers))
        return [name for name, is_so in kinds if is_so]


@dataclass(frozen=True, slots=True)
class Member:
    """One container, sandbox or pod, and its namespace of each kind that is known.

    Attributes:
        name: the container's name and ID, or the pod's.
        path: of its cgroup.
        pod: the name of the pod it is in.
        pid: its first process; None for a pod.
        root_uid, root_gid: what root inside is outside; None where that is not known.
    """

    name: str
    path: str
    pod: str | None
    pid: int | None
    namespaces: Mapping[str, Namespace]
    sandbox: bool = False
    root_uid: int | None = None
    root_gid: int | None = None


@dataclass(frozen=True, slots=True)
class HostCount:
    """How many namespaces of one kind the host has; None is not known.

    Attributes:
        total: with those that only a bind mount keeps.
        without_container: in which no process of a container is, but for the host's own.
        mounted: kept by bind mounts alone.
    """

    total: int | None = None
    without_container: int | None = None
    mounted: int | None = None


@dataclass(frozen=True, slots=True)
class HostNamespace:
    """One namespace of the host, and what keeps it.

    Attributes:
        kind, inode: as ``readlink /proc/PID/ns/KIND`` says.
        host: it is PID 1's.
        containers: names of the containers and sandboxes that have a process in it.
        processes: how many are in it.
        pid, comm: the eldest of them.
        mounts: where it is bind mounted.
        descriptors: PIDs of the processes that have it open.
    """

    kind: str
    inode: int
    host: bool
    containers: Sequence[str]
    processes: int
    pid: int | None
    comm: str
    mounts: Sequence[str]
    descriptors: Sequence[int]


@dataclass(frozen=True, slots=True)
class Inventory:
    """Who is in which namespace. It is the same object while nothing changes.

    Attributes:
        host: inode of each kind of PID 1's namespaces, as far as it may be read.
        counts: by kind; empty before the first sweep is through.
        denied: some processes' namespaces may not be read.
    """

    host: Mapping[str, int] = field(default_factory=dict)
    containers: Sequence[Member] = ()
    sandboxes: Sequence[Member] = ()
    pods: Sequence[Member] = ()
    counts: Mapping[str, HostCount] = field(default_factory=dict)
    denied: bool = False
