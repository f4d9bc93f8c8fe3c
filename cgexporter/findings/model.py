"""A finding, and the window between two views that it is found in."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from typing import Any

from cgexporter.correlate.limits import CPUSET, MACHINE, SELF
from cgexporter.correlate.view import Container, View
from cgexporter.model import Cgroup, Mode
from cgexporter.resources.quantity import bytes_text

PAGE = 4096


class Harm(IntEnum):
    """How bad it is."""

    NOTE = 1  # works, but not as one would think
    WARNING = 2  # slow, or close to failing
    CRITICAL = 3  # processes were killed or forks refused while we looked


@dataclass(frozen=True, slots=True)
class Limit:
    """A file that causes a finding, and what it says."""

    cgroup: str
    file: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is wrong.

    Attributes:
        kind: one word, for scripts.
        harm: how bad it is; `weight` orders findings of the same kind and harm, greatest first.
        cause: what and why, in one line.
        container, pod: whom it is about, as in lists; `cgroup` is its path.
        evidence: lines with numbers, over the window where not said otherwise.
        limit: what causes it, own or an ancestor's; None where no file does.
        change: what to do.
        numbers: what the evidence says, in base units, for scripts.
    """

    kind: str
    harm: Harm
    cause: str
    container: str
    cgroup: str
    evidence: Sequence[str]
    change: str
    pod: str | None = None
    limit: Limit | None = None
    weight: float = 0.0
    numbers: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Case:
    """One cgroup of a container, pod or other part of the host, now and at the window's begin.

    Attributes:
        name: of the container, or of the pod or cgroup.
        was: None where it was not there then.
    """

    name: str
    path: str
    now: Cgroup
    was: Cgroup | None
    container: Container | None = None
    pod: str | None = None

    def number(self, section: str, name: str) -> Any:
        """What a field says now; None where it is not offered."""
        values = getattr(self.now, section)
        return None if values is None else getattr(values, name)

    def grown(self, section: str, name: str) -> float | None:
        """By how much a counter grew; None where that is not known."""
        now, was = self.number(section, name), None
        if self.was is not None and (values := getattr(self.was, section)) is not None:
            was = getattr(values, name)
        return None if now is None or was is None or now < was else now - was

    def finding(self, **what: Any) -> Finding:
        """A finding about it: the other attributes of `Finding`."""
        return Finding(container=self.name, pod=self.pod, cgroup=self.path, **what)


