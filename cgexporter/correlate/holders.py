"""Which containers hold containers (kind, Docker in Docker), and which only seem to.

Who may make cgroups in a container may call them as runtimes call theirs. A container is believed
to hold others only where one of those runs apart from it: docs/decisions/0007-sums.md.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from cgexporter.correlate.processes import Process


class Unit(NamedTuple):
    """A container, or a pod, which has no process of its own."""

    path: str
    inode: int
    parent_path: str | None
    process: Process | None = None


@dataclass(slots=True)
class Holders:
    """Finds them, and remembers what was proven while the cgroups live.

    Attributes:
        own: paths of the cgroups that hold all that is seen, such as that of the container we
            run in: no reason for doubt.
    """

    own: frozenset[str]
    _populated: dict[str, int] = field(default_factory=dict)  # inode of those with a process once
    _apart: dict[tuple[str, str], int] = field(default_factory=dict)  # inner and outer; its inode

    def among(
        self, containers: Iterable[Unit], pods: Iterable[Unit], *, certain: bool
    ) -> Mapping[str, bool]:
        """Of each container with others below it by their names, whether it holds any.

        Args:
            containers: all of them.
            pods: all of them.
            certain: a container without a process has none. Otherwise it may not be found yet.
        """
        containers = list(containers)
        nested = [unit for unit in containers if unit.parent_path is not None]
        nested_pods = [unit for unit in pods if unit.parent_path is not None]
        if not nested and not nested_pods:
            self._populated, self._apart = {}, {}
            return {}
        by_path = {unit.path: unit for unit in containers}
        below: dict[str, list[Unit]] = {}
        for unit in nested_pods:
            for outer in parents(unit.path):
                if outer in by_path:
                    below.setdefault(outer, [])
        for unit in nested:
            for outer in parents(unit.path):
                if outer in by_path:
                    below.setdefault(outer, []).append(unit)
        concerned = [by_path[path] for path in below] + nested
        self._populated = {
            unit.path: unit.inode
            for unit in concerned
            if unit.process is not None or self._populated.get(unit.path) == unit.inode
        }
        before, self._apart = self._apart, {}
        return {
            path: not certain or self._holds(by_path[path], inner, before)
            for path, inner in below.items()
        }

    def _holds(
        self, outer: Unit, inner: Sequence[Unit], before: Mapping[tuple[str, str], int]
    ) -> bool:
        verdicts = {self._is_apart(unit, outer, before) for unit in inner}
        if True in verdicts or None in verdicts or outer.path in self.own:
            return True
        # Where nobody is seen, as in a captured tree, the names are all there is.
        return not any(unit.path in self._populated for unit in (outer, *inner))

    def _is_apart(
        self, unit: Unit, outer: Unit, before: Mapping[tuple[str, str], int]
    ) -> bool | None:
        pair = (unit.path, outer.path)
        apart: bool | None = before.get(pair) == unit.inode
        if not apart and unit.process is not None:
            apart = unit.process.is_apart_from(outer.process)
        if apart:
            self._apart[pair] = unit.inode
        return apart


def parents(path: str) -> Iterator[str]:
    """The paths above one, the nearest first, without the root's."""
    while path := path.rpartition("/")[0]:
        yield path
