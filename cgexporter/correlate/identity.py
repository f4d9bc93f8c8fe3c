"""Snapshot → View: which cgroups are containers, pods and parts of the host."""

import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter, is_
from typing import Any

from cgexporter.correlate.each import Each
from cgexporter.correlate.facts import NOBODY, NOTHING, Facts, Told
from cgexporter.correlate.holders import Holders, Unit, parents
from cgexporter.correlate.looks import Looked, Looks
from cgexporter.correlate.paths import Level, Place, classify
from cgexporter.correlate.processes import Process, read_init
from cgexporter.correlate.sweep import Sweep
from cgexporter.correlate.view import Container, Pod, View
from cgexporter.hierarchies import Hierarchies
from cgexporter.model import SECTIONS, Cgroup, Snapshot, cpu, io_more, memory, tasks
from cgexporter.walker import is_due

# What kubelet and the runtimes give each pod sandbox; lowering a score needs
# CAP_SYS_RESOURCE. Source: kubernetes pkg/kubelet/qos/policy.go, containerd and CRI-O.
_SANDBOX_OOM_SCORE_ADJ = -998
# Runtimes that run a container in a cgroup below its own, by the name of that cgroup.
_PAYLOADS = {"podman": "container", "systemd-nspawn": "payload"}
_HEX_ID = re.compile(r"[0-9a-f]{64}")
_UNIT = re.compile(r"\.(slice|service|mount|socket|swap|device|automount|path|target|timer)$")


def rank(path: str) -> int | None:
    """Which cgroups to read, and which first when there are too many: see `Scanner`."""
    place = classify(path)
    if place.level is Level.CONTAINER:
        return 0
    if place.level is Level.POD or _is_payload(path, place):
        return 1
    if place.level is Level.CGROUP:
        return 2
    return 3 if _is_started_in_unit(path, place) else None


def _is_started_in_unit(path: str, place: Place) -> bool:
    """Whether a cgroup lies directly in a session or service, and may be a container.

    On v1 a runtime that is given no path makes the container's cgroup below its own, in the
    hierarchies where systemd has put it into one.
    """
    above = path.rpartition("/")[0]
    unit = above.rpartition("/")[2]
    return (
        place.level is Level.INSIDE
        and place.container_path is None
        and place.pod_path is None
        and unit.endswith((".scope", ".service"))
        and not unit.startswith("user@")
    )


@functools.lru_cache(maxsize=8192)
def owns_below(path: str) -> bool:
    """Whether what runs in a cgroup may make cgroups below it: see `Scanner`."""
    place = classify(path)
    if place.level in (Level.CONTAINER, Level.INSIDE):
        return True
    return place.level is Level.CGROUP and path.endswith((".service", ".scope"))


def _is_payload(path: str, place: Place) -> bool:
    """Whether a cgroup is the one below a container's in which its runtime runs it."""
    outer = place.container_path
    if place.level is not Level.INSIDE or outer is None:
        return False
    name = _PAYLOADS.get(classify(outer).runtime or "")
    return name is not None and path == f"{outer}/{name}"


@dataclass(slots=True)
class _Known(Looked):
    """What is kept of a cgroup from one scan to the next."""

    place: Place = field(kw_only=True)
    isolated: bool = False
    merged_of: tuple[Cgroup, Cgroup] | None = None
    merged: Cgroup | None = None
    owner: Any = None  # the container or pod that it is


_Cgroups = Sequence[tuple[str, int, bool]]
# Of a view, its lists of owners, and what else does not depend on samples.
_ROLES = ("containers", "pods", "sandboxes", "found", "holders")
_OTHERS = ("denied", "holding", "imitated", "unproven", "host")


