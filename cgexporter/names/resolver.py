"""Asks the sources, decides what to believe, and keeps it while the cgroups live.

A scan hands over its view and never waits; what is known is read from `Resolver.told`, a mapping
that is replaced and never changed. Nothing is stored: after a restart the sources are read again.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from cgexporter import kernel
from cgexporter.correlate.facts import NOTHING, Facts, Key, Told, merged
from cgexporter.correlate.paths import Place
from cgexporter.correlate.view import View
from cgexporter.hierarchies import Hierarchies
from cgexporter.kernel import Missing
from cgexporter.names import SYSTEM, Answer, Answers, Source, Wanted

log = logging.getLogger(__name__)

# A container's cgroup is there before its runtime has written what it is: ask again soon, then
# ever more seldom.
_FIRST_DELAY_SECONDS = 0.05
_LAST_DELAY_SECONDS = 60.0
# How many containers a source is asked for at once, so that what is found is told early.
_BATCH = 64
_LIVE_SECONDS = 2.0
_MAX_SAID = 1000
# Asked so often in vain, a source's missing rights are worth a word.
_TRIES = 4
# Sources that know each container of a pod but its sandbox.
_LISTS = ("logs", "kubelet", "api")

_Claim = tuple[int | None, bool, str | None]


@dataclass(slots=True)
class _Asked:
    """How often one source was asked for one container in vain, and when it is asked again."""

    times: int = 0
    due: float = 0.0

    def again(self, now: float) -> None:
        self.due = now + min(_FIRST_DELAY_SECONDS * 2**self.times, _LAST_DELAY_SECONDS)
        self.times = min(self.times + 1, 16)


@dataclass(slots=True)
class _Entry:
    """One container or pod that lives."""

    want: Wanted
    order: int  # of being seen first, the same for those of one scan
    answers: dict[str, Answer] = field(default_factory=dict)
    asked: dict[str, _Asked] = field(default_factory=dict)

    @property
    def known(self) -> bool:
        """Whether it is known who it is and of what image."""
        facts = [answer.facts for answer in self.answers.values()]
        named = any(each.name is not None or each.sandbox for each in facts)
        return named and any(each.image is not None for each in facts)


@dataclass(frozen=True, slots=True)
class Status:
    """What the resolver has to say of itself."""

    by_source: Mapping[str, int]
    errors: Mapping[str, int]


class Resolver:
    """Names for what scans see.

    Args:
        sources: in the order of the ladder, the cheapest right first.
        hierarchies: of the host.
    """

    def __init__(self, sources: Sequence[Source], hierarchies: Hierarchies) -> None:
        self._sources = sources
        self._hierarchies = hierarchies
        self._entries: dict[Key, _Entry] = {}
        self._order = 0
        self._view: View | None = None
        self._wake = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._errors: Counter[str] = Counter()
        self._said: set[tuple[str, str]] = set()
        self._changed = False  # something that `told` or `status` does not say yet
        self.told: Told = {}
        self.missing: dict[str, str] = {}  # by source, what it was denied and what would allow it
        self.status = Status(
            {source.name: 0 for source in sources}, {source.name: 0 for source in sources}
        )

    def want(self, view: View) -> None:
        """Find out, in a thread of its own, who is new in a view; returns at once."""
        self._view = view
        if self._thread is None and self._sources and not self._stopping:
            self._thread = threading.Thread(target=self._run, name="names", daemon=True)
            self._thread.start()
        if {
            key for key, _, _ in _nameable(view)
        } != self._entries.keys():  # else it wakes by itself when something is due
            self._wake.set()

    def resolve(self, view: View) -> Told:
        """Ask every source once for who is in a view, in this thread."""
        self._take(view)
        while self._round(time.monotonic(), only_new=True):
            pass
        return self.told

    def close(self) -> None:
        """Stop asking."""
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=5)
        for source in self._sources:
            source.close()

    def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            try:
                view, self._view = self._view, None
                if view is not None:
                    self._take(view)
                more = self._round(time.monotonic())
            except Exception:  # a bug in here must not end all naming
                log.exception("resolving names failed")
                more = False
            if not more:
                self._wake.wait(self._pause(time.monotonic()))

    def _pause(self, now: float) -> float:
        """How long nothing is due."""
        dues = [
            asked.due
            for source in self._sources
            if not source.live
            for entry in self._entries.values()
            if (asked := entry.asked.get(source.name)) is not None and _may_tell(source, entry)
        ]
        if any(source.live for source in self._sources):
            dues.append(now + _LIVE_SECONDS)
        return max(min(dues, default=now + _LAST_DELAY_SECONDS) - now, _FIRST_DELAY_SECONDS / 2)

    def _take(self, view: View) -> None:
        """Begin with those that are new in a view, and forget those that are gone."""
        self._order += 1
        entries = {}
        for key, place, is_pod in _nameable(view):
            entries[key] = self._entries.get(key) or self._begin(key, place, is_pod)
        self._changed = self._changed or entries.keys() != self._entries.keys()
        self._entries = entries

    def _begin(self, key: Key, place: Place, is_pod: bool) -> _Entry:
        return _Entry(Wanted(key, place, is_pod, self._maker(key[0], place)), self._order)

    def _maker(self, path: str, place: Place) -> int | None:
        """Who could have given a cgroup its name: the owner of the one above it."""
        parent = place.parent_path
        for hierarchy in self._hierarchies.all:
            root = hierarchy.root.rstrip("/")
            # The container we run in is no reason for doubt: all we see is inside it.
            if parent is not None and not (root + "/").startswith(parent + "/"):
                return None
            above = kernel.status(hierarchy.directory(path.rpartition("/")[0] or "/"))
            if not isinstance(above, Missing):  # who may make cgroups there
                top = kernel.status(hierarchy.mount_point)
                of_system = not isinstance(top, Missing) and above.st_uid == top.st_uid
                return SYSTEM if of_system else above.st_uid
        return None

    def _round(self, now: float, only_new: bool = False) -> bool:
        """Ask each source for what is due; whether there is more to ask at once."""
        more = asked = False
        claims = Counter(_claim(entry.want) for entry in self._entries.values())
        for source in self._sources:
            if source.live:
                self._tell()  # before waiting for a server
            due = self._due(source, now, only_new)
            batch = due if source.live else due[:_BATCH]
            more = more or len(batch) < len(due)
            if batch or (source.live and not only_new):
                asked = True
                self._ask(source, batch, claims, now)
        self._tell()
        if asked:
            self._report_denied(tries=1 if only_new else _TRIES)
        return more

    def _due(self, source: Source, now: float, only_new: bool) -> list[_Entry]:
        due = []
        for entry in self._entries.values():
            asked = entry.asked.get(source.name)
            if only_new:
                wanted = asked is None and source.name not in entry.answers
            elif source.live:
                wanted = True
            else:
                wanted = source.name not in entry.answers and (asked is None or asked.due <= now)
            if wanted and _may_tell(source, entry):
                due.append(entry)
        return due

    def _ask(
        self, source: Source, batch: Sequence[_Entry], claims: Counter[_Claim], now: float
    ) -> None:
        answers: Answers = {}
        try:
            answers = source.find([entry.want for entry in batch])
        except Exception:  # a bug in one source must not cost the others their names
            self._errors[source.name] += 1
            self._changed = True
            log.exception("names from %s failed", source.name)
        self._report(source)
        for entry in batch:
            answer = answers.get(entry.want.key)
            sole = claims[_claim(entry.want)] == 1
            if answer is not None and not believed(answer, entry.want, sole):
                answer = None
            self._changed = self._changed or entry.answers.get(source.name) != answer
            if answer is not None:
                entry.answers[source.name] = answer
                entry.asked = {n: a for n, a in entry.asked.items() if n != source.name}
            else:
                entry.answers.pop(source.name, None)
                # Having been asked in vain is also what tells a sandbox.
                self._changed = self._changed or source.name not in entry.asked
                entry.asked.setdefault(source.name, _Asked()).again(now)

    def _report(self, source: Source) -> None:
        """Count what went wrong, and say each thing once."""
        for where, why in source.problems().items():
            self._errors[source.name] += 1
            self._changed = True
            self._say(source.name, f"{where}: {why}", why)

    def _report_denied(self, tries: int) -> None:
        """Keep what would tell missing names, once they are missing for a while.

        While serving it is said once in the log, otherwise beside the output.
        """
        unnamed = [
            entry
            for key, entry in self._entries.items()
            if not entry.want.is_pod
            and ((facts := self.told.get(key)) is None or (not facts.name and not facts.sandbox))
        ]
        for source in self._sources:
            waited = any(
                (asked := entry.asked.get(source.name)) is not None and asked.times >= tries
                for entry in unnamed
            )
            if waited and (denied := source.denied()):
                self.missing[source.name] = f"may not read {', '.join(denied[:3])}; {source.hint}"
                if self._thread is not None:
                    self._say(source.name, self.missing[source.name], "denied")

    def _say(self, source: str, problem: str, once: str) -> None:
        if (source, once) not in self._said:
            if len(self._said) < _MAX_SAID:
                self._said.add((source, once))
            log.warning("names from %s: %s", source, problem)

    def _tell(self) -> None:
        """Publish what is known now, where it is new."""
        if not self._changed:
            return
        self._changed = False
        order = sorted(self._sources, key=lambda source: not source.live)
        told: dict[Key, Facts] = {}
        for key, entry in self._entries.items():
            answers = (entry.answers.get(source.name) for source in order)
            facts = [_in_place(answer.facts, entry.want) for answer in answers if answer]
            if facts:
                told[key] = merged(facts)
        containers = [e for e in self._entries.values() if not e.want.is_pod]
        for entry in _sandboxes(containers):
            told[entry.want.key] = replace(told.get(entry.want.key, NOTHING), sandbox=True)
        _complete(told, containers, [e.want for e in self._entries.values() if e.want.is_pod])
        # What did not change stays the same object, for whoever compares.
        self.told = {
            key: last if (last := self.told.get(key)) == facts else facts
            for key, facts in told.items()
        }
        counts = Counter(name for entry in self._entries.values() for name in entry.answers)
        names = [source.name for source in self._sources]
        self.status = Status(
            {name: counts[name] for name in names}, {name: self._errors[name] for name in names}
        )


def _nameable(view: View) -> Iterator[tuple[Key, Place, bool]]:
    """Whom there is a name to find for, and whether it is a pod."""
    for container in view.found:
        yield (container.cgroup.path, container.cgroup.inode), container.place, False
    for pod in view.pods:
        yield (pod.cgroup.path, pod.cgroup.inode), pod.place, True


def _may_tell(source: Source, entry: _Entry) -> bool:
    """Whether a source can add something to what is known of one."""
    runtime = entry.want.place.runtime
    if source.runtimes and runtime is not None and runtime not in source.runtimes:
        return False
    if source.last_resort and entry.known:
        return False
    return source.pods or not entry.want.is_pod


def _claim(want: Wanted) -> _Claim:
    return want.maker, want.is_pod, want.id


def believed(answer: Answer, want: Wanted, sole: bool) -> bool:
    """Whether an answer is about this cgroup, and not about one whose name it took.

    Args:
        answer: of a source.
        want: the cgroup it was given for.
        sole: no other cgroup of the same maker claims the same ID.
    """
    told, place = answer.facts.pod_uid, want.place.pod_uid
    if told and place and told != place:
        return False
    if answer.maker != SYSTEM and answer.maker != want.maker:
        return False
    return answer.proven or (want.maker == answer.maker and sole)


def _in_place(facts: Facts, want: Wanted) -> Facts:
    """What facts say of a pod counts only inside one: whoever starts a container labels it.

    Outside of a pod nothing is a sandbox either, and so hidden.
    """
    if facts.sandbox and want.place.pod_path is None:
        facts = replace(facts, sandbox=None)
    if facts.namespace is None or want.place.pod_uid is not None:
        return facts
    return replace(facts, namespace=None, pod=None, pod_uid=None)


def _sandboxes(containers: Iterable[_Entry]) -> Iterable[_Entry]:
    """Those that a list of containers lacks (the kubelet's log links, the API) in a listed pod.

    A container that only just starts is not listed yet either. But a pod's sandbox is its first
    cgroup, and only one.
    """
    by_pod: dict[str, list[_Entry]] = {}
    for entry in containers:
        place = entry.want.place
        if place.pod_path is not None and place.qos_class is not None:
            by_pod.setdefault(place.pod_path, []).append(entry)
    for entries in by_pod.values():
        for source in _LISTS:
            listed = [entry.order for entry in entries if source in entry.answers]
            others = [entry for entry in entries if source not in entry.answers]
            if not listed or len(others) != 1 or source not in others[0].asked:
                continue
            if others[0].order <= min(listed):
                yield others[0]


def _complete(told: dict[Key, Facts], containers: Sequence[_Entry], pods: Sequence[Wanted]) -> None:
    """Give pods the names that their containers tell, and containers those of their pods."""
    named: dict[str, Facts] = {}
    for entry in containers:
        facts, pod_path = told.get(entry.want.key), entry.want.place.pod_path
        if facts is not None and facts.pod and pod_path and entry.want.maker is not None:
            named.setdefault(pod_path, facts)
    for pod in pods:
        facts = named.get(pod.path)
        own = told.get(pod.key)
        if facts is not None and (own is None or not own.pod):
            told[pod.key] = merged([*_parts(own), _of_pod(facts)])
        if (its := told.get(pod.key)) is not None and its.pod:
            named[pod.path] = its
    for entry in containers:
        facts = named.get(entry.want.place.pod_path or "")
        own = told.get(entry.want.key)
        known = own is not None and own.pod is not None
        if facts is not None and not known and entry.want.maker is not None:
            told[entry.want.key] = merged([*_parts(own), _of_pod(facts)])


def _parts(facts: Facts | None) -> list[Facts]:
    return [] if facts is None else [facts]


def _of_pod(facts: Facts) -> Facts:
    return Facts(
        namespace=facts.namespace,
        pod=facts.pod,
        pod_uid=facts.pod_uid,
        qos_class=facts.qos_class,
    )
