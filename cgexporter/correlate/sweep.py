"""All processes of the host: which namespaces and cgroups they are in.

A sweep goes over /proc/PID in order, a little in each scan, and begins again when it is
through. What it knows of a process is kept by PID and start time. It reads a process when it
first meets it, soon again (runtimes unshare and move processes as they start them), then at
growing intervals of at most `RECHECK_SECONDS`. So a namespace that a process changes by
setns(2) or unshare(2) is seen after that and the time of one pass at the latest.
"""

import logging
import time
from collections import Counter
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from cgexporter import kernel
from cgexporter.correlate.origin import Origin
from cgexporter.correlate.processes import (
    KINDS,
    Links,
    nested_pids,
    read_birth,
    read_init,
    read_links,
)
from cgexporter.hierarchies import Hierarchies
from cgexporter.kernel import Missing
from cgexporter.parse.formats import ParseError
from cgexporter.parse.namespaces import NamespaceMount, parse_cgroup_lines, parse_namespace_mounts
from cgexporter.parse.proc import parse_namespace_link

log = logging.getLogger(__name__)

# The longest that what is known of a living process is trusted.
RECHECK_SECONDS = 60.0
# The first pass is in a hurry: what it has not met yet is not published.
_FIRST_SECONDS = 0.02
_MNT = KINDS.index("mnt")


class Group(NamedTuple):
    """What the processes of one container, and mostly all of them, have in common.

    Attributes:
        links: their namespaces.
        nested: they live in a PID namespace below the host's.
        paths: of their cgroups, one for all hierarchies or one for each.
    """

    links: Links
    nested: bool
    paths: tuple[str, ...]


@dataclass(slots=True)
class Seen:
    """One process, as it was when it was last read."""

    pid: int
    started: int
    comm: str
    inode: int
    group: Group
    first_seen: float
    read_at: float
    last_pass: int

    def is_due(self, now: float) -> bool:
        """Whether to read it again."""
        return now - self.read_at >= min(RECHECK_SECONDS, self.read_at - self.first_seen)


