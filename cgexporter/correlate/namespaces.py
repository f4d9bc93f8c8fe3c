"""Who shares which namespace: containers, pods and the host.

Where inodes may be read they decide. Without that privilege the inode of ``net/dev`` tells
network namespaces apart, ``NSpid`` whether a process is in the host's PID namespace, and ID maps
whether it is surely not in the host's user namespace; the rest is not known, and said so.
"""

import functools
from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from cgexporter.correlate.processes import KINDS, Process
from cgexporter.correlate.sweep import Group, Seen, Sweep
from cgexporter.correlate.view import Container, Pod, View
from cgexporter.model.namespaces import HostCount, HostNamespace, Inventory, Member, Namespace
from cgexporter.parse.namespaces import outside_id


def name_of_pod(pod: Pod) -> str:
    """What a pod is called in lists."""
    return pod.uid


@dataclass(slots=True)
class _Unit:
    """A container or sandbox with a process that may be read."""

    container: Container
    process: Process
    name: str
    pod: str | None
    sandbox: bool
    keys: Sequence[Hashable | None]  # see _key, in the order of KINDS


@dataclass(frozen=True, slots=True)
class _Members:
    """Who is in which namespace: what an inventory has of a view, whatever else the host has."""

    host: Mapping[str, int]
    containers: Sequence[Member]
    sandboxes: Sequence[Member]
    pods: Sequence[Member]


class Inventories:
    """Takes inventory of a host, anew only where something changed."""

    def __init__(self, sweep: Sweep) -> None:
        self._sweep = sweep
        self._of: object = None
        self._members = _Members({}, (), (), ())
        self._counted: tuple[_Members, int, bool] | None = None
        self._last = Inventory()

    def take(self, view: View) -> Inventory:
        """Say who is in which namespace. The same object as before where nothing changed.

        Who shares what with whom is worked out again where a container, sandbox, pod or one's first
        process is another; the host's namespaces are counted again wherever a process is new.
        """
        of = (
            view.host,
            [_state(c) for c in view.containers],
            [_state(c) for c in view.sandboxes],
            [_state(c) for c in view.holders],
            [(pod.uid, pod.cgroup.path) for pod in view.pods],
        )
        if of != self._of:
            self._members = _members(view)
        # The same processes are equal at once, equal ones are not: keep these.
        self._of = of
        members, sweep = self._members, self._sweep
        denied = view.denied or sweep.denied
        before, self._counted = self._counted, (members, sweep.generation, denied)
        if before is None or before[0] is not members or before[1:] != self._counted[1:]:
            self._last = Inventory(
                host=members.host,
                containers=members.containers,
                sandboxes=members.sandboxes,
                pods=members.pods,
                counts=_counts(members, view.host, sweep) if sweep.knows_host else {},
                denied=denied,
            )
        return self._last


def _state(container: Container) -> object:
    return (container.cgroup.path, container.name, container.id, container.process)


def _members(view: View) -> _Members:
    pods = {pod.cgroup.path: name_of_pod(pod) for pod in view.pods}
    units = [
        _Unit(
            container,
            container.process,
            container.title,
            pods.get(container.place.pod_path or "", container.place.pod_uid),
            sandbox,
            [_key(container.process, kind) for kind in KINDS],
        )
        for found, sandbox in (
            (view.containers, False),
            (view.holders, False),
            (view.sandboxes, True),
        )
        for container in found
        if container.process is not None
    ]
    host = view.host
    by_key: dict[tuple[str, Hashable], list[_Unit]] = defaultdict(list)
    by_pod: dict[str | None, list[_Unit]] = defaultdict(list)
    for unit in units:
        by_pod[unit.container.place.pod_path].append(unit)
        for kind, key in zip(KINDS, unit.keys, strict=True):
            if key is not None:
                by_key[kind, key].append(unit)
    hosts = [_key(host, kind) if host else None for kind in KINDS]
    members = {id(unit): _member(unit, by_key, host, hosts) for unit in units}
    return _Members(
        host=dict(host.namespaces) if host else {},
        containers=_sorted(members[id(u)] for u in units if not u.sandbox),
        sandboxes=_sorted(members[id(u)] for u in units if u.sandbox),
        pods=[_pod(pod, by_pod[pod.cgroup.path], members) for pod in view.pods],
    )


def _sorted(members: Iterable[Member]) -> Sequence[Member]:
    return sorted(members, key=lambda member: member.path)


def _key(process: Process, kind: str) -> Hashable | None:
    """What tells this process's namespace of a kind from others; None is not known."""
    if kind == "net" and process.net_dev is not None:
        return ("net/dev", process.net_dev)
    return process.namespaces.get(kind)


def _is_host(process: Process, kind: str, host: Process | None) -> bool | None:
    """Whether a process is in one of the host's, where no key tells."""
    if host is None:
        return None
    if kind == "pid":
        return not process.nested
    if kind == "user" and process.uid_map and host.uid_map and process.uid_map != host.uid_map:
        return False
    return None


