"""Walks the hierarchies: `Scanner.scan() -> Snapshot`, synchronous, one thread at a time."""

import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace

from cgexporter import host, kernel
from cgexporter.aio import Batch, Reader, Reading
from cgexporter.descriptors import Descriptors
from cgexporter.files import Directories, Directory, File, Outcomes, Top
from cgexporter.hierarchies import Hierarchies, Hierarchy
from cgexporter.inotify import Notices
from cgexporter.kernel import Missing
from cgexporter.machine import MachineReader
from cgexporter.model import SECTIONS, Cgroup, FileSupport, Mode, Snapshot
from cgexporter.parse.formats import ParseError
from cgexporter.parse.proc import parse_partitions
from cgexporter.seldom import Occasion, Standstill
from cgexporter.sources import Parse, Source, Wants, sources_of
from cgexporter.sources import everything as every_file
from cgexporter.walker import Walker

log = logging.getLogger(__name__)

Rank = Callable[[str], int | None]
# Cgroups with it are no containers and no pods.
_LAST_RANK = 2
# Directories of v1's hierarchies with files that stand still, and the one that is looked at for
# children.
_WATCHES_PER_CGROUP = 5


class ScanTimeoutError(Exception):
    """A scan did not finish before its deadline; nothing of it is published."""


def everything(path: str) -> int | None:
    """Read each cgroup, and none before another."""
    del path
    return 1


# The number of a section's source, a parser of one of its files, and its place in the arguments.
_Reader = tuple[int, Parse, int]


class _Plan:
    """What is read of the cgroups that are in the same hierarchies.

    Attributes:
        sources: of their sections.
        files: by hierarchy each file's name, who reads it, and when it may change, if all who read
            it say the same.
    """

    __slots__ = ("files", "sources")

    def __init__(self, sources: Sequence[Source], where: Iterable[Hierarchy]) -> None:
        self.sources = sources
        uses: dict[Hierarchy, dict[str, tuple[list[_Reader], set[Occasion | None]]]]
        uses = {hierarchy: {} for hierarchy in where}
        for number, source in enumerate(sources):
            for wanted, place in zip(source.files, source.places, strict=True):
                if (its := uses.get(wanted.hierarchy)) is not None:
                    readers, occasions = its.setdefault(wanted.name, ([], set()))
                    readers.append((number, wanted.parse, place))
                    occasions.add(wanted.occasion)
        self.files = {
            hierarchy: tuple(
                (name, tuple(readers), occasions.pop() if len(occasions) == 1 else None)
                for name, (readers, occasions) in its.items()
            )
            for hierarchy, its in uses.items()
            if its
        }


class _Watched:
    """One cgroup between scans: its directories, one a hierarchy, and its sections."""

    __slots__ = ("all_parts", "cgroup", "directories", "inodes", "parsed", "sources")

    def __init__(
        self,
        path: str,
        where: dict[Hierarchy, int],
        plan: _Plan,
        outcomes: Outcomes,
        tops: Mapping[Hierarchy, Top],
    ) -> None:
        self.inodes = where
        self.cgroup: Cgroup | None = None
        # Look at each part again: a file had not its format, which is said in each scan, or the
        # last reading broke off, and what it had read by then was not parsed.
        self.all_parts = False
        self.sources = plan.sources
        # By source, what the parsers made of its files.
        self.parsed: list[list[object]] = [[None] * source.arguments for source in plan.sources]
        self.directories = Directories(
            [
                Directory(
                    *(tops[hierarchy], hierarchy.below(path), where[hierarchy]),
                    *([File(*file) for file in files], outcomes),
                )
                for hierarchy, files in plan.files.items()
            ]
        )

    def read(self, path: str, leaf: bool, run: "_Run") -> Cgroup | None:
        """Read it again; None when it is gone."""
        look_at_all, self.all_parts = self.all_parts, True
        changed = self.directories.refresh(run.descriptors, run.reading)
        run.is_other_batch |= run.reading is None or not self.directories.is_in(run.reading.batch)
        if changed is None:
            return None
        if self.directories.late:
            run.late.append(self.directories)
        last = self.cgroup
        if last is None or leaf != last.leaf or look_at_all:
            changed = [file for directory in self.directories for file in directory.files]
        elif not changed:
            self.all_parts = False
            return last
        errors = len(run.odd)
        parts = self._parse(changed, path, run)
        sources = self.sources
        new = {sources[p].section: sources[p].make(self.parsed[p], leaf) for p in parts}
        self.all_parts = len(run.odd) > errors
        if look_at_all and last is not None:  # most of it is as it was
            new = {name: made for name, made in new.items() if made != getattr(last, name)}
        if last is None:
            inode = next(iter(self.inodes.values()))
            trees = frozenset(hierarchy.mount_point for hierarchy in self.inodes)
            last = Cgroup(path, inode, leaf, trees=trees)
        self.cgroup = last.changed(leaf=leaf, **new)
        return self.cgroup

    def _parse(self, files: Iterable[File], path: str, run: "_Run") -> Iterable[int]:
        """Parse files; returns the numbers of the sections that are made of them, each once."""
        parts: dict[int, None] = {}
        for file in files:
            content = file.content
            for part, parse, place in file.readers:
                made = None  # where there is nothing, or not its format
                if isinstance(content, bytes):
                    try:
                        made = parse(content)
                    except ParseError as exc:
                        run.note_error(file, path, exc)
                self.parsed[part][place] = made
                parts[part] = None
        return parts

    def close(self, descriptors: Descriptors) -> None:
        self.directories.close(descriptors)