@dataclass(frozen=True, slots=True)
class _Roles:
    """Who is what in a view, which stays so while nobody comes, goes or turns out to be another.

    Attributes:
        of: each cgroup's path, inode, and whether it is a leaf.
        grounds: what else it was found out of: see `Correlator._grounds`.
        looked: those whose processes tell what they are.
        merged: containers with something of a payload's cgroup.
        owners: by list of the view, the paths of who is in it, and how a cgroup becomes one.
        cgroups: paths of the others; containers that hold others are among them.
        others: what else a view says, by name.
    """

    of: _Cgroups
    grounds: Sequence[object]
    looked: Sequence[Looked]
    merged: Sequence[_Known]
    owners: Mapping[str, tuple[Sequence[str], Each[Cgroup, Any]]]
    cgroups: Sequence[str]
    others: Mapping[str, Any]

    def view(self, snapshot: Snapshot) -> View:
        """A view of other samples, in which everybody is who he was."""
        cgroups = snapshot.cgroups
        if self.merged:
            merged = {known.path: _with_payload(known, cgroups) for known in self.merged}
            cgroups = {**cgroups, **merged}
        owners: dict[str, Any] = {
            name: each.of([cgroups[path] for path in paths])
            for name, (paths, each) in self.owners.items()
        }
        return View(
            snapshot=snapshot,
            cgroups=[cgroups[path] for path in self.cgroups],
            **owners,
            **self.others,
        )