# Of the host's namespaces there are few, in which there are many.
_namespace = functools.lru_cache(1024)(Namespace)


def _member(
    unit: _Unit,
    by_key: Mapping[tuple[str, Hashable], Sequence[_Unit]],
    host: Process | None,
    hosts: Sequence[Hashable | None],
) -> Member:
    process = unit.process
    namespaces = {}
    for kind, key, its in zip(KINDS, unit.keys, hosts, strict=True):
        told = key is not None and its is not None
        is_host = key == its if told else _is_host(process, kind, host)
        if key is None and is_host is None:
            continue
        inode = process.namespaces.get(kind)
        # Nearly everybody may be in one of the host's: nobody is named there.
        others = [] if is_host else [u for u in by_key.get((kind, key), ()) if u is not unit]
        if others:
            mates = [u for u in others if unit.pod is not None and u.pod == unit.pod]
            strangers = sorted(u.name for u in others if unit.pod is None or u.pod != unit.pod)
            namespaces[kind] = Namespace(inode, is_host, bool(mates), tuple(strangers))
        else:
            namespaces[kind] = _namespace(inode, is_host, certain=key is not None)
    return Member(
        unit.name,
        unit.container.cgroup.path,
        unit.pod,
        process.pid,
        namespaces,
        unit.sandbox,
        outside_id(process.uid_map, 0),
        outside_id(process.gid_map, 0),
    )


def _pod(pod: Pod, its: Sequence[_Unit], members: Mapping[int, Member]) -> Member:
    """A pod's namespaces: those that all of it is in."""
    name, path = name_of_pod(pod), pod.cgroup.path
    namespaces = {}
    for place, kind in enumerate(KINDS):
        keys = {unit.keys[place] for unit in its}
        if len(keys) == 1 and None not in keys:
            one = members[id(its[0])].namespaces[kind]
            namespaces[kind] = Namespace(one.inode, one.host, False, one.containers)
    return Member(name, path, None, None, namespaces)


def _counts(members: _Members, host: Process | None, sweep: Sweep) -> Mapping[str, HostCount]:
    """Count the host's namespaces of each kind, as far as all of them are known."""
    paths = {member.path for member in (*members.containers, *members.sandboxes)}
    contained = {group for group in sweep.groups if _container_of(group, paths)}
    counts = {}
    for index, kind in enumerate(KINDS):
        used: set[Hashable] = set()
        of_containers: set[Hashable] = set()
        for group in sweep.groups:
            key = group.links.net_dev if sweep.denied else group.links.inodes[index]
            if key is not None:
                used.add(key)
                if group in contained:
                    of_containers.add(key)
        if not sweep.denied:
            mounted = {mount.inode for mount in sweep.mounts if mount.kind == kind} - used
            own = host.namespaces.get(kind) if host else None
            free = (used | mounted) - of_containers - {own}
            counts[kind] = HostCount(len(used | mounted), len(free), len(mounted))
        elif kind == "net":
            # What mounts keep goes by another inode than net/dev: not comparable, not known.
            own_net = host.net_dev if host else None
            counts[kind] = HostCount(len(used), len(used - of_containers - {own_net}))
    return counts


def _container_of(group: Group, containers: Collection[str]) -> str | None:
    """The container that processes are in: whose cgroup theirs is, or is below."""
    for path in group.paths:
        above = path
        while above:
            if above in containers:
                return above
            above = above.rpartition("/")[0]
    return None


def host_namespaces(view: View, sweep: Sweep) -> Sequence[HostNamespace]:
    """Every namespace of the host that may be seen, and what keeps it."""
    inventory = view.namespaces
    names = {m.path: m.name for m in (*inventory.containers, *inventory.sandboxes)}
    members: dict[tuple[str, int], list[Seen]] = {}
    for seen in sweep.processes:
        for kind, inode in zip(KINDS, seen.group.links.inodes, strict=True):
            if inode is not None:
                members.setdefault((kind, inode), []).append(seen)
    mounts: dict[tuple[str, int], set[str]] = {}
    for mount in sweep.mounts:
        mounts.setdefault((mount.kind, mount.inode), set()).add(mount.mount_point)
    descriptors = sweep.open_namespaces()
    found = []
    for kind, inode in sorted(members.keys() | mounts.keys() | descriptors.keys()):
        its = members.get((kind, inode), [])
        eldest = min(its, key=lambda one: (one.started, one.pid), default=None)
        containers = {_container_of(one.group, names) for one in its} - {None}
        found.append(
            HostNamespace(
                kind,
                inode,
                inventory.host.get(kind) == inode,
                sorted(names[path] for path in containers if path),
                len(its),
                eldest.pid if eldest else None,
                eldest.comm if eldest else "",
                sorted(mounts.get((kind, inode), ())),
                descriptors.get((kind, inode), ()),
            )
        )
    return found