@dataclass(frozen=True)
class Window:
    """Two views, the same host's, and what lies between them."""

    before: View
    after: View

    @property
    def seconds(self) -> float:
        """How long it is; never 0."""
        return max(self.after.snapshot.started - self.before.snapshot.started, 1e-3)

    @property
    def unified(self) -> bool:
        """Whether controllers are on v2."""
        return self.after.snapshot.mode is Mode.UNIFIED

    @cached_property
    def _was(self) -> Mapping[str, Cgroup]:
        cgroups = dict(self.before.snapshot.cgroups)
        cgroups.update((c.cgroup.path, c.cgroup) for c in self.before.containers)
        return cgroups

    def _case(
        self, name: str, now: Cgroup, container: Container | None = None, pod: str | None = None
    ) -> Case:
        was = self._was.get(now.path)
        same = was is not None and was.inode == now.inode
        return Case(name, now.path, now, was if same else None, container, pod)

    @cached_property
    def containers(self) -> Sequence[Case]:
        """Each container."""
        return [
            self._case(one.title, one.cgroup, one, _pod_of(one)) for one in self.after.containers
        ]

    @cached_property
    def others(self) -> Sequence[Case]:
        """Each pod, slice and service, but not the root."""
        pods = []
        for pod in self.after.pods:
            facts = pod.facts
            names = [part for part in (facts.namespace, facts.pod) if part]
            pods.append(self._case(f"pod {'/'.join(names) or pod.uid}", pod.cgroup))
        rest = [self._case(one.path, one) for one in self.after.cgroups if one.path != "/"]
        return [*pods, *rest]

    def below(self, path: str) -> Sequence[Case]:
        """The containers of a cgroup that holds them."""
        return [case for case in self.containers if case.path.startswith(f"{path}/")]

    def place(self, path: str) -> Cgroup | None:
        """A cgroup by its path."""
        return self.after.snapshot.cgroups.get(path)

    @cached_property
    def root(self) -> Case | None:
        """The root cgroup."""
        root = self.after.snapshot.cgroups.get("/")
        return None if root is None else self._case("the node", root)

    @cached_property
    def busy(self) -> float | None:
        """Which part of the node's CPU time was used; None where that is not known."""
        cpus = self.after.snapshot.machine.cpus
        used = self.root.grown("cpu", "usage_seconds") if self.root else None
        return None if not cpus or used is None else min(1.0, used / self.seconds / cpus)

    def limit(self, cgroup: Cgroup, controller: str) -> Limit:
        """The file of a cgroup that limits CPU, memory or tasks, and its value."""
        if controller == "cpu":
            return self._cpu_limit(cgroup)
        if controller == "memory":
            value = cgroup.memory.max_bytes if cgroup.memory else None
            file = "memory.max" if self.unified else "memory.limit_in_bytes"
        else:
            value = cgroup.pids.max if cgroup.pids else None
            file = "pids.max"
        return Limit(cgroup.path, file, whole(value))

    def _cpu_limit(self, cgroup: Cgroup) -> Limit:
        cpu = cgroup.cpu
        period = round((cpu.period_seconds or 0) * 1e6) if cpu else 0
        cores = cpu.limit_cores if cpu else None
        quota = whole(None if cores is None else cores if cores == math.inf else cores * period)
        if self.unified:
            return Limit(cgroup.path, "cpu.max", f"{quota} {period}")
        return Limit(cgroup.path, "cpu.cfs_quota_us", quota)

    def acting(self, case: Case, controller: str) -> Limit | None:
        """The limit that acts on a cgroup, its own or an ancestor's; None where none does."""
        effective = case.now.effective
        setter = effective and getattr(effective, f"{controller}_limit_by")
        if setter in (None, CPUSET, MACHINE):
            return None
        cgroup = case.now if setter == SELF else self.place(str(setter))
        return None if cgroup is None else self.limit(cgroup, controller)


def _pod_of(container: Container) -> str | None:
    facts = container.facts
    names = [part for part in (facts.namespace, facts.pod) if part]
    return "/".join(names) or container.place.pod_uid


def whole(value: float | None) -> str:
    """A number as the kernel prints it."""
    if value is None:
        return "?"
    return "max" if value == math.inf else str(round(value))


def percent(part: float) -> str:
    """A part of 1: 0.834 is 83%."""
    return f"{100 * part:.0f}%"


def amount(count: float) -> str:
    """Bytes for people: exact where that is short, else to three digits."""
    exact = bytes_text(round(count))
    if count < 1024 or (exact.endswith("i") and len(exact) <= 6):
        return exact
    for unit in ("", "Ki", "Mi", "Gi", "Ti"):
        if count < 1000 or unit == "Ti":
            break
        count /= 1024
    return f"{count:.3g}{unit}"


def cores(count: float) -> str:
    """CPUs for people."""
    return f"{count:.2f}".rstrip("0").rstrip(".") + (" CPU" if count == 1 else " CPUs")


_ASKS = {
    # controller: in Kubernetes, with Docker and Podman, for anything else
    "cpu": ("resources.limits.cpu", "--cpus", "its CPU limit"),
    "memory": ("resources.limits.memory", "--memory", "its memory limit"),
    "pids": ("the kubelet's podPidsLimit", "--pids-limit", "its task limit"),
    "shares": ("resources.requests.cpu", "--cpu-shares", "its CPU shares"),
}


def more(case: Case, controller: str) -> str:
    """How a container gets more of something, in its manager's words."""
    kubernetes, option, plain = _ASKS[controller]
    container = case.container
    if case.pod is not None:
        return f"raise {kubernetes}"
    if container is not None and container.runtime in ("docker", "podman"):
        return f"raise {option} ({container.runtime} update {container.name or container.id})"
    return f"raise {plain}"


def iterate(window: Window) -> Iterator[tuple[Case, Case]]:
    """Each cgroup with the container that it is about: itself, or the busiest in it.

    Containers come first; a pod or slice without a container is left out.
    """
    for case in window.containers:
        yield case, case
    for case in window.others:
        if inner := window.below(case.path):
            yield case, max(inner, key=lambda one: one.grown("cpu", "usage_seconds") or 0)