class Correlator:
    """Finds out whose cgroup is whose, and remembers it while the cgroup lives."""

    def __init__(self, hierarchies: Hierarchies, sweep: Sweep | None = None) -> None:
        self.hierarchies = hierarchies
        self._looks = Looks(hierarchies, sweep)
        self._known: dict[str, _Known] = {}
        self._host: Process | None = None
        self._scans = 0
        roots = {tree.root.rstrip("/") for tree in hierarchies.all}
        self._holders = Holders(frozenset(p for r in roots for p in (r, *parents(r))))
        self._roles: _Roles | None = None

    def correlate(self, snapshot: Snapshot, told: Told = NOBODY) -> View:
        """Give each cgroup of a snapshot its owner, with what was told of it."""
        if is_due(self._scans):
            host = read_init(self.hierarchies.procfs)
            if host != self._host:
                self._host = host
        self._scans += 1
        self._looks.begin()
        of = [(path, cgroup.inode, cgroup.leaf) for path, cgroup in snapshot.cgroups.items()]
        if (roles := self._roles) is not None and roles.of == of:
            for known in roles.looked:
                self._looks.look(known)
            if all(map(is_, roles.grounds, self._grounds(told))):
                return roles.view(snapshot)
        view = self._find(snapshot, told)
        self._roles = self._roles_in(view, of, self._grounds(told))
        return view

    def catch_up(self) -> None:
        """Look again at what seldom changes, between two scans, so that no scrape waits for it."""
        self._looks.catch_up()

    def look_again(self, path: str) -> Process | None:
        """Read the first process of a container anew, whose last one is no longer there."""
        known = self._known[path]
        gone = known.process
        for other in self._known.values():  # it may be in a cgroup of each v1 hierarchy
            if other.process == gone:
                other.search = True
        self._looks.look_now(known)
        return known.process

    def _grounds(self, told: Told) -> Sequence[object]:
        """What else than its cgroups a view depends on; the same objects where it is the same."""
        return told, self._host, self._looks.certain, self._looks.known

    def _find(self, snapshot: Snapshot, told: Told) -> View:
        self._known = {path: self._know(cgroup) for path, cgroup in snapshot.cgroups.items()}
        containers: list[Container] = []
        pods: list[Pod] = []
        rest: list[Cgroup] = []
        promoted: set[str] = set()
        for path, cgroup in snapshot.cgroups.items():
            known = self._known[path]
            level, place = known.place.level, known.place
            if promoted and (outer := _enclosing(path, promoted)) is not None:
                if level in (Level.CGROUP, Level.INSIDE):
                    continue  # the container's own
                if place.parent_path is None:
                    place = replace(place, parent_path=outer)
            elif level in (Level.CGROUP, Level.INSIDE) and self._is_container(known):
                promoted.add(path)
                level = Level.CONTAINER
                place = Place(level=level, container_path=path)
            if level is Level.CONTAINER:
                known.descend = not cgroup.leaf
                self._looks.look(known)
                facts = told.get((path, cgroup.inode), NOTHING)
                containers.append(_container(known, snapshot, place, facts))
            elif level is Level.POD:
                facts = told.get((path, cgroup.inode), NOTHING)
                known.owner = pod = Pod(cgroup, place, place.pod_uid or path, facts)
                pods.append(pod)
            elif level is Level.CGROUP:
                rest.append(cgroup)
        containers = _joined(containers)
        holds = self._holders.among(
            (
                Unit(c.cgroup.path, c.cgroup.inode, c.place.parent_path, c.process)
                for c in containers
            ),
            (Unit(pod.cgroup.path, pod.cgroup.inode, pod.place.parent_path) for pod in pods),
            certain=self._looks.certain,
        )
        return replace(_view(snapshot, containers, pods, rest, holds), host=self._host)

    def _know(self, cgroup: Cgroup) -> _Known:
        known = self._known.get(cgroup.path)
        if known is None or known.inode != cgroup.inode:
            known = _Known(cgroup.path, cgroup.inode, place=classify(cgroup.path))
        return known

    def _is_container(self, known: _Known) -> bool:
        """Whether the processes prove a container where the path proves nothing.

        runc by hand, ctr and other tools choose paths of no known form. In a service only a PID
        namespace of its own proves one: systemd gives services other namespaces of their own,
        and some make cgroups below theirs (systemd-udevd).
        """
        path = known.path
        if path == "/" or _UNIT.search(path) or known.place.container_path is not None:
            return False
        known.descend = False
        self._looks.look(known)
        process = known.process
        if process is None:
            return known.isolated
        in_unit = known.place.level is Level.INSIDE
        if process.nested if in_unit else process.is_isolated_from(self._host):
            known.isolated = True  # and stays it when the process has exited
        return known.isolated

    def _roles_in(self, view: View, of: _Cgroups, grounds: Sequence[object]) -> _Roles | None:
        """The roles of a view; None where a container is made of several, or goes by its path."""
        known = self._known
        owners = {name: getattr(view, name) for name in _ROLES}
        if any(known[c.cgroup.path].owner is not c for its in owners.values() for c in its):
            return None
        return _Roles(
            of=of,
            grounds=grounds,
            looked=[each for each in known.values() if each.first],
            merged=[known[c.cgroup.path] for c in view.found if known[c.cgroup.path].merged],
            owners={
                name: ([owner.cgroup.path for owner in its], Each(self._owner))
                for name, its in owners.items()
            },
            cgroups=[cgroup.path for cgroup in view.cgroups],
            others={name: getattr(view, name) for name in _OTHERS},
        )

    def _owner(self, cgroup: Cgroup) -> Container | Pod:
        """The container or pod that has a cgroup, as it is now."""
        known = self._known[cgroup.path]
        owner = known.owner = known.owner.with_cgroup(cgroup)
        return owner  # type: ignore[no-any-return]


def _with_payload(known: _Known, cgroups: Mapping[str, Cgroup]) -> Cgroup:
    """A container's cgroup with what its runtime put on a cgroup below."""
    cgroup = cgroups[known.path]
    name = _PAYLOADS.get(known.place.runtime or "")
    payload = cgroups.get(f"{known.path}/{name}") if name else None
    if payload is None:
        return cgroup
    of = known.merged_of
    if of is None or of[0] is not cgroup or of[1] is not payload:
        known.merged_of = (cgroup, payload)
        known.merged = _merge(cgroup, payload)
    return known.merged or cgroup


