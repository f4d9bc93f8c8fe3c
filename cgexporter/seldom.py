"""Files that are not read in each scan: when they change, and where they stand still.

Sources: kernel/sched/core.c (cpu_cfs_stat_show, cpu_cfs_local_stat_show), kernel/cgroup/pids.c
(pids_event), kernel/cgroup/cpuset.c (update_cpumasks_hier) and mm/oom_kill.c (__oom_kill_process).
"""

import logging
from collections import Counter
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import NamedTuple

log = logging.getLogger(__name__)

# How the files that set a limit begin where they set none.
NO_LIMIT = {"cpu.cfs_quota_us": b"-1\n", "cpu.max": b"max ", "pids.max": b"max\n"}
# What is written to them changes what is below, too.
REACHING_BELOW = (*NO_LIMIT, "cpuset.")
# The inode of a hierarchy's own root, which no limit is above.
_ROOT_INODE = 1


class Occasion(NamedTuple):
    """When a file may change: if somebody writes to a file of its directory, and else?

    Attributes:
        limit: while this file of the same directory sets a limit; "": that does not matter.
        above: while one in a directory above sets it, too; all have to be watched.
        kills: when the OOM killer kills, whomever.
    """

    limit: str = ""
    above: bool = False
    kills: bool = False


WRITTEN = Occasion()
# Of CPUs and memory nodes to use, the root's are read in each scan.
CPUS = Occasion(above=True)
KILLS = Occasion(kills=True)


class Standstill:
    """Where files stand still, for all cgroups of a host.

    A directory is known when it is watched: what it sets is then what was read last.

    Attributes:
        version: grows when each file that stood still has to be read.
        has_killed: whether the OOM killer may have killed since the last scan.
    """

    def __init__(self) -> None:
        self.version = self._before = 0  # now, and when this scan began
        self.has_killed = False
        # By directory, which files set no limit there, and "" for "is watched".
        self._free: dict[str, AbstractSet[str]] = {}
        self._below: Counter[str] = Counter()
        # The machine's count in the last scan that ended, and in this one.
        self._kills: int | None = None
        self._kills_now: int | None = None
        self._moved = self._again = False
        self._doubted = ""
        self._trusted = True

    def begin(self, kills: int | None, *, written: bool) -> None:
        """Begin a scan.

        Args:
            kills: the machine's count, None where it has none.
            written: somebody wrote to a file of `REACHING_BELOW`.
        """
        self._kills_now = kills
        # The machine's counter comes first, the cgroup's a moment later: so twice.
        self.has_killed = self._has_moved() or self._moved
        self._before = self.version
        if written or self._again:
            self.version += 1
        elif self._doubted and self._trusted:
            log.warning("%s changed, nothing told of it: it is read in each scan", self._doubted)
            self._trusted = False
            self.version += 1
        self._again, self._doubted = False, ""

    def end(self) -> None:
        """End a scan that has come to all cgroups; what others did not read is still to be read."""
        self._moved, self._kills = self._has_moved(), self._kills_now

    def _has_moved(self) -> bool:
        return self._kills_now is None or self._kills_now != self._kills

    def doubt(self, name: str) -> None:
        """Say that a file changed and nothing told of it: the next `begin` must, or none will."""
        if self.version == self._before:
            self._doubted = name

    def read_twice(self) -> None:
        """Read all that stands still from here on in this scan, and all of it in the next."""
        self.version += 1
        self._again = True

    def note(self, path: str, free: AbstractSet[str]) -> None:
        """Say which files of a directory set no limit, and "" where it is watched."""
        if path not in self._free:
            self._below[path.rpartition("/")[0]] += 1
        self._free[path] = free

    def forget(self, path: str) -> None:
        """Say that nothing is known of a directory any more."""
        if self._free.pop(path, None) is None:
            return
        above = path.rpartition("/")[0]
        self._below[above] -= 1
        if not self._below[above]:
            del self._below[above]
        if path in self._below:
            self.read_twice()

    def holds(self, path: str, top: str, occasion: Occasion) -> bool:
        """Whether a file of a directory stands still until its occasion.

        Args:
            path: of the directory.
            top: of its hierarchy.
            occasion: of the file.
        """
        limit = occasion.limit
        if not self._trusted or limit not in self._free.get(path, ()):
            return False
        if not occasion.above:
            return True
        if path == top:
            return False
        while path != top:
            path = path.rpartition("/")[0]
            if limit not in self._free.get(path, ()):
                return False
        return True


def free_of_limits(inode: int, is_top: bool, contents: Mapping[str, object]) -> frozenset[str]:
    """What to note of a watched directory.

    Args:
        inode: of the directory.
        is_top: whether nothing above it can be seen.
        contents: of those of its files that set a limit.
    """
    if is_top:
        return frozenset(("", *NO_LIMIT)) if inode == _ROOT_INODE else frozenset(("",))
    free = (
        name
        for name, content in contents.items()
        if isinstance(content, bytes) and content.startswith(NO_LIMIT[name])
    )
    return frozenset(("", *free))