class Sweep:
    """Goes over all processes of a host, again and again.

    Args:
        hierarchies: of the host.
        seconds: how long it may take in one scan for each 100 containers begun, once it has
            been through for the first time.
    """

    def __init__(self, hierarchies: Hierarchies, seconds: float) -> None:
        self._procfs = hierarchies.procfs
        self._origin = Origin(hierarchies)
        self._seconds = seconds
        self._seen: dict[int, Seen] = {}
        self._groups: Counter[Group] = Counter()
        self._same: dict[Group, Group] = {}  # one object for all that are equal
        self._paths_of: dict[bytes, tuple[str, ...]] = {}
        self._by_path: dict[str, set[int]] = {}
        self._mounts: dict[int | None, tuple[NamespaceMount, ...]] = {}
        self._mounts_read: dict[int | None, float] = {}
        self._cursor: Generator[tuple[int, int], None, None] | None = None
        self._pass = 0
        self._pass_began = 0.0
        self._whole_pass_began = 0.0
        self.generation = 0
        self.complete = False
        self.pass_seconds = 0.0
        self.denied = False
        self.errors = 0

    @property
    def knows_host(self) -> bool:
        """Whether every process was looked at, PID 1 among them; a captured tree has few."""
        return self.complete and 1 in self._seen

    @property
    def groups(self) -> Mapping[Group, int]:
        """How many processes are in which namespaces and cgroups."""
        return self._groups

    @property
    def processes(self) -> Iterable[Seen]:
        """Every process that is known."""
        return self._seen.values()

    @property
    def mounts(self) -> Iterable[NamespaceMount]:
        """The bind mounts of namespaces, of every mount namespace that may be told apart."""
        return (mount for mounts in self._mounts.values() for mount in mounts)

    def news_of(self, pid: int, started: int, since: float) -> Seen | Missing | None:
        """What was seen of a process after a moment of `time.monotonic`.

        Returns:
            None for nothing yet, GONE where a whole pass since then did not meet it.
        """
        seen = self._seen.get(pid)
        if seen is not None and seen.started == started:
            return seen if seen.read_at > since else None
        return Missing.GONE if self._whole_pass_began > since else None

    def pids_in(self, path: str) -> Sequence[int]:
        """The processes in a cgroup, the eldest first."""
        seen = [self._seen[pid] for pid in self._by_path.get(path, ())]
        return [one.pid for one in sorted(seen, key=lambda one: (one.started, one.pid))]

    def open_namespaces(self) -> Mapping[tuple[str, int], Sequence[int]]:
        """Which processes have which namespaces open: PIDs by kind and inode.

        Looks at every descriptor of every process, which is no work for a scan.
        """
        found: dict[tuple[str, int], list[int]] = {}
        for pid in sorted(self._seen):
            with kernel.directory(f"{self._procfs}/{pid}") as fd:
                links = fd if isinstance(fd, Missing) else kernel.open_links(fd)
            for link in () if isinstance(links, Missing) else links:
                kind = link.partition(":")[0]
                if kind in KINDS and link.endswith("]"):
                    pids = found.setdefault((kind, parse_namespace_link(link)), [])
                    if pid not in pids:
                        pids.append(pid)
        return found

    def step(self, containers: int) -> None:
        """Go on for the time that one scan allows."""
        steady = self._seconds * max(1, -(-containers // 100))
        self._go_on(steady if self.complete else max(_FIRST_SECONDS, steady))

    def through(self) -> None:
        """Go on to the end of the pass, however long that takes."""
        self._go_on(float("inf"))

    def _go_on(self, seconds: float) -> None:
        clock = time.monotonic
        now = clock()
        deadline = now + seconds
        if self._cursor is None:
            self._cursor = kernel.processes(self._procfs)
            self._pass += 1
            self._pass_began = now
        seen, this_pass = self._seen, self._pass
        for pid, inode in self._cursor:
            known = seen.get(pid)
            if known is not None and known.inode == inode and not known.is_due(now):
                known.last_pass = this_pass
            else:
                self._visit(pid, inode, now)
            if clock() > deadline:
                return
        self._cursor = None
        self._end_pass(clock())

    def _visit(self, pid: int, inode: int, now: float) -> None:
        with kernel.directory(f"{self._procfs}/{pid}") as fd:
            if isinstance(fd, Missing):
                return  # it has exited; the end of the pass forgets it
            try:
                self._read(fd, pid, inode, now)
            except (ParseError, OSError) as exc:
                if not self.errors:
                    log.warning("process %d skipped: %s; more of these are only counted", pid, exc)
                self.errors += 1

    def _read(self, fd: int, pid: int, inode: int, now: float) -> None:
        known = self._seen.get(pid)
        same = known.group if known is not None and known.inode == inode else None
        birth = read_birth(fd)
        content = kernel.read_file(fd, "cgroup", alive="stat")
        links = read_links(fd, same and same.links)
        if birth is None or links is None or content is Missing.GONE:
            return
        if links.denied and pid == 1 and (init := read_init(self._procfs)):
            links = init.links
        paths = () if isinstance(content, Missing) else self._paths(content)
        if same is not None and links is same.links and paths == same.paths:
            group = same
        else:
            nested = links.denied and len(nested_pids(fd)) > 1
            group = Group(links, nested, paths)
            group = self._same.setdefault(group, group)
        if known is None or known.started != birth.started:
            self._forget(pid)
            self._seen[pid] = Seen(
                pid, birth.started, birth.comm, inode, group, now, now, self._pass
            )
            self._join(pid, group)
        else:
            if known.group is not group and known.group != group:
                self._leave(pid, known.group)
                self._join(pid, group)
            known.group, known.comm, known.inode = group, birth.comm, inode
            known.read_at, known.last_pass = now, self._pass
        if links.denied:
            self.denied = True
        mnt = links.inodes[_MNT]
        if (mnt is not None or pid == 1) and now - self._mounts_read.get(mnt, -1e9) >= min(
            RECHECK_SECONDS, self.pass_seconds
        ):
            self._read_mounts(fd, mnt, now)

    def _paths(self, content: bytes) -> tuple[str, ...]:
        """The cgroups in /proc/PID/cgroup, which many processes have in common."""
        paths = self._paths_of.get(content)
        if paths is None:
            paths = self._paths_of[content] = self._origin.paths(parse_cgroup_lines(content))
        return paths

    def _read_mounts(self, fd: int, mnt: int | None, now: float) -> None:
        content = kernel.read_of_task(fd, "mountinfo")
        if isinstance(content, Missing):
            return
        mounts = tuple(parse_namespace_mounts(content))
        self._mounts_read[mnt] = now
        if self._mounts.get(mnt, ()) != mounts:
            self._mounts[mnt] = mounts
            self.generation += 1

    def _join(self, pid: int, group: Group) -> None:
        self._groups[group] += 1
        self.generation += self._groups[group] == 1
        for path in group.paths:
            self._by_path.setdefault(path, set()).add(pid)

    def _leave(self, pid: int, group: Group) -> None:
        self._groups[group] -= 1
        if not self._groups[group]:
            del self._groups[group]
            # A PID that is used again leaves and joins the same group.
            self._same.pop(group, None)
            self.generation += 1
        for path in group.paths:
            pids = self._by_path[path]
            pids.discard(pid)
            if not pids:
                del self._by_path[path]

    def _forget(self, pid: int) -> None:
        known = self._seen.pop(pid, None)
        if known is not None:
            self._leave(pid, known.group)

    def _end_pass(self, now: float) -> None:
        for pid in [pid for pid, one in self._seen.items() if one.last_pass != self._pass]:
            self._forget(pid)
        self._paths_of.clear()
        living = {group.links.inodes[_MNT] for group in self._groups}
        for mnt in self._mounts_read.keys() - living:
            del self._mounts_read[mnt]
            if self._mounts.pop(mnt, ()):
                self.generation += 1
        self.pass_seconds = now - self._pass_began
        self._whole_pass_began = self._pass_began
        self.denied = any(group.links.denied for group in self._groups)
        if not self.complete:
            self.complete = True
            self.generation += 1

    def close(self) -> None:
        """Close the listing of /proc."""
        if self._cursor is not None:
            self._cursor.close()
            self._cursor = None
