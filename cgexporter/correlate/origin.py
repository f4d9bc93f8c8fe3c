"""Where /proc/PID/cgroup counts from: the root of the exporter's own cgroup namespace.

Read from another cgroup namespace the paths are relative to its root: ``/../../init.scope``.
Source: cgroup_namespaces(7).
"""

import itertools
import logging

from cgexporter import kernel
from cgexporter.hierarchies import Hierarchies, Hierarchy
from cgexporter.kernel import Missing
from cgexporter.parse.core import parse_cgroup_procs
from cgexporter.parse.formats import ParseError
from cgexporter.parse.namespaces import CgroupLine, parse_cgroup_lines
from cgexporter.walker import Walker

log = logging.getLogger(__name__)

# How many cgroups are searched for the exporter's own, once.
_SEARCHED = 20_000


class Origin:
    """Makes paths of /proc/PID/cgroup absolute in each hierarchy."""

    def __init__(self, hierarchies: Hierarchies) -> None:
        self._hierarchies = hierarchies
        self._roots: dict[Hierarchy, str | None] = {}

    def paths(self, lines: list[CgroupLine]) -> tuple[str, ...]:
        """The cgroups of a process in the hierarchies that are read, each path once.

        A path is left out where it is relative and the exporter's own cgroup is not found.
        """
        paths: dict[str, None] = {}
        for line in lines:
            hierarchy = self._hierarchy(line)
            if hierarchy is not None and (path := self._absolute(hierarchy, line.path)):
                paths[path] = None
        return tuple(paths)

    def _hierarchy(self, line: CgroupLine) -> Hierarchy | None:
        if not line.controllers:
            return self._hierarchies.unified
        legacy = self._hierarchies.legacy
        return next((legacy[name] for name in line.controllers if name in legacy), None)

    def _absolute(self, hierarchy: Hierarchy, path: str) -> str | None:
        if hierarchy not in self._roots:
            self._roots[hierarchy] = self._find_root(hierarchy)
        root = self._roots[hierarchy]
        if root == "/":
            return path
        return None if root is None else normal(root, path)

    def _find_root(self, hierarchy: Hierarchy) -> str | None:
        """Find the root of our cgroup namespace: "/" where paths are not relative.

        PID 1 of the mounted procfs is never below a cgroup namespace's root that it is not
        in. The root is our own cgroup, which is the one that lists us, less our path below.
        """
        procfs = self._hierarchies.procfs
        first = self._line(f"{procfs}/1/cgroup", hierarchy)
        if first is None or first.split("/")[1] != "..":
            return "/"
        own = self._line(f"{procfs}/self/cgroup", hierarchy)
        pid = kernel.own_pid()
        walker = Walker(hierarchy.mount_point)
        for below, _, _ in itertools.islice(walker.walk(), _SEARCHED):
            with kernel.directory(hierarchy.mount_point + below) as fd:
                if isinstance(fd, Missing):
                    continue
                content = kernel.read_file(fd, "cgroup.procs")
            if isinstance(content, Missing) or pid not in parse_cgroup_procs(content):
                continue
            path = hierarchy.path(below)
            if own is not None and (path + "/").endswith(own.rstrip("/") + "/"):
                return path.removesuffix(own.rstrip("/")) or "/"
        log.warning(
            "the exporter's own cgroup is not below %s, so those of processes are not known: "
            "run it in the host's cgroup namespace",
            hierarchy.mount_point,
        )
        return None

    def _line(self, file: str, hierarchy: Hierarchy) -> str | None:
        content = kernel.read_path(file)
        if isinstance(content, Missing):
            return None
        try:
            lines = parse_cgroup_lines(content)
        except ParseError as exc:
            log.warning("%s: %s", file, exc)
            return None
        return next((line.path for line in lines if self._hierarchy(line) is hierarchy), None)


def normal(root: str, path: str) -> str:
    """The absolute path of one that is relative to `root`: each ``..`` is one up from there."""
    parts = [part for part in root.split("/") if part]
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part:
            parts.append(part)
    return "/" + "/".join(parts)
