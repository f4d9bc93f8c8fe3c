"""What happened between two scans: OOM kills, memory.high breaches and refused forks.

The counters of a cgroup go with it. A container that is killed and removed between two scans
would never be seen, so the kernel is asked to tell at once:

* inotify on directories tells of new cgroups, on v2's ``memory.events`` and on ``pids.events``
  of each count. Source: cgroup-v2.rst, "a file modified event is generated".
* v1's ``memory.oom_control`` signals an eventfd, registered in ``cgroup.event_control``, when
  the OOM killer begins, and once more when the cgroup is removed: so an OOM kill is known of
  even where the cgroup was gone before its counter could be read. It is counted then if the
  whole machine's counter (``oom_kill`` of /proc/vmstat) has one more than was found elsewhere.
  Source: cgroup-v1/memory.rst, "OOM Control" and "Memory thresholds". That file may be written
  by root alone, and not where cgroupfs is mounted read-only. There the machine's counter is
  looked at ten times a second, and the end of a container's last process is told on the v2 tree
  beside (``cgroup.events``): most kills are seen in time, not each.
* v1's ``pids.events`` tells nobody since Linux 6.12 (kernel/cgroup/pids.c, pids_event, notifies
  the file that only v2 has). A new container is read there again and again, ever more rarely.

On v2 a container may be gone before its counters are read: what the cgroups around it go on
counting tells of it (`outlived`).

What was counted stays with the pod, or else with the cgroup, around the container. All this is
a hint to look early. The walk of each scan is the truth: what has no watch is read then.
"""

import errno
import logging
import os
import select
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from cgexporter import inotify, kernel
from cgexporter.correlate.count_files import CountFiles
from cgexporter.correlate.counts import NOTHING, Counts, add, counts_of, less, most, times
from cgexporter.correlate.outlived import Outlived
from cgexporter.correlate.tiers import Tier
from cgexporter.correlate.view import Container, View
from cgexporter.hierarchies import Hierarchies, Hierarchy
from cgexporter.inotify import Inotify, Unwatched
from cgexporter.kernel import Missing
from cgexporter.model import Cgroup
from cgexporter.model.kept import Kept
from cgexporter.parse.proc import parse_oom_kills
from cgexporter.walker import Walker

log = logging.getLogger(__name__)

# The signal comes before the kill: how long to look for it, and how often.
_KILL_SECONDS = 0.25
_LOOK_SECONDS = 0.0005
_MACHINE_SECONDS = 0.1
# The signal of a removed cgroup comes when the kernel gets around to it.
_LEAVING_SECONDS = 0.5
_BIRTH_SECONDS = 0.02
_YOUNG_SECONDS = 10.0
# How long to wait where something failed.
_RETRY_SECONDS = 1
# Rank of containers: see identity.rank.
_CONTAINER_RANK = 0


@dataclass(slots=True)
class _Tracked:
    """One cgroup whose events are counted."""

    path: str
    is_container: bool
    counts: Counts = NOTHING
    last_oom_kill: float | None = None
    owner: str = ""
    watches: list[int] = field(default_factory=list)
    files: set[str] = field(default_factory=set)  # those that are watched
    blind: bool = False  # some watch is missing: read it in each scan
    waiting: set[Hierarchy] = field(default_factory=set)  # a file is not there yet
    eventfd: int = -1
    signals: int = 0  # of the eventfd
    kills_before: int = 0  # there was one
    born: bool = False  # its first moment was seen


@dataclass(slots=True)
class _Leaving:
    """A cgroup that is gone, while its eventfd may still tell of it."""

    owner: str
    signals: int
    kills: int  # that were counted since the eventfd was there
    since: float


@dataclass(slots=True)
class _Owner:
    """What is kept of cgroups that are gone, for the pod or cgroup around them."""

    gone: Counts = NOTHING
    published: Counts = NOTHING
    last_oom_kill: float | None = None
    of: tuple[Cgroup, Kept] | None = None
    with_kept: Cgroup | None = None


