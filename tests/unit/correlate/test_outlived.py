"""What a cgroup v2 counted and no container lived to tell is told once, by the cgroup around it."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from cgexporter.correlate.counts import NOTHING, Counts, add, most
from cgexporter.correlate.outlived import Outlived
from cgexporter.model import Cgroup
from cgexporter.model.memory import Memory

SLICE, POD, OTHER = "/s.slice", "/s.slice/pod", "/s.slice/other"
PATHS = (SLICE, POD, OTHER, "/t.slice")


class Host:
    """Cgroups that count kills with what is below them, some of which are noticed in time."""

    def __init__(self) -> None:
        self.counted: Counter[str] = Counter()
        self.known: Counter[str] = Counter()
        self.published: dict[str, Counts] = {}
        self.alive: set[str] = set()
        self.told_by_gone = 0
        self.kills = 0
        self.outlived = Outlived()

    def make(self, path: str) -> None:
        """Make a cgroup, and those around it."""
        self.alive |= {other for other in PATHS if path == other or path.startswith(other + "/")}

    def kill(self, path: str, *, noticed: bool) -> None:
        """Kill a container in it."""
        if path in self.alive:
            self.kills += 1
            self.known[path] += noticed
            for other in self.alive:
                self.counted[other] += path == other or path.startswith(other + "/")

    def remove(self, path: str) -> None:
        """Remove one of two that lie in another."""
        if path not in (POD, OTHER) or path not in self.alive:
            return
        self.alive.remove(path)
        told = self.published.pop(path, NOTHING)
        self.told_by_gone += told[0] or 0
        self.known[SLICE] += max(0, self.known.pop(path, 0) - (told[0] or 0))
        del self.counted[path]
        self.outlived.gone(path, told, SLICE)

    def read(self, path: str) -> Counts:
        """Counts of one, now."""
        return self.counted[path], 0, None

    def scan(self) -> None:
        """Publish what is known and what is found to be more."""
        cgroups = {
            path: Cgroup(
                path,
                1,
                leaf=False,
                memory=Memory(events_oom_kill=self.counted[path], events_high=0),
            )
            for path in self.alive
        }
        known: dict[str, Counts] = {path: (self.known[path], 0, None) for path in self.alive}
        alive = frozenset(self.alive)
        least = self.outlived.take(cgroups, alive, known, lambda _: True, self.read)
        for path in alive:
            now = most(known[path], least.get(path, NOTHING))
            self.published[path] = most(self.published.get(path, NOTHING), now)

    @property
    def told(self) -> int:
        """Kills that were published, by those that are gone too."""
        return self.told_by_gone + sum(counts[0] or 0 for counts in self.published.values())


_ACTS = st.one_of(
    st.tuples(st.just("make"), st.sampled_from(PATHS)),
    st.tuples(st.sampled_from(("noticed", "missed")), st.sampled_from(PATHS)),
    st.tuples(st.just("remove"), st.sampled_from((POD, OTHER))),
    st.tuples(st.just("scan"), st.just("")),
)


@given(st.lists(_ACTS, max_size=40))
def test_every_kill_is_told_once(acts: list[tuple[str, str]]) -> None:
    """Whatever comes, is killed, goes and is overlooked: each scan has told of each kill once."""
    host = Host()
    for act, path in (*acts, ("scan", "")):
        if act == "make":
            host.make(path)
        elif act == "remove":
            host.remove(path)
        elif act == "scan":
            host.scan()
            assert host.told == host.kills
        else:
            host.kill(path, noticed=act == "noticed")


def _look(
    outlived: Outlived, kills: int, *, born: bool, below: int = 0, now: int = 0
) -> int | None:
    def cgroup(path: str, count: int) -> Cgroup:
        return Cgroup(path, 1, leaf=False, memory=Memory(events_oom_kill=count, events_high=0))

    least = outlived.take(
        {SLICE: cgroup(SLICE, kills), POD: cgroup(POD, below)},
        frozenset({SLICE, POD}),
        {SLICE: (0, 0, None)},
        lambda _: born,
        lambda _: (now, 0, None),
    )
    return least.get(SLICE, NOTHING)[0]


def test_what_was_there_before_is_not_told() -> None:
    """An exporter before may have told of it, under the name of a cgroup that is gone."""
    outlived = Outlived()
    assert _look(outlived, 1000, born=False) is None
    assert _look(outlived, 1003, born=False) == 3
    assert _look(Outlived(), 1000, born=True) == 1000


def test_a_kill_between_two_readings_is_not_told_twice() -> None:
    """A pod that was read before its slice was may have been killed in between."""
    outlived = Outlived()
    assert _look(outlived, 0, born=True) is None
    assert _look(outlived, 1, born=True, below=0, now=1) is None
    assert _look(outlived, 2, born=True, below=1, now=1) == 1


def test_hosts_without_counts_of_what_is_below() -> None:
    """On v1 each cgroup counts for itself alone, and nothing is made of that."""
    cgroup = Cgroup(SLICE, 1, leaf=False, memory=Memory(events_local_oom_kill=5))
    known = {SLICE: add(NOTHING, (2, None, None))}
    took = Outlived().take(
        {SLICE: cgroup}, frozenset({SLICE}), known, lambda _: True, lambda _: NOTHING
    )
    assert took == {}