def _container(known: _Known, snapshot: Snapshot, place: Place, facts: Facts) -> Container:
    """The container of a cgroup; the same object as before where nothing changed."""
    cgroup = _with_payload(known, snapshot.cgroups)
    last = known.owner
    if (
        not isinstance(last, Container)
        or last.process is not known.process
        or last.facts is not facts
        or last.place != place
    ):
        last = Container(cgroup, place, _id(cgroup.path, place), known.process, facts)
    known.owner = last = last.with_cgroup(cgroup)
    return last


def _enclosing(path: str, paths: set[str]) -> str | None:
    """The nearest of `paths` above a path."""
    while path := path.rpartition("/")[0]:
        if path in paths:
            return path
    return None


def _merge(outer: Cgroup, payload: Cgroup) -> Cgroup:
    """The container is the outer cgroup; its limit is the stricter of both."""
    changed: dict[str, object] = {}
    if outer.cpu and payload.cpu:
        changed["cpu"] = cpu.with_payload(outer.cpu, payload.cpu)
    if outer.memory and payload.memory:
        changed["memory"] = memory.with_payload(outer.memory, payload.memory)
    if outer.pids and payload.pids:
        changed["pids"] = tasks.with_payload(outer.pids, payload.pids)
    if payload.io_limits:
        changed["io_limits"] = io_more.with_payload(outer.io_limits or (), payload.io_limits)
    return outer.changed(**changed)


def _id(path: str, place: Place) -> str:
    if place.container_id:
        full = place.container_id
        return full[:12] if _HEX_ID.fullmatch(full) else full
    return "" if place.container_name else path.rpartition("/")[2]


def _view(
    snapshot: Snapshot,
    found: Sequence[Container],
    pods: Sequence[Pod],
    rest: list[Cgroup],
    holds: Mapping[str, bool],
) -> View:
    imitated = frozenset(path for path, does in holds.items() if not does)
    unproven = 0
    if imitated:
        unproven = len(found) + len(pods)
        found = [c for c in found if imitated.isdisjoint(parents(c.cgroup.path))]
        pods = [pod for pod in pods if imitated.isdisjoint(parents(pod.cgroup.path))]
        unproven -= len(found) + len(pods)
    sandbox_paths = _sandbox_paths(found)
    containers = [c for c in found if c.cgroup.path not in sandbox_paths]
    # A container that holds containers (kind, Docker in Docker) is no leaf: summed with
    # them it would count twice, so it is published as the holder it is.
    holders = {c.place.parent_path for c in containers} | {p.place.parent_path for p in pods}
    holding = [c for c in containers if c.cgroup.path in holders]
    rest.extend(c.cgroup for c in holding)
    outer = _pods_around(pods)
    rest.extend(pod.cgroup for pod in pods if pod.cgroup.path in outer)
    pods = [pod for pod in pods if pod.cgroup.path not in outer]
    rest.sort(key=lambda cgroup: cgroup.path)
    return View(
        snapshot=snapshot,
        containers=_with_unique_ids([c for c in containers if c.cgroup.path not in holders]),
        pods=_with_unique_uids(pods),
        cgroups=rest,
        sandboxes=[c for c in found if c.cgroup.path in sandbox_paths],
        found=found,
        denied=any(c.process is not None and c.process.denied for c in found),
        holders=holding,
        holding=frozenset((*(c.cgroup.path for c in holding), *outer)),
        imitated=imitated,
        unproven=unproven,
    )


def _pods_around(pods: Sequence[Pod]) -> set[str]:
    """Paths of the pods in whose containers others run: published as the holders they are."""
    paths = {pod.cgroup.path for pod in pods}
    around: set[str] = set()
    for pod in pods:
        path = pod.cgroup.path
        while path:
            path = path.rpartition("/")[0]
            if path in paths:
                around.add(path)
    return around


