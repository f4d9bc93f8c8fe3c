"""Who is who in a scan: containers, pods and parts of the host, each with its cgroup."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from cgexporter.correlate.facts import NOTHING, Facts
from cgexporter.correlate.paths import Place
from cgexporter.correlate.processes import Process
from cgexporter.correlate.tiers import Tier, tiers
from cgexporter.model import Cgroup, Snapshot
from cgexporter.model.namespaces import Inventory
from cgexporter.model.network import NetworkNamespace, Networks


# Never changed once made, but not frozen, as `Cgroup` is not: a busy one is made in each scan.
@dataclass(slots=True, unsafe_hash=True)
class Container:
    """One container.

    Attributes:
        cgroup: its cgroup, with the limits of its payload cgroup merged in.
        id: what tells it from others on this host: the first 12 hex digits of its ID, an
            ID or cgroup name of another form, the whole path where those are not unique;
            "" where the name alone says it.
        facts: what sources of names told of it.
    """

    cgroup: Cgroup
    place: Place
    id: str
    process: Process | None = None
    facts: Facts = NOTHING

    def with_cgroup(self, cgroup: Cgroup) -> "Container":
        """The same container, with its cgroup as it is now."""
        if cgroup is self.cgroup:
            return self
        # A third of what dataclasses.replace costs, for each container in each scan.
        return Container(cgroup, self.place, self.id, self.process, self.facts)

    @property
    def name(self) -> str | None:
        """Its name, where known."""
        return self.facts.name or self.place.container_name

    @property
    def title(self) -> str:
        """What it is called in lists: its name and ID, or the path of its cgroup."""
        parts = dict.fromkeys(part for part in (self.name, self.id) if part)
        return " ".join(parts) or self.cgroup.path

    @property
    def runtime(self) -> str | None:
        """What manages it; the path's word counts more than a source's."""
        return self.place.runtime or self.facts.runtime

    @property
    def container_id(self) -> str | None:
        """Its whole ID."""
        return self.place.container_id or self.facts.container_id

    @property
    def qos_class(self) -> str | None:
        """Its pod's QoS class."""
        return self.place.qos_class or self.facts.qos_class


@dataclass(frozen=True, slots=True)
class Pod:
    """One Kubernetes or Podman pod. `uid` is its path where several claim the UID."""

    cgroup: Cgroup
    place: Place
    uid: str
    facts: Facts = NOTHING

    def with_cgroup(self, cgroup: Cgroup) -> "Pod":
        """The same pod, with its cgroup as it is now."""
        return self if cgroup is self.cgroup else replace(self, cgroup=cgroup)

    @property
    def qos_class(self) -> str | None:
        """Its QoS class."""
        return self.place.qos_class or self.facts.qos_class


@dataclass(frozen=True, slots=True)
class View:
    """A snapshot with owners: each cgroup is in one of these lists, or in none.

    `found` has all containers again: those published, sandboxes, and those that hold others.
    What only looks like a container or pod inside a container is a part of that one.
    """

    snapshot: Snapshot
    containers: Sequence[Container]
    pods: Sequence[Pod]
    cgroups: Sequence[Cgroup]
    sandboxes: Sequence[Container]
    denied: bool  # namespaces of some container may not be read
    found: Sequence[Container] = ()
    holders: Sequence[Container] = ()  # containers that hold others, and are among `cgroups`
    holding: frozenset[str] = frozenset()  # their paths, and those of pods that hold pods
    imitated: frozenset[str] = frozenset()  # containers in which something looks like others
    unproven: int = 0  # how many cgroups look so
    host: Process | None = None  # PID 1, whose namespaces are the host's
    namespaces: Inventory = field(default_factory=Inventory)
    networks: Networks = field(default_factory=dict)

    @property
    def tiers(self) -> Mapping[str, Tier]:
        """Of each of `cgroups`, by path, in which sum it may stand."""
        return tiers(tuple(cgroup.path for cgroup in self.cgroups), self.holding)

    def network_of(self, container: Container) -> NetworkNamespace | None:
        """The network a container is on; None where it is the host's or not known."""
        net_dev = container.process.net_dev if container.process else None
        return self.networks.get(net_dev or 0)