class EventWatcher:
    """Counts events as they happen, in a thread of its own; `update` puts them into a view.

    Args:
        hierarchies: of the host.
        rank: which paths to look at: see `scan.Scanner`.
        max_cgroups: how many to watch at most.

    Raises:
        OSError: the kernel gives no inotify instance.
    """

    def __init__(
        self, hierarchies: Hierarchies, rank: Callable[[str], int | None], max_cgroups: int
    ) -> None:
        self._hierarchies = hierarchies
        self._rank = rank
        self._max_cgroups = max_cgroups
        self._files = CountFiles(hierarchies)
        self._inotify = Inotify()
        self._lock = threading.Lock()
        self._tracked: dict[str, _Tracked] = {}
        self._others: dict[str, _Tracked] = {}  # of these, what is no container
        self._new: dict[str, _Tracked] = {}  # and what came since the last scan
        self._killed: set[str] = set()  # in which somebody was killed
        self._seen: Mapping[str, Cgroup] = {}  # in the last scan, whose counts are taken
        # Of the published ones, what is counted in them; None: to be summed up anew.
        self._sums: dict[str, tuple[Counts, float | None]] | None = None
        self._owners: dict[str, _Owner] = {}
        self._containers: dict[str, _Owner] = {}
        self._published: frozenset[str] = frozenset()
        self._imitated: frozenset[str] = frozenset()
        self._watches: dict[int, tuple[str, Hierarchy]] = {}
        self._eventfds: dict[int, str] = {}
        self._leaving: dict[int, _Leaving] = {}
        self._soon: dict[str, float] = {}  # a kill is under way there, until then
        self._young: dict[str, tuple[float, float]] = {}  # when to read next, and how long after
        self._updated = False
        self._is_behind = False  # what was told since something failed is not dealt with
        self._poll = select.epoll()
        self._stop = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll.register(self._stop, select.EPOLLIN)
        self._poll.register(self._inotify.fileno(), select.EPOLLIN)
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)
        self._machine_kills: int | None = None
        # Kills on the machine that are accounted for: those before, and those that were found.
        self._explained = 0
        self._killed_by_then = 0  # on the machine, at the last scan
        self._outlived = Outlived()
        self._looks_at_machine = False
        self.missing: Counter[Unwatched] = Counter()
        self.overflows = 0

    @property
    def watches(self) -> int:
        """How many files and directories are watched."""
        return len(self._watches) + len(self._eventfds)

    def descriptors(self) -> int:
        """How many descriptors are open, which grow with the cgroups."""
        return len(self._eventfds) + len(self._leaving)

    def start(self) -> None:
        """Watch all that is there now, and begin to listen."""
        with self._lock:
            for hierarchy in self._trees():
                for below, _, _ in Walker(hierarchy.mount_point).walk():
                    self._appeared(hierarchy.path(below), hierarchy)
            self._look_at_machine()
            self._explained = self._machine_kills or 0
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        os.eventfd_write(self._stop, 1)
        if self._thread.is_alive():
            self._thread.join()
        with self._lock:
            for path in list(self._tracked):
                self._drop(path)
            for fd in list(self._leaving):
                self._let_go(fd)
        self._poll.close()
        os.close(self._stop)
        self._inotify.close()

    def _trees(self) -> list[Hierarchy]:
        trees = dict.fromkeys(file.hierarchy for file in self._files)
        if self._hierarchies.unified:
            trees[self._hierarchies.unified] = None
        return list(trees)

    # What the kernel tells, in the thread.

    def _run(self) -> None:
        stop = select.poll()
        stop.register(self._stop, select.POLLIN)
        while True:
            ready = [fd for fd, _ in self._poll.poll(self._wait_seconds())]
            if self._stop in ready:
                return
            try:
                with self._lock:
                    self._heed(ready)
            except OSError as exc:  # descriptors or memory ran out
                if not self._is_behind:
                    log.warning("what happens between scans may be missed for a while: %s", exc)
                    self.overflows += 1
                self._is_behind = True
                stop.poll(_RETRY_SECONDS * 1000)

    def _heed(self, ready: Iterable[int]) -> None:
        """Look at what these descriptors tell, and at what is due."""
        if self._is_behind:
            self._read_all()
            self._is_behind = False
        for fd in ready:
            if fd == self._inotify.fileno():
                self._take_notifications()
            else:
                self._signalled(fd)
        self._look_soon()
        self._look_at_young()
        self._look_at_leaving()
        if self._looks_at_machine:
            self._look_at_machine()

    def _wait_seconds(self) -> float | None:
        """How long to wait for the kernel at most; None is for ever."""
        if self._is_behind:
            return 0.0
        if self._soon:
            return _LOOK_SECONDS
        waits = [_MACHINE_SECONDS] if self._looks_at_machine else []
        if self._leaving:
            waits.append(_LEAVING_SECONDS / 2)
        if self._young:
            now = time.monotonic()
            waits.append(max(0.0, min(when for when, _ in self._young.values()) - now))
        return min(waits, default=None)

    def _look_at_young(self) -> None:
        now = time.monotonic()
        for path, (when, after) in list(self._young.items()):
            tracked = self._tracked.get(path)
            if tracked is None or after > _YOUNG_SECONDS:
                del self._young[path]
            elif when <= now:
                for hierarchy in list(tracked.waiting):
                    self._watch_files(tracked, hierarchy)
                self._read(tracked)
                self._young[path] = (now + after, 2 * after)

    def _take_notifications(self) -> None:
        for event in self._inotify.read():
            if event.mask & inotify.OVERFLOW:
                self.overflows += 1
                log.warning("notifications of cgroups were lost: reading them all")
                self._read_all()
            watched = self._watches.get(event.watch)
            if watched is None:
                continue
            path, hierarchy = watched
            if event.mask & inotify.IGNORED:
                del self._watches[event.watch]
            elif event.mask & inotify.IS_DIRECTORY:
                child = f"{'' if path == '/' else path}/{event.name}"
                if event.mask & inotify.CREATE:
                    self._appeared(child, hierarchy, fresh=True)
                elif event.mask & inotify.DELETE and hierarchy is self._trees()[0]:
                    self._retire(child)
            elif path in self._tracked:
                self._read(self._tracked[path])

    def _signalled(self, fd: int) -> None:
        try:
            signals = os.eventfd_read(fd)
        except OSError as exc:  # closed by what was told just before
            if exc.errno in (errno.EAGAIN, errno.EBADF):
                return
            raise
        if fd in self._leaving:
            self._leaving[fd].signals += signals
        elif tracked := self._tracked.get(self._eventfds.get(fd, "")):
            tracked.signals += signals
            self._soon[tracked.path] = time.monotonic() + _KILL_SECONDS

    def _look_at_leaving(self) -> None:
        """Count the kills that their cgroup did not live to tell."""
        now = time.monotonic()
        for fd, leaving in list(self._leaving.items()):
            if now - leaving.since < _LEAVING_SECONDS:
                continue
            # The last signal was the removal's.
            untold = leaving.signals - 1 - leaving.kills
            if untold > 0 and (kills := min(untold, self._unexplained())) > 0:
                owner = self._owners.setdefault(leaving.owner, _Owner())
                owner.gone = add(owner.gone, (kills, None, None))
                owner.last_oom_kill = _later(owner.last_oom_kill, time.time())
                self._explained += kills
            self._let_go(fd)

    def _unexplained(self) -> int:
        """Kills on this machine that were not found in any cgroup."""
        self._read_all()
        return (self._read_machine() or 0) - self._explained

    def _let_go(self, fd: int) -> None:
        del self._leaving[fd]
        self._poll.unregister(fd)
        os.close(fd)

    def _look_soon(self) -> None:
        """Read those where a kill is under way, until it is counted."""
        now = time.monotonic()
        for path, until in list(self._soon.items()):
            tracked = self._tracked.get(path)
            if tracked is None or now > until:
                del self._soon[path]
            else:
                # A cgroup may be killed in several times within that time: go on looking.
                self._read(tracked)

    def _look_at_machine(self) -> None:
        kills = self._read_machine()
        if kills != self._machine_kills and self._machine_kills is not None:
            self._read_all()
        self._machine_kills = kills

    def _read_machine(self) -> int | None:
        content = kernel.read_path(f"{self._hierarchies.procfs}/vmstat")
        return None if isinstance(content, Missing) else parse_oom_kills(content)

    def _read_all(self) -> None:
        for tracked in list(self._tracked.values()):
            self._read(tracked)

    # One cgroup.

    def _appeared(self, path: str, hierarchy: Hierarchy, *, fresh: bool = False) -> None:
        """Watch a cgroup in one hierarchy, and all below that came before the watch did."""
        rank = self._rank(path)
        if rank is None:
            return
        tracked = self._tracked.get(path)
        if tracked is None and len(self._tracked) >= self._max_cgroups:
            self._miss(path, Unwatched.TOO_MANY)
            return
        if tracked is None:
            tracked = self._tracked[path] = _Tracked(path, rank == _CONTAINER_RANK, born=fresh)
            tracked.owner = self._around(path)
            self._new[path] = tracked
            self._sums = None
            if not tracked.is_container:
                self._others[path] = tracked
        directory = hierarchy.directory(path)
        if not tracked.is_container:
            known = len(tracked.watches)
            self._watch(tracked, hierarchy, "", inotify.CREATE | inotify.DELETE)
            if fresh and len(tracked.watches) > known:
                for below, _, _ in Walker(directory).walk():
                    if below != "/":
                        self._appeared(path + below, hierarchy, fresh=True)
        self._watch_files(tracked, hierarchy)
        self._read(tracked, fresh=fresh)
        if fresh and (tracked.waiting or hierarchy is self._hierarchies.legacy.get("pids")):
            self._young[path] = (time.monotonic() + _BIRTH_SECONDS, 2 * _BIRTH_SECONDS)

    def _watch_files(self, tracked: _Tracked, hierarchy: Hierarchy) -> None:
        tracked.waiting.discard(hierarchy)
        for file in self._files:
            if file.hierarchy is hierarchy and file.notifies:
                names = file.names(tracked.is_container)
                if not any(self._watch(tracked, hierarchy, n, inotify.MODIFY) for n in names):
                    tracked.waiting.add(hierarchy)  # for its controller to be switched on
        memory = self._hierarchies.legacy.get("memory")
        if memory is None:
            return
        if hierarchy is memory and tracked.eventfd < 0:
            tracked.eventfd = kernel.oom_eventfd(hierarchy.directory(tracked.path))
            if tracked.eventfd >= 0:
                self._eventfds[tracked.eventfd] = tracked.path
                self._poll.register(tracked.eventfd, select.EPOLLIN)
                self._read(tracked, fresh=False)
                tracked.kills_before = tracked.counts[0] or 0
            else:
                tracked.blind = True
                self._looks_at_machine = True
        if hierarchy is self._hierarchies.unified:
            self._watch(tracked, hierarchy, "cgroup.events", inotify.MODIFY)

    def _watch(self, tracked: _Tracked, hierarchy: Hierarchy, name: str, mask: int) -> bool:
        """Set one watch, or count that it is missing; False where there is no such file."""
        key = f"{hierarchy.mount_point} {name}"
        if key in tracked.files:
            return True
        directory = hierarchy.directory(tracked.path)
        watch = self._inotify.add(f"{directory}/{name}" if name else directory, mask)
        if watch is None:
            return False
        if isinstance(watch, Unwatched):
            self._miss(tracked.path, watch)
            tracked.blind = True
            return True
        tracked.files.add(key)
        tracked.watches.append(watch)
        self._watches[watch] = (tracked.path, hierarchy)
        return True

    def _miss(self, path: str, why: Unwatched) -> None:
        if not self.missing[why]:
            log.warning("cgroup %r is not watched for events: %s", path, why.value)
        self.missing[why] += 1

    def _read(self, tracked: _Tracked, *, fresh: bool = True) -> None:
        """Bring a cgroup's counts up to date. What is gone keeps its last ones."""
        self._count(tracked, self._files.read(tracked.path, tracked.is_container), fresh=fresh)

    def _count(self, tracked: _Tracked, counts: Counts, *, fresh: bool = True) -> None:
        if counts == tracked.counts:
            return
        before, now = tracked.counts[0] or 0, counts[0] or 0
        if (counts := most(tracked.counts, counts)) == tracked.counts:
            return
        tracked.counts = counts
        self._sums = None
        if now > before and fresh:
            tracked.last_oom_kill = time.time()
            self._killed.add(tracked.path)
            self._explained += now - before

    def _around(self, path: str) -> str:
        """What is around a container that no scan saw yet: it need not be published itself."""
        while path != "/" and ((at := self._tracked.get(path)) is None or at.is_container):
            path = path.rpartition("/")[0] or "/"
        return path

    def _owner_of(self, path: str) -> str:
        """The pod or cgroup around a container; a pod or cgroup itself.

        Of what is in a container that is imitated, that one; of that one, what is around it.
        """
        if path in self._imitated:
            path = path.rpartition("/")[0] or "/"
        while path not in self._published and path != "/":
            path = path.rpartition("/")[0] or "/"
        return path

    def _retire(self, path: str) -> None:
        """Keep what was counted in a cgroup that is gone, and in all below it."""
        for below in [p for p in self._tracked if p == path or p.startswith(path + "/")]:
            tracked = self._tracked[below]
            owner = self._owners.setdefault(tracked.owner, _Owner())
            owner.gone = add(owner.gone, tracked.counts)
            owner.last_oom_kill = _later(owner.last_oom_kill, tracked.last_oom_kill)
            self._drop(below)

    def _drop(self, path: str) -> None:
        tracked = self._tracked.pop(path)
        self._others.pop(path, None)
        self._new.pop(path, None)
        self._killed.discard(path)
        self._sums = None
        for watch in tracked.watches:
            if self._watches.pop(watch, None) is not None:
                self._inotify.remove(watch)
        if tracked.eventfd >= 0:
            del self._eventfds[tracked.eventfd]
            self._leaving[tracked.eventfd] = _Leaving(
                tracked.owner,
                tracked.signals,
                (tracked.counts[0] or 0) - tracked.kills_before,
                time.monotonic(),
            )

    # What a scan saw, and what it is told.

    def update(self, view: View) -> View:
        """Take the counts of a scan, and give each pod, cgroup and container what is kept."""
        with self._lock:
            self._take(view)
            if self._sums is None:
                self._sums = self._summed_up()
            totals = self._sums
            pods = {pod.cgroup.path: pod.cgroup for pod in view.pods}
            owners = {path: self._owners.setdefault(path, _Owner()) for path in self._published}
            self._owners = owners
            known = {
                path: add(owner.gone, totals[path][0]) if path in totals else owner.gone
                for path, owner in owners.items()
            }
            least = self._outlived.take(
                view.snapshot.cgroups,
                self._published,
                {path: counts for path, counts in known.items() if path not in pods},
                self._is_born,
                self._files.read,
            )
            kept = {}
            for path, owner in owners.items():
                counts = most(known[path], least.get(path, NOTHING))
                _, last = totals.get(path, (NOTHING, None))
                if path in least and (counts[0] or 0) > (owner.published[0] or 0):
                    last = time.time()  # since the last scan; nobody saw when
                kept[path] = self._kept(owner, counts, last, pods.get(path))
            return replace(
                view,
                pods=[replace(pod, cgroup=self._with(pod.cgroup, kept)) for pod in view.pods],
                cgroups=[
                    self._with(cgroup, kept) if cgroup.path in kept else cgroup
                    for cgroup in view.cgroups
                ],
                containers=self._with_last_kills(view.containers),
            )

    def _take(self, view: View) -> None:
        cgroups = view.snapshot.cgroups
        self._see(cgroups)
        tree = self._trees()[0]
        for path in self._tracked.keys() - cgroups.keys():
            if isinstance(kernel.status(tree.directory(path)), Missing):
                self._retire(path)
        self._look_at_leaving()
        published = frozenset(
            (
                *(pod.cgroup.path for pod in view.pods),
                *(path for path, tier in view.tiers.items() if tier is not Tier.BETWEEN),
                # They count what is in them: it must not count again around them.
                *view.imitated,
            )
        )
        changed = published != self._published
        self._published, self._imitated = published, view.imitated
        new, self._new = self._new, {}
        for path, tracked in (self._tracked if changed else new).items():
            tracked.owner = self._owner_of(path)
            self._sums = None
        self._rehome()
        if not self._leaving:
            # Whoever was killed before the last scan has been read since, or is nobody's here.
            self._explained = max(self._explained, self._killed_by_then)
        self._killed_by_then = self._read_machine() or 0
        self._updated = True

    def _see(self, cgroups: Mapping[str, Cgroup]) -> None:
        """Take the counts of containers from a scan, and read what is not watched."""
        for path in sorted(cgroups.keys() - self._tracked.keys()):  # no notification told of them
            for hierarchy in self._trees():
                self._appeared(path, hierarchy, fresh=self._updated)
        before, self._seen = self._seen, cgroups
        for path, cgroup in cgroups.items():
            if before.get(path) is cgroup:
                continue
            tracked = self._tracked.get(path)
            if tracked is not None and tracked.is_container:
                self._count(tracked, counts_of(cgroup), fresh=self._updated)
        for path in self._others.keys() & cgroups.keys():
            other = self._others[path]
            if other.blind or other.waiting:
                self._read(other)

    def _rehome(self) -> None:
        """Give what a cgroup kept and no page told to the one around it.

        It is gone, a container, or not published for another reason.
        """
        for path in [path for path in self._owners if path not in self._published]:
            owner = self._owners.pop(path)
            unseen = less(owner.gone, owner.published)
            around = self._owner_of(path)
            self._outlived.gone(path, owner.published, around)
            heir = self._owners.setdefault(around, _Owner())
            heir.gone = add(heir.gone, unseen)
            if unseen[0]:
                heir.last_oom_kill = _later(heir.last_oom_kill, owner.last_oom_kill)

    def _summed_up(self) -> dict[str, tuple[Counts, float | None]]:
        totals: dict[str, tuple[Counts, float | None]] = {}
        alike = Counter(
            (tracked.owner, tracked.counts, tracked.last_oom_kill)
            for tracked in self._tracked.values()
        )  # nearly all have counted nothing
        for (owner, counts, last), number in alike.items():
            so_far, last_so_far = totals.get(owner, (NOTHING, None))
            totals[owner] = (add(so_far, times(counts, number)), _later(last_so_far, last))
        return totals

    def _is_born(self, path: str) -> bool:
        tracked = self._tracked.get(path)
        return tracked is not None and tracked.born

    def _kept(self, owner: _Owner, counts: Counts, last: float | None, pod: Cgroup | None) -> Kept:
        if pod is not None and pod.memory is not None and pod.memory.events_high is not None:
            # v2 counts with descendants, and goes on counting when those are gone.
            counts = most(counts, counts_of(pod))
        owner.published = most(owner.published, counts)
        owner.last_oom_kill = _later(owner.last_oom_kill, last)
        return Kept(*owner.published, owner.last_oom_kill)

    def _with(self, cgroup: Cgroup, kept: Mapping[str, Kept]) -> Cgroup:
        return _with_kept(self._owners[cgroup.path], cgroup, kept[cgroup.path])

    def _with_last_kills(self, containers: Sequence[Container]) -> Sequence[Container]:
        paths = self._killed & {c.cgroup.path for c in containers} if self._killed else set()
        self._containers = {path: self._containers.get(path) or _Owner() for path in paths}
        if not paths:
            return containers
        return [
            c.with_cgroup(self._with_last_kill(c.cgroup)) if c.cgroup.path in paths else c
            for c in containers
        ]

    def _with_last_kill(self, cgroup: Cgroup) -> Cgroup:
        kept = Kept(last_oom_kill_timestamp_seconds=self._tracked[cgroup.path].last_oom_kill)
        return _with_kept(self._containers[cgroup.path], cgroup, kept)


def _with_kept(owner: _Owner, cgroup: Cgroup, kept: Kept) -> Cgroup:
    """A cgroup with what is kept of it; the same objects as before where nothing changed."""
    if owner.of is not None and owner.of[1] == kept:
        kept = owner.of[1]
        if owner.of[0] is cgroup and owner.with_kept is not None:
            return owner.with_kept
    owner.of = (cgroup, kept)
    owner.with_kept = cgroup.changed(kept=kept)
    return owner.with_kept


def _later(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return one if other is None else other
    return max(one, other)