def _joined(found: Sequence[Container]) -> list[Container]:
    """One container for one process, also where each v1 hierarchy has it at another path.

    runc started inside a cgroup of one hierarchy makes the container's below that one, and
    at the top of the others. The cgroup that tells most gives the path; what it lacks comes
    from the others.
    """
    by_process: dict[tuple[int, int], list[Container]] = {}
    joined = []
    for container in found:
        if container.process is None:
            joined.append(container)
        else:
            key = (container.process.pid, container.process.started)
            by_process.setdefault(key, []).append(container)
    for parts in by_process.values():
        if len(parts) == 1:
            joined += parts
            continue
        parts.sort(key=lambda part: -len(part.cgroup.trees))
        main = parts[0]
        for part in parts[1:]:
            if main.cgroup.trees & part.cgroup.trees:
                joined.append(part)  # a process that has moved, seen in both
            else:
                main = replace(main, cgroup=_united(main.cgroup, part.cgroup))
        joined.append(main)
    joined.sort(key=attrgetter("cgroup.path"))
    return joined


def _united(main: Cgroup, part: Cgroup) -> Cgroup:
    """One cgroup of two that are in different hierarchies: each has what the other lacks."""
    sections = {name: _filled(getattr(main, name), getattr(part, name)) for name in SECTIONS}
    return main.changed(trees=main.trees | part.trees, **sections)


def _filled(main: Any, part: Any) -> Any:
    """A section with what it lacks taken from another's."""
    if not main or not part or not hasattr(main, "_fields"):
        return main or part
    return main._make(b if a is None else a for a, b in zip(main, part, strict=True))


def _sandbox_paths(containers: Iterable[Container]) -> frozenset[str]:
    """The cgroups that hold a pod's sandbox (pause) and none of its containers.

    Old kubelets gave the sandbox's score to Guaranteed containers too: where it does not
    tell one from the others it tells nothing, and all are published.
    """
    candidates: dict[str, list[str]] = {}
    proven = set()
    for container in containers:
        pod_path, path = container.place.pod_path, container.cgroup.path
        if container.place.sandbox or container.facts.sandbox:
            proven.add(path)
        elif pod_path is not None and container.place.qos_class is not None:
            process, told = container.process, container.facts.sandbox
            looks_so = process is not None and process.oom_score_adj == _SANDBOX_OOM_SCORE_ADJ
            if looks_so and told is None:
                candidates.setdefault(pod_path, []).append(path)
    proven.update(paths[0] for paths in candidates.values() if len(paths) == 1)
    return frozenset(proven)


def _with_unique_ids(containers: Sequence[Container]) -> list[Container]:
    """No two containers under one name: who cannot keep an ID goes by its path."""
    contested = _contested([(c.id or (c.name,), c.cgroup.path, c.place) for c in containers])
    return [replace(c, id=c.cgroup.path) if c.cgroup.path in contested else c for c in containers]


def _with_unique_uids(pods: Sequence[Pod]) -> list[Pod]:
    """No two pods under one UID: who cannot keep it goes by its path."""
    contested = _contested([(pod.uid, pod.cgroup.path, pod.place) for pod in pods])
    return [replace(p, uid=p.cgroup.path) if p.cgroup.path in contested else p for p in pods]


def _contested(claims: Sequence[tuple[object, str, Place]]) -> set[str]:
    """Paths of the cgroups whose name is claimed by another with at least as much right.

    A name stays with the one claimant that neither a container nor a service (a user's own
    tree among them) could have made.
    """
    if len({name for name, _, _ in claims}) == len(claims):
        return set()
    by_name: dict[object, list[tuple[str, Place]]] = {}
    for name, path, place in claims:
        by_name.setdefault(name, []).append((path, place))
    contested: set[str] = set()
    for claimants in by_name.values():
        if len(claimants) > 1:
            sure = [path for path, place in claimants if not _is_delegated(path, place)]
            keeper = sure[0] if len(sure) == 1 else None
            contested.update(path for path, _ in claimants if path != keeper)
    return contested


def _is_delegated(path: str, place: Place) -> bool:
    return place.parent_path is not None or ".service/" in path
