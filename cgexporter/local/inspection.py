"""``cgexporter inspect``: which container is meant, and everything that is known about it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cgexporter.correlate.limits import CPUSET, MACHINE, SELF
from cgexporter.correlate.started_by import Ancestor, ancestry, daemons
from cgexporter.correlate.sweep import Sweep
from cgexporter.correlate.view import Container, View
from cgexporter.hierarchies import Hierarchies
from cgexporter.local.columns import pod_of
from cgexporter.local.rates import Rates, between
from cgexporter.model import Cgroup
from cgexporter.model.effective import Effective
from cgexporter.model.namespaces import Member
from cgexporter.model.network import Interface, NetworkNamespace

# A container's ID may be cut to so many digits.
_LEAST_DIGITS = 4
_SHOWN_CANDIDATES = 8
# Which file holds a limit, on v2 and on v1.
_FILES = {
    "cpu": ("cpu.max", "cpu.cfs_quota_us"),
    "memory": ("memory.max", "memory.limit_in_bytes"),
    "pids": ("pids.max", "pids.max"),
    "cpuset": ("cpuset.cpus", "cpuset.cpus"),
}


class NotOneError(Exception):
    """No container has this name, or several have; the message names candidates."""


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit of a container.

    Attributes:
        kind: cpu (cores), memory (bytes) or pids (tasks).
        own: of its own cgroup; None is not known, inf is none.
        effective: the least of its own, its ancestors', its cpuset and the machine.
        by: what sets it: a cgroup's path, ``cpuset`` or ``machine``.
        file: the file that sets it; None for the machine, or where nothing does.
    """

    kind: str
    own: float | None
    effective: float | None
    by: str | None
    file: str | None


@dataclass(frozen=True, slots=True)
class Inspection:
    """Everything that is known about one container.

    Attributes:
        ancestors: its cgroup and all above it, the root first.
        started_by: its first process, that one's parent and so on.
        daemons: engines that run on the host.
        member: its namespaces.
        network: the network namespace it is in, but for the host's.
        interfaces: of it, where they are counted: on it, its pod or another container.
        rates: since the scan before; None where there was none.
        seconds: between the two.
        below: paths of the cgroups below its own.
    """

    container: Container
    limits: Sequence[Limit]
    ancestors: Sequence[Cgroup]
    started_by: Sequence[Ancestor]
    daemons: Sequence[Ancestor]
    member: Member | None
    network: NetworkNamespace | None
    interfaces: Sequence[Interface]
    rates: Rates | None
    seconds: float
    below: Sequence[str] = ()

    @property
    def registry(self) -> str | None:
        """Where its image is from, as its name says; docker.io where it says nothing."""
        image = self.container.facts.image
        if image is None or image.startswith("sha256:"):
            return None
        first, slash, _ = image.partition("/")
        is_host = slash and ("." in first or ":" in first or first == "localhost")
        return first if is_host else "docker.io"

    @property
    def oci_runtime(self) -> str | None:
        """The program that set it up, where what it leaves tells."""
        comms = {each.comm for each in self.started_by[1:]}
        if self.container.runtime == "podman" and any(
            path.endswith("/container") for path in self.below
        ):
            return "crun"
        return "runc" if "containerd-shim" in comms else None


def found(view: View, sweep: Sweep, word: str) -> Sequence[Container]:
    """The container that a word means, or all containers of the pod.

    Args:
        view: of the host.
        sweep: knows which process is in which cgroup.
        word: a name, an ID or its first digits, a PID, a pod's name, NAMESPACE/POD or UID, or
            the path of a cgroup.

    Raises:
        NotOneError: it means none, or several.
    """
    containers = [*view.containers, *view.holders, *view.sandboxes]
    exact = [c for c in containers if word in (c.name, c.title, c.id, c.container_id)]
    exact = exact or [c for c in containers if c.cgroup.path == word]
    exact = exact or _of_process(containers, sweep, word)
    if not exact and len(word) >= _LEAST_DIGITS:
        exact = [c for c in containers if (c.container_id or "").startswith(word)]
    if not exact:
        pods = {p for p in map(pod_of, view.containers) if p}
        names = [p for p in pods if word in (p, p.partition("/")[2] or p)]
        its = [c for c in view.containers if pod_of(c) in names or word == c.place.pod_uid]
        if len({c.place.pod_path for c in its}) <= 1 and its:
            return its
        exact = its
    if len(exact) == 1:
        return exact
    if exact:
        titles = sorted(c.cgroup.path for c in exact)
        raise NotOneError(f"{word!r} is {len(exact)} containers: {_listed(titles)}")
    like = sorted(c.title for c in containers if word.lower() in f"{c.title} {pod_of(c)}".lower())
    titles = like or sorted(c.title for c in view.containers)
    hint = f"there {'is' if like else 'are'} {_listed(titles)}" if titles else "there is none"
    raise NotOneError(f"no container, pod or process in a container is {word!r}; {hint}")


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN_CANDIDATES
    shown = ", ".join(names[:_SHOWN_CANDIDATES])
    return f"{shown} and {more} more" if more > 0 else shown


