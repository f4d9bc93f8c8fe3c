"""What cgroup v2 goes on counting when those who were counted are gone.

``memory.events`` of a cgroup counts with its descendants, and keeps what they counted when they are
removed; so does ``pids.events`` since Linux 6.12. A container that is killed and removed before its
own file can be read is found there: in what the cgroup around it counts more than the published
ones below say for themselves. Source: cgroup-v2.rst, "memory.events".
"""

from collections.abc import Callable, Mapping

from cgexporter.correlate.counts import NOTHING, Counts, add, counts_of, less
from cgexporter.model import Cgroup

# Gives the counts of a cgroup as they are now.
Read = Callable[[str], Counts]


class Outlived:
    """Least counts of each published cgroup, from the counters around it.

    What was there when a cgroup was first met and nobody tells of any more stays untold: an earlier
    exporter may have told of it, under the name of a cgroup that is gone.
    """

    def __init__(self) -> None:
        # What is counted there and not to be told: others told it, or it was there before.
        self._told: dict[str, Counts] = {}
        self._below: dict[str, list[str]] = {}
        self._published: frozenset[str] = frozenset()

    def take(
        self,
        cgroups: Mapping[str, Cgroup],
        published: frozenset[str],
        known: Mapping[str, Counts],
        is_born: Callable[[str], bool],
        read: Read,
    ) -> dict[str, Counts]:
        """Least counts by path, where they are more than is known.

        Args:
            cgroups: of one scan.
            published: paths of all that have counts of their own, pods too.
            known: what is known to be theirs, of those to look at.
            is_born: whether the first moment of one was seen.
            read: called for few; a scan reads one cgroup after the other, and a count that came
                in between must not be told of two.
        """
        if published != self._published:
            self._arrange(published)
        found = {}
        for path, mine in known.items():
            cgroup = cgroups.get(path)
            if cgroup is None or cgroup.memory is None or cgroup.memory.events_high is None:
                continue  # no cgroup v2: each counts for itself alone
            first = path not in self._told
            rest = less(counts_of(cgroup), self._told.get(path, NOTHING))
            if not first and not _more(rest, mine):
                continue
            there = [cgroups[other] for other in self._below[path] if other in cgroups]
            for other in there:
                rest = less(rest, counts_of(other))
            if there and _more(rest, mine):
                rest = less(counts_of(cgroup), self._told.get(path, NOTHING))
                for other in there:
                    rest = less(rest, read(other.path))
            if first:
                self._told[path] = NOTHING if is_born(path) else less(rest, mine)
                rest = less(rest, self._told[path])
            if _more(rest, mine):
                found[path] = rest
        return found

    def gone(self, path: str, told: Counts, around: str) -> None:
        """A cgroup is published no more; the one around it counts on what was told of it."""
        told = add(told, self._told.pop(path, NOTHING))
        if around in self._told:
            self._told[around] = add(self._told[around], told)

    def _arrange(self, published: frozenset[str]) -> None:
        self._published = published
        self._below = {path: [] for path in published}
        for path in published:
            around = path
            while around != "/":
                around = around.rpartition("/")[0] or "/"
                if around in self._below:
                    self._below[around].append(path)
                    break


def _more(one: Counts, other: Counts) -> bool:
    return any(
        mine is not None and mine > (theirs or 0) for mine, theirs in zip(one, other, strict=True)
    )
