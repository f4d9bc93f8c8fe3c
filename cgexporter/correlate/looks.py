"""When to look at the first process of a cgroup, which tells whose it is."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cgexporter import kernel
from cgexporter.correlate.paths import classify
from cgexporter.correlate.processes import Process, first_process, read_process
from cgexporter.correlate.sweep import Sweep
from cgexporter.hierarchies import Hierarchies
from cgexporter.kernel import Missing
from cgexporter.walker import EVERY, next_due, turn_of

# How long processes are looked at again in one go; who is not reached then has his turn in
# the next.
_LOOK_SECONDS = 0.02


@dataclass(slots=True)
class Looked:
    """The first process of one cgroup, as it was when it was last looked at.

    Attributes:
        descend: it may be in a cgroup below.
        search: ask who it is at the next look, and do not only read it again.
        first: the scan in which it was first looked for; 0 is never.
        next: the scan in which to look again.
        at: when it was looked at, on `time.monotonic`.
    """

    path: str
    inode: int
    descend: bool = False
    search: bool = True
    first: int = 0
    next: int = 0
    at: float = 0.0
    process: Process | None = None


class Looks:
    """Looks at first processes now and then: runtimes unshare and exec after joining.

    Who it is, is asked at first, when it has gone, and then each 64th scan, for each cgroup in
    another one; in between it is read again.

    Attributes:
        known: another object whenever a process turned out to be another, or in other namespaces.
        certain: a cgroup without a process has none. Where the sweep tells who is where, it may not
            have come to everybody yet.
    """

    def __init__(self, hierarchies: Hierarchies, sweep: Sweep | None) -> None:
        self._hierarchies = hierarchies
        self._sweep = sweep
        self._members: Callable[[str], Sequence[int]] | None = None
        if sweep and kernel.counts_otherwise(hierarchies.procfs):
            self._members = sweep.pids_in
        self._scan = 0
        self._until = 0.0
        self._later: dict[str, Looked] = {}
        self.known = object()

    @property
    def certain(self) -> bool:
        """Whether who was not found is not there: see `Looks`."""
        return self._members is None or self._sweep is None or self._sweep.complete

    def begin(self) -> None:
        """Begin a scan."""
        self.catch_up()
        self._scan += 1
        self._until = time.monotonic() + _LOOK_SECONDS

    def look(self, known: Looked) -> None:
        """Look at a process where it is time to, or the sweep has seen it change."""
        if not known.first:
            known.first = self._scan
            self.look_now(known)
            return
        if known.next > self._scan and not known.search:
            if not self._has_changed(known):
                return
            known.search = True
        elif self._scan - known.first >= EVERY and not known.search:
            self._later[known.path] = known
            return
        if time.monotonic() <= self._until:
            self.look_now(known)

    def catch_up(self) -> None:
        """Look at those whose turn it is after so long that nobody need wait for it."""
        until = time.monotonic() + _LOOK_SECONDS
        for path in list(self._later):
            if time.monotonic() > until:
                break
            known = self._later.pop(path)
            known.search = True
            self.look_now(known)

    def look_now(self, known: Looked) -> None:
        """Look at a process, whosever turn it is."""
        known.at = time.monotonic()
        known.next = known.first + next_due(self._scan - known.first, turn_of(known.inode))
        process = None
        if not known.search and (before := known.process) is not None:
            process = read_process(self._hierarchies.procfs, before.pid, before)
            if process is not None and process.started != before.started:
                process = None
        if process is None:
            belongs = _own if known.descend else None
            process = first_process(
                self._hierarchies, known.path, belongs, self._members, known.process
            )
        known.search = False
        if process is not known.process and process != known.process:
            known.process = process
            self.known = object()

    def _has_changed(self, known: Looked) -> bool:
        """Whether the sweep found the process in other namespaces, or no longer at all."""
        process = known.process
        if self._sweep is None or process is None or not process.started:
            return False
        news = self._sweep.news_of(process.pid, process.started, known.at)
        if isinstance(news, Missing):
            return True
        return news is not None and news.group.links != process.links


def _own(container: str, below: str) -> bool:
    """Whether a cgroup below a container is its own, and not one of a container in it."""
    return classify(below).container_path == container