def _of_process(containers: Sequence[Container], sweep: Sweep, word: str) -> list[Container]:
    if not word.isascii() or not word.isdecimal() or len(word) > 10:
        return []
    seen = next((each for each in sweep.processes if each.pid == int(word)), None)
    if seen is None:
        return []
    inside = [
        c
        for c in containers
        if any((path + "/").startswith(c.cgroup.path + "/") for path in seen.group.paths)
    ]
    return sorted(inside, key=lambda c: len(c.cgroup.path))[-1:]


def inspect(
    view: View,
    sweep: Sweep,
    hierarchies: Hierarchies,
    container: Container,
    before: View | None,
) -> Inspection:
    """Put together what is known about a container.

    Args:
        view: of the host.
        sweep: of all its processes.
        hierarchies: where its cgroups and its /proc are.
        container: one of the view.
        before: an earlier view, for rates; None for none.
    """
    path = container.cgroup.path
    process = container.process
    inventory = view.namespaces
    members = (*inventory.containers, *inventory.sandboxes)
    network = view.network_of(container)
    return Inspection(
        container,
        _limits(view, container, hierarchies),
        _ancestors(view, container),
        ancestry(hierarchies.procfs, process.pid) if process else (),
        daemons(sweep.processes),
        next((member for member in members if member.path == path), None),
        network,
        (network.network or ()) if network else (),
        *_changes(container, view, before),
        [other for other in view.snapshot.cgroups if other.startswith(f"{path}/")],
    )


def _changes(container: Container, view: View, before: View | None) -> tuple[Rates | None, float]:
    earlier = next(
        (
            c
            for c in (before.containers if before else ())
            if (c.cgroup.path, c.cgroup.inode) == (container.cgroup.path, container.cgroup.inode)
        ),
        None,
    )
    if before is None or earlier is None:
        return None, 0.0
    seconds = view.snapshot.started - before.snapshot.started
    return between(earlier.cgroup, container.cgroup, seconds), seconds


def _ancestors(view: View, container: Container) -> Sequence[Cgroup]:
    path = container.cgroup.path
    better = {pod.cgroup.path: pod.cgroup for pod in view.pods} | {path: container.cgroup}
    better |= {cgroup.path: cgroup for cgroup in view.cgroups}
    above = [path]
    while path := path.rpartition("/")[0]:
        above.append(path)
    cgroups = view.snapshot.cgroups
    chain = (better.get(each) or cgroups.get(each) for each in ("/", *reversed(above)))
    return [cgroup for cgroup in chain if cgroup is not None]


def _limits(view: View, container: Container, hierarchies: Hierarchies) -> Sequence[Limit]:
    cgroup, effective = container.cgroup, container.cgroup.effective or Effective()
    acting: Mapping[str, tuple[float | None, str | None]] = {
        "cpu": (effective.cpu_limit_cores, effective.cpu_limit_by),
        "memory": (effective.memory_limit_bytes, effective.memory_limit_by),
        "pids": (effective.pids_limit, effective.pids_limit_by),
    }
    limits = []
    for kind, (limit, by) in acting.items():
        own = _own(cgroup, kind)
        by = _payload(view, cgroup, kind) if by == SELF else by  # noqa: PLW2901
        file = None
        if by not in (None, MACHINE):
            file = _file(hierarchies, cgroup.path, "cpuset") if by == CPUSET else None
            file = file or _file(hierarchies, by or "", kind)
        limits.append(Limit(kind, own, limit, by, file))
    return limits


def _own(cgroup: Cgroup, kind: str) -> float | None:
    if kind == "cpu":
        return cgroup.cpu.limit_cores if cgroup.cpu else None
    if kind == "memory":
        return cgroup.memory.max_bytes if cgroup.memory else None
    return cgroup.pids.max if cgroup.pids else None


def _payload(view: View, cgroup: Cgroup, kind: str) -> str:
    """The container's cgroup, or the one below in which its runtime put the limit."""
    whole, limit = view.snapshot.cgroups.get(cgroup.path), _own(cgroup, kind)
    if whole is None or _own(whole, kind) == limit:
        return cgroup.path
    below = (f"{cgroup.path}/container", f"{cgroup.path}/payload")
    found = (view.snapshot.cgroups.get(path) for path in below)
    return next((one.path for one in found if one and _own(one, kind) == limit), cgroup.path)


def _file(hierarchies: Hierarchies, path: str, kind: str) -> str | None:
    """The file of a limit, in the hierarchy that has its controller."""
    legacy, unified = hierarchies.legacy.get(kind), hierarchies.unified
    if legacy is not None:
        return f"{legacy.directory(path)}/{_FILES[kind][1]}"
    return None if unified is None else f"{unified.directory(path)}/{_FILES[kind][0]}"