@dataclass(slots=True)
class _Run:
    """What one scan counts."""

    descriptors: Descriptors
    parse_errors: Counter[str]
    skipped: int = 0
    reading: Reading | None = None
    is_other_batch: bool = False  # not the same is to be read ahead in the next scan
    odd: set[int] = field(default_factory=set)
    late: list[Directories] = field(default_factory=list)

    def note_error(self, file: File, path: str, exc: ParseError) -> None:
        """Count a file that has not its format, once however many sections it is part of."""
        if id(file) in self.odd:
            return
        self.odd.add(id(file))
        if not self.parse_errors[file.name]:
            log.warning("%s in cgroup %r: %s", file.name, path, exc)
        self.parse_errors[file.name] += 1


@dataclass(frozen=True, slots=True)
class Found:
    """What a walk found: by path the cgroup's inode in each hierarchy, and whether a leaf."""

    cgroups: Mapping[str, tuple[dict[Hierarchy, int], bool]]
    dropped: int
    skipped: int
    started: float  # since the epoch
    began: float  # on time.monotonic


def _add_ancestors(
    found: dict[str, tuple[dict[Hierarchy, int], bool]],
    wanted: dict[str, int],
    between: Mapping[str, tuple[dict[Hierarchy, int], bool]],
) -> None:
    """Add the cgroups between a container or pod and the root that are not wanted themselves."""
    if not between:
        return
    for path in [path for path in found if wanted[path] < _LAST_RANK]:
        while (path := path.rpartition("/")[0]) and path not in found:
            if path in between:
                found[path] = between[path]
                wanted[path] = _LAST_RANK


