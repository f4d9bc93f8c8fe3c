"""Limits as they act, and what the root cgroup has by way of procfs."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from cgexporter.correlate.each import Each
from cgexporter.correlate.view import Container, View
from cgexporter.model import Cgroup, Snapshot
from cgexporter.model.effective import Effective
from cgexporter.model.machine import Machine
from cgexporter.model.memory import Memory, working_set
from cgexporter.model.tasks import Pids

SELF, CPUSET, MACHINE = "self", "cpuset", "machine"


@dataclass(frozen=True, slots=True)
class _Acting:
    """A limit and the path of the cgroup that sets it, CPUSET or MACHINE."""

    limit: float | None = None
    by: str | None = None

    def stricter(self, limit: float | None, by: str) -> "_Acting":
        """This one, or another that is stricter."""
        if limit is None or (self.limit is not None and limit >= self.limit):
            return self
        return _Acting(limit, by)


@dataclass(frozen=True, slots=True)
class _Limits:
    """What acts on a cgroup and on all below it."""

    cpu: _Acting
    memory: _Acting
    pids: _Acting


@dataclass(slots=True)
class _Known:
    """What was found out of one cgroup, and of what."""

    own: tuple[float | None, ...]
    above: _Limits
    limits: _Limits
    effective: Effective
    cgroup: Cgroup | None = None
    with_effective: Cgroup | None = None


class Limits:
    """Finds the effective limits of each container, pod and cgroup.

    Everything is the same object as before where nothing changed.
    """

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}
        self._seen: Mapping[str, Cgroup] = {}  # what they were found out of
        self._machine: tuple[tuple[float | None, ...], _Limits] | None = None
        self._containers = Each(self._limited_container)

    def act_on(self, view: View) -> View:
        """Give each cgroup of a view its effective limits."""
        machine = self._of_machine(view.snapshot.machine)
        # With what is merged into containers. Ancestors come before those below them.
        cgroups = {**view.snapshot.cgroups, **{c.cgroup.path: c.cgroup for c in view.containers}}
        if not self._are_known(cgroups):
            known: dict[str, _Known] = {}
            for path, cgroup in cgroups.items():
                known[path] = self._find(cgroup, _above(path, known, machine))
            self._known = known
            self._containers.forget()
        self._seen = cgroups
        return replace(
            view,
            containers=self._containers.of(view.containers),
            pods=[pod.with_cgroup(self._limited(pod.cgroup)) for pod in view.pods],
            cgroups=[self._limited(cgroup) for cgroup in view.cgroups],
        )

    def _are_known(self, cgroups: Mapping[str, Cgroup]) -> bool:
        """Whether nobody came or went, and each limit is what it was."""
        before = self._seen
        return before.keys() == cgroups.keys() and all(
            self._find(cgroup, known.above) is known
            for path, cgroup in cgroups.items()
            if cgroup is not before[path] and (known := self._known[path])
        )

    def _limited(self, cgroup: Cgroup) -> Cgroup:
        known = self._known.get(cgroup.path)
        return cgroup if known is None else _with_effective(cgroup, known)

    def _limited_container(self, container: Container) -> Container:
        return container.with_cgroup(self._limited(container.cgroup))

    def _of_machine(self, machine: Machine) -> _Limits:
        own = (machine.cpus, machine.memory.mem_total, machine.tasks_max)
        if self._machine is None or self._machine[0] != own:
            limits = (_Acting(limit, None if limit is None else MACHINE) for limit in own)
            self._machine = (own, _Limits(*limits))
            self._seen = {}  # all are to be found anew
        return self._machine[1]

    def _find(self, cgroup: Cgroup, above: _Limits) -> _Known:
        known = self._known.get(cgroup.path)
        if known is not None and known.cgroup is cgroup and known.above is above:
            return known
        cpu, memory, pids, cpuset = cgroup.cpu, cgroup.memory, cgroup.pids, cgroup.cpuset
        own = (
            cpu.limit_cores if cpu else None,
            memory.max_bytes if memory else None,
            pids.max if pids else None,
            cpuset.cpus if cpuset else None,
        )
        if known is not None and known.own == own and known.above is above:
            return known
        path = cgroup.path
        limits = _Limits(
            # cgroup.cpuset is what ancestors leave of it.
            above.cpu.stricter(own[3] or None, CPUSET).stricter(own[0], path),
            above.memory.stricter(own[1], path),
            above.pids.stricter(own[2], path),
        )
        effective = Effective(
            limits.cpu.limit,
            limits.memory.limit,
            limits.pids.limit,
            _setter(limits.cpu, path),
            _setter(limits.memory, path),
            _setter(limits.pids, path),
        )
        if known is not None and known.effective == effective:
            effective = known.effective
        return _Known(own, above, limits, effective)


def _setter(acting: _Acting, path: str) -> str | None:
    return SELF if acting.by == path else acting.by


def _above(path: str, known: Mapping[str, _Known], machine: _Limits) -> _Limits:
    """What acts on a cgroup by its nearest ancestor that was read."""
    while path and path != "/":
        path = path.rpartition("/")[0] or "/"
        found = known.get(path)
        if found is not None:
            return found.limits
    return machine


def _with_effective(cgroup: Cgroup, known: _Known) -> Cgroup:
    if cgroup.effective is None:  # no view has it yet, and what the scanner makes of it keeps this
        cgroup.effective = known.effective
    if cgroup.effective is known.effective:
        known.cgroup = cgroup
        return cgroup
    if known.cgroup is not cgroup or known.with_effective is None:
        known.cgroup = cgroup
        known.with_effective = cgroup.changed(effective=known.effective)
    return known.with_effective


def with_root(snapshot: Snapshot, sections: AbstractSet[str]) -> Snapshot:
    """Fill in what cgroupfs does not offer for the root, from procfs.

    The root of v2 has no ``memory.current`` and no ``pids.*``. v1's ``memory.usage_in_bytes`` of
    the root is the sum of anonymous memory and page cache (mm/memcontrol.c, mem_cgroup_usage):
    so it is here, from the root's ``memory.stat`` or, without one, from /proc/meminfo.
    """
    root, machine = snapshot.cgroups.get("/"), snapshot.machine
    if root is None:
        return snapshot
    changed: dict[str, object] = {}
    if "memory" in sections and (root.memory is None or root.memory.current_bytes is None):
        changed["memory"] = _root_memory(root.memory or Memory(), machine)
    if "pids" in sections and (root.pids is None or root.pids.current is None):
        changed["pids"] = (root.pids or Pids())._replace(current=machine.tasks)
    if not changed:
        return snapshot
    cgroups = {**snapshot.cgroups, "/": root.changed(**changed)}
    return replace(snapshot, cgroups=cgroups)


def _root_memory(memory: Memory, machine: Machine) -> Memory:
    info = machine.memory
    parts: tuple[int | None, ...] = (memory.anon_bytes, memory.file_bytes)
    if None in parts:
        parts = (info.anon_pages, info.cached, info.buffers, info.swap_cached)
    current = None if None in parts else sum(part or 0 for part in parts)
    swap = None
    if info.swap_total is not None and info.swap_free is not None:
        swap = info.swap_total - info.swap_free
    inactive = memory.inactive_file_bytes
    return memory._replace(
        current_bytes=current,
        working_set_bytes=working_set(current, inactive),
        swap_current_bytes=swap,
    )
