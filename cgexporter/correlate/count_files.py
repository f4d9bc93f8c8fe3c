"""The files that count OOM kills, memory.high breaches and refused forks, read at once by path.

Sources: cgroup-v2.rst, "memory.events"; cgroup-v1/memory.rst, "OOM Control"; kernel/cgroup/pids.c.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from cgexporter import kernel
from cgexporter.correlate.counts import NOTHING, Counts, add
from cgexporter.hierarchies import Hierarchies, Hierarchy
from cgexporter.kernel import Missing
from cgexporter.parse.formats import ParseError
from cgexporter.parse.memory import parse_memory_events
from cgexporter.parse.pids import parse_pids_events
from cgexporter.parse.v1.memory import parse_oom_kill

log = logging.getLogger(__name__)


def _parse_memory(data: bytes) -> Counts:
    events = parse_memory_events(data)
    return events.oom_kill, events.high, None


def _parse_oom_control(data: bytes) -> Counts:
    return parse_oom_kill(data), None, None


def _parse_pids(data: bytes) -> Counts:
    return None, None, parse_pids_events(data)


@dataclass(frozen=True, slots=True)
class CountFile:
    """A file of counters, in the hierarchy that has it on this host.

    Attributes:
        container: the file of a container, which counts what is below too.
        others: the files of another cgroup, which count itself alone; the first that is there.
        notifies: the kernel tells inotify of each count.
    """

    hierarchy: Hierarchy
    container: str
    others: tuple[str, ...]
    parse: Callable[[bytes], Counts]
    notifies: bool = True

    def names(self, with_below: bool) -> tuple[str, ...]:
        """The files to choose from, which count what is below too or not."""
        return (self.container,) if with_below else self.others


class CountFiles:
    """All of them that a host has."""

    def __init__(self, hierarchies: Hierarchies) -> None:
        self._files = tuple(_of(hierarchies))

    def __iter__(self) -> Iterator[CountFile]:
        """Each file."""
        return iter(self._files)

    def read(self, path: str, with_below: bool = True) -> Counts:
        """What a cgroup has counted until now; nothing where it is gone.

        Args:
            path: of the cgroup.
            with_below: with what is below it, where the kernel counts that too.
        """
        counts = NOTHING
        for file in self._files:
            directory = file.hierarchy.directory(path)
            for name in file.names(with_below):
                content = kernel.read_path(f"{directory}/{name}")
                if isinstance(content, Missing):
                    continue
                try:
                    counts = add(counts, file.parse(content))
                except ParseError as exc:
                    log.debug("%s/%s: %s", directory, name, exc)
                break
        return counts


def _of(hierarchies: Hierarchies) -> Iterator[CountFile]:
    unified = hierarchies.unified
    if memory := hierarchies.legacy.get("memory"):
        name = "memory.oom_control"
        yield CountFile(memory, name, (name,), _parse_oom_control, notifies=False)
    elif unified:
        yield CountFile(unified, "memory.events", ("memory.events.local",), _parse_memory)
    if pids := hierarchies.legacy.get("pids") or unified:
        # Until Linux 6.12 pids.events counted the cgroup itself alone.
        yield CountFile(pids, "pids.events", ("pids.events.local", "pids.events"), _parse_pids)