class Scanner:
    """Reads a host's cgroups; keeps their files open from one scan to the next.

    Args:
        hierarchies: where the host's cgroups are.
        sections: the sections of `Cgroup` to read.
        wants: which files of them to read.
        rank: which paths to read: None is not at all, and where there are more than
            `max_cgroups` the smaller number goes first. 0 is for containers: what is inside
            them is looked for in one hierarchy and not in each.
        owns_below: whether the cgroups below a path may be made by what runs in it.
        max_cgroups: how many to read at most.
        max_below: how many cgroups below one container or service to look at.
        max_open_files: how many descriptors to hold between scans at most.
        room: how many there is room for, with those of `others`; None: for all of them.

    Attributes:
        others: how many descriptors others have open that take of this room.
    """

    def __init__(
        self,
        hierarchies: Hierarchies,
        *,
        sections: Sequence[str] = SECTIONS,
        wants: Wants = every_file,
        rank: Rank = everything,
        owns_below: Callable[[str], bool] = lambda _: False,
        max_cgroups: int = 10_000,
        max_below: int = 2_000,
        max_open_files: int = 0,
        room: int | None = None,
    ) -> None:
        self._hierarchies = hierarchies
        self._sources = [s for s in sources_of(hierarchies, wants) if s.section in sections]
        self._rank = rank
        self._ranks: dict[str, int | None] = {}
        self._owns_below = owns_below
        self._max_cgroups = max_cgroups
        self._max_below = max_below
        used = {file.hierarchy for source in self._sources for file in source.files}
        used.add(hierarchies.unified or hierarchies.all[0])
        self._found: Found | None = None
        self._known: Mapping[str, object] | None = None
        self._walkers = [
            (tree, Walker(tree.mount_point, salt=4 * number))
            for number, tree in enumerate(hierarchies.all)
            if tree in used
        ]
        self._machine_facts = MachineReader(hierarchies.procfs)
        self._watched: dict[str, _Watched] = {}
        self._plans: dict[tuple[Hierarchy, ...], _Plan] = {}
        self._tops = {tree: Top(tree.mount_point) for tree in hierarchies.all}
        self._outcomes = Outcomes()
        self._warned_drop = False
        self._under_way: tuple[Mapping[str, Cgroup], Found] | None = None
        self.descriptors = Descriptors(max_open_files, room)
        self.others: Callable[[], int] = lambda: 0
        self.notices: Notices | None = None
        self._standstill = Standstill()
        self._reader: Reader | None = None
        # What it reads while nobody comes or goes, and how many descriptors were closed by then.
        self._batch: tuple[Batch, int] | None = None
        self._late: Sequence[Directories] = ()

    def read_ahead(self) -> None:
        """Read what is held of all cgroups at once from now on: see `aio`.

        Raises:
            OSError: the kernel or a filter of system calls does not let us.
        """
        with kernel.opened(f"{self._hierarchies.all[0].mount_point}/cgroup.procs") as fd:
            self._reader = Reader(fd)

    def heed_notices(self) -> None:
        """Ask the kernel before each scan what was written and made: see `Notices`.

        Raises:
            OSError: it gives no inotify instance.
        """
        self.notices = Notices(_WATCHES_PER_CGROUP * self._max_cgroups)
        for _, walker in self._walkers:
            walker.heed(self.notices)

    @property
    def mode(self) -> Mode:
        """How the host mounts its hierarchies."""
        return self._hierarchies.mode

    def scan(self, deadline: float | None = None) -> Snapshot:
        """Find the cgroups and read each once.

        Args:
            deadline: on `time.monotonic`; looked at between cgroups.

        Raises:
            ScanTimeoutError: the deadline passed. Descriptors and caches stay good.
        """
        return self.read(self.find(), deadline)

    def read(self, found: Found, deadline: float | None = None) -> Snapshot:
        """Read what a walk found: the second half of `scan`."""
        self.catch_up()
        self._make_room()
        run = _Run(self.descriptors, Counter(), found.skipped)
        cgroups: dict[str, Cgroup] = {}
        self._under_way = (cgroups, found)
        if self._known is not found.cgroups:
            self._forget_missing(found)
            self._known = found.cgroups
        machine = self._machine_facts.read()
        if self.notices is not None:
            self._standstill.begin(machine.oom_kills, written=self.notices.take_reaching_below())
        with self._reading_ahead(found) as run.reading:
            batch, self._batch = self._batch, None  # unless this scan ends
            self._read_each(found, cgroups, run, deadline)
        self._standstill.end()
        self._late = run.late
        if not run.is_other_batch:
            self._batch = batch
        return Snapshot(
            started=found.started,
            duration_seconds=time.monotonic() - found.began,
            mode=self.mode,
            cgroups=cgroups,
            devices=self._devices(),
            files={name: FileSupport(*self._outcomes.of(name)) for name in self._outcomes.names},
            parse_errors=run.parse_errors,
            skipped=run.skipped,
            dropped=found.dropped,
            machine=machine,
        )

    def catch_up(self) -> None:
        """Read again what seldom changes, between two scans, so that no scrape waits for it."""
        late, self._late = self._late, []
        for directories in late:
            directories.catch_up(self.descriptors)
            if self._batch is not None and not directories.is_in(self._batch[0]):
                self._batch = None

    def _plan(self, where: Iterable[Hierarchy]) -> _Plan:
        key = tuple(where)
        if key not in self._plans:
            self._plans[key] = _Plan(self._sources, key)
        return self._plans[key]

    def _watch(self, path: str, where: dict[Hierarchy, int]) -> _Watched:
        watched = _Watched(path, where, self._plan(where), self._outcomes, self._tops)
        if self.notices is not None:
            watched.directories.heed(self.notices, self._standstill)
        return watched

    def _read_each(
        self, found: Found, cgroups: dict[str, Cgroup], run: _Run, deadline: float | None
    ) -> None:
        for path, (where, leaf) in found.cgroups.items():
            if deadline is not None and time.monotonic() > deadline:
                total = len(found.cgroups)
                raise ScanTimeoutError(f"scan stopped after {len(cgroups)} of {total} cgroups")
            watched = self._watched.get(path)
            if watched is None:
                watched = self._watched[path] = self._watch(path, where)
            try:
                cgroup = watched.read(path, leaf, run)
            except OSError as exc:
                log.warning("cgroup %r skipped: %s", path, exc)
                run.skipped += 1
                run.is_other_batch = True
                continue
            if cgroup is None:
                self._forget(path)
                self._found = None  # it may have been made again
            else:
                cgroups[path] = cgroup

    def _reading_ahead(self, found: Found) -> AbstractContextManager[Reading | None]:
        if self._reader is None:
            return contextlib.nullcontext()
        told = self.notices is None or self.notices.told()
        closed = self.descriptors.closed
        if told or self._batch is None or self._batch[1] != closed:
            watched = filter(None, map(self._watched.get, found.cgroups))
            wanted = (each.directories.ahead(told) for each in watched)
            self._batch = Batch(each for each in wanted if each is not None), closed
        return self._reader.reading(self._batch[0])

    def _make_room(self) -> None:
        descriptors = self.descriptors
        descriptors.leave(self.others())
        for watched in self._watched.values():
            if descriptors.held <= descriptors.limit:
                break
            watched.directories.let_go(descriptors)

    def far(self) -> tuple[int, int]:
        """How many cgroups the scan under way has read, and how many there are to read."""
        if self._under_way is None:
            return 0, 0
        cgroups, found = self._under_way
        return len(cgroups), len(found.cgroups)

    def close(self) -> None:
        """Close every file."""
        for path in list(self._watched):
            self._forget(path)
        for top in self._tops.values():
            top.close()
        if self.notices is not None:
            self.notices.close()
            self.notices = None
        if self._reader is not None:
            self._reader.close()
            self._reader = self._batch = None

    def files(self) -> Iterator[tuple[str, str]]:
        """Cgroup and full path of each file that the last scan read."""
        for path, watched in self._watched.items():
            for directory in watched.directories:
                for file in directory.files:
                    if not isinstance(file.content, Missing):
                        yield path, f"{directory.path}/{file.name}"

    def find(self) -> Found:
        """List the cgroups worth reading: the first half of `scan`."""
        started, began = host.now(), time.monotonic()
        if self.notices is not None:
            self.notices.look()
        if self._found is not None and all(walker.is_unchanged() for _, walker in self._walkers):
            return replace(self._found, started=started, began=began)
        found: dict[str, tuple[dict[Hierarchy, int], bool]] = {}
        ranks: dict[str, int | None] = {}
        wanted: dict[str, int] = {}
        leaves: set[str] = set()
        # Not worth reading by themselves, unless a limit there acts on a container below.
        between: dict[str, tuple[dict[Hierarchy, int], bool]] = {}
        dropped = skipped = 0
        for hierarchy, walker in self._walkers:
            leaves_here = leaves if hierarchy.root == "/" else frozenset[str]()
            allow = self._allowance(hierarchy)
            for below, inode, leaf in walker.walk(allow, leaves_here):
                path = hierarchy.path(below)
                if path not in ranks:
                    known = self._ranks
                    ranks[path] = rank = known[path] if path in known else self._rank(path)
                    if rank is not None:
                        wanted[path] = rank
                place = found if path in wanted else between
                where, leaf_elsewhere = place.get(path, ({}, True))
                where[hierarchy] = inode
                place[path] = (where, leaf and leaf_elsewhere)
                if leaf and wanted.get(path) == 0:
                    leaves.add(path)
            dropped = max(dropped, walker.left_out)
            for error in walker.errors:
                log.warning("a cgroup is skipped: %s", error)
            skipped += len(walker.errors)
        self._ranks = ranks
        _add_ancestors(found, wanted, between)
        most = self._max_cgroups
        keep = sorted(found if len(found) <= most else self._most_wanted(wanted))
        dropped += len(found) - len(keep)
        if dropped and not self._warned_drop:
            log.warning(
                "%d cgroups are left out: more than --scan.max-cgroups=%d",
                dropped,
                self._max_cgroups,
            )
        self._warned_drop = bool(dropped)
        self._found = Found({path: found[path] for path in keep}, dropped, skipped, started, began)
        return self._found

    def _allowance(self, hierarchy: Hierarchy) -> Callable[[str, int], int]:
        """How much to look at of what a container or service may have made itself.

        Each has its own bound: whoever may make cgroups there must not be able to keep a scan
        from the others.
        """
        owners: dict[str, str] = {}
        left: dict[str, int] = {}

        def allow(below: str, children: int) -> int:
            path = hierarchy.path(below)
            if not self._owns_below(path):
                return children
            owner = owners[path] = owners.get(path.rpartition("/")[0], path)
            bound = left.get(owner, self._max_below)
            allowed = min(children, bound)
            left[owner] = bound - allowed
            return allowed

        return allow

    def _most_wanted(self, wanted: dict[str, int]) -> list[str]:
        by_rank = sorted(wanted, key=lambda path: (wanted[path], path.count("/"), path))
        return by_rank[: self._max_cgroups]

    def _forget_missing(self, found: Found) -> None:
        for path, watched in list(self._watched.items()):
            now = found.cgroups.get(path)
            if now is None or now[0] != watched.inodes:
                self._forget(path)

    def _forget(self, path: str) -> None:
        self._watched.pop(path).close(self.descriptors)

    def _devices(self) -> dict[str, str]:
        content = kernel.read_path(f"{self._hierarchies.procfs}/partitions")
        return {} if isinstance(content, Missing) else parse_partitions(content)
