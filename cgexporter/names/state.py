"""Step 2: state files of the runtimes that start containers: runc and crun.

``<root>/<id>/state.json`` (runc libcontainer, `State`) and ``<root>/<id>/status`` (crun,
libcrun/status.c). They name the cgroup, so they also know containers whose path proves nothing,
and no forged path can take their names.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from cgexporter.correlate.facts import Facts, Key
from cgexporter.kernel import Missing
from cgexporter.names import Answer, Answers, FileSource, Wanted, annotations, may_tell
from cgexporter.names.door import Door
from cgexporter.names.pick import STRINGS, VALUE, Pairs, Picked, Shape, at, text, texts
from cgexporter.names.roots import Root, expand

_HEX_ID = re.compile(r"[0-9a-f]{64}")
_BUNDLE = "bundle"
_TASK = re.compile(r"/io\.containerd\.runtime\.v2\.task/[^/]+/[^/]+$")
_DOCKER_ROOT = re.compile(r"/runtime-[^/]+/moby$")
_CRUN: Shape = {"cgroup-path": VALUE, "bundle": VALUE}


@dataclass(frozen=True, slots=True)
class _State:
    """What one state file tells."""

    facts: Facts
    paths: frozenset[str]
    maker: int

    def answer(self, want: Wanted) -> Answer | None:
        """What it tells of a cgroup; None where it names another."""
        if not may_tell(self.maker, want):
            return None
        if not self.paths:
            return Answer(self.facts, self.maker)
        inside = any(path.startswith(want.path + "/") for path in self.paths)
        if want.path in self.paths or (inside and self.facts.container_id == want.id):
            return Answer(self.facts, self.maker, proven=True)
        return None


class State(FileSource):
    """Names from the state of runc and crun.

    Args:
        door: to the host's files.
        runc, crun: patterns of their roots.
        labels: the names of annotations to pass on.
        prefixes: of the cgroups that are the roots of the hierarchies we see.
    """

    name: ClassVar = "state"
    last_resort: ClassVar = False
    hint: ClassVar = "run as uid 0 (no capability is needed) and mount the runtime's state"

    def __init__(
        self,
        door: Door,
        runc: Sequence[str],
        crun: Sequence[str],
        labels: frozenset[str],
        prefixes: Sequence[str] = (),
    ) -> None:
        super().__init__(door)
        self._runc = runc
        self._crun = crun
        self._labels = labels
        self._prefixes = prefixes
        # Those whose ID no path has, so that each is read once and not in each round.
        self._strangers: dict[str, tuple[tuple[int, int, int], _State | None]] = {}

    def find(self, wanted: Sequence[Wanted]) -> Answers:
        """Look for the state of these containers; first by ID, then by cgroup."""
        by_id: dict[str, list[Wanted]] = {}
        for want in wanted:
            if want.id is not None:
                by_id.setdefault(want.id, []).append(want)
        answers: dict[Key, Answer] = {}
        strangers = []
        for root, id_, file in self._files():
            path = f"{root.path}/{id_}/{file}"
            if id_ not in by_id:
                strangers.append((root, id_, path))
            elif state := self._load(root, id_, path):
                _tell(answers, state, by_id[id_])
        unknown = [want for want in wanted if want.key not in answers]
        if unknown:
            for state in self._stranger_states(strangers):
                _tell(answers, state, unknown)
        return answers

    def _files(self) -> Iterator[tuple[Root, str, str]]:
        for patterns, file in ((self._runc, "state.json"), (self._crun, "status")):
            for root in expand(self._door, patterns):
                yield from ((root, name, file) for name in sorted(self._door.listed(root.path)))

    def _stranger_states(self, files: Sequence[tuple[Root, str, str]]) -> Iterator[_State]:
        known = {}
        for root, id_, path in files:
            stamp = self._door.stamp(path)
            if isinstance(stamp, Missing):
                continue
            last = self._strangers.get(path)
            known[path] = (
                last if last and last[0] == stamp else (stamp, self._load(root, id_, path))
            )
            if state := known[path][1]:
                yield state
        self._strangers = known

    def _load(self, root: Root, id_: str, path: str) -> _State | None:
        is_runc = path.endswith(".json")
        keys = annotations.KEYS | self._labels | {_BUNDLE}
        shape: Shape = {"id": VALUE, "cgroup_paths": STRINGS, "config": {"labels": Pairs(keys)}}
        picked = self._door.pick(path, shape if is_runc else _CRUN)
        if picked is None or (is_runc and at(picked, "id") != id_):
            return None
        pairs = texts(at(picked, "config", "labels"))
        bundle = pairs.get(_BUNDLE) or text(at(picked, "bundle")) or ""
        facts = annotations.read(pairs, self._labels)
        runtime = facts.runtime or _runtime(root.path, bundle, "runc" if is_runc else "crun")
        name = facts.name
        if name is None and not facts.sandbox and not is_hex_id(id_):
            name = id_  # who starts runc, crun or ctr by hand chooses the ID: it is the name
        facts = replace(facts, container_id=id_, runtime=runtime, name=name)
        return _State(facts, frozenset(self._paths(picked)), root.maker)

    def _paths(self, picked: Picked) -> Iterator[str]:
        if own := text(at(picked, "cgroup-path")):
            yield from self._seen_as(own)
        for path in _cgroup_paths(texts(at(picked, "cgroup_paths"))):
            yield from self._seen_as(path)

    def _seen_as(self, path: str) -> Iterator[str]:
        yield path
        for prefix in self._prefixes:
            yield prefix + path


def is_hex_id(id_: str) -> bool:
    """Whether a program made an ID up, so that it is nobody's name."""
    return _HEX_ID.fullmatch(id_) is not None


def _cgroup_paths(by_controller: Mapping[str, str]) -> Iterator[str]:
    """Paths of cgroups, from their directories where runc sees them, by v1 controller.

    "" is v2: the mount itself, or a directory ``unified`` on hybrid hosts.
    """
    for controller, directory in by_controller.items():
        _, mount, below = directory.partition("/sys/fs/cgroup/")
        if not mount:
            continue
        first, _, rest = below.partition("/")
        if not controller:
            yield "/" + below
        if controller or first == "unified":
            yield "/" + rest


def _runtime(root: str, bundle: str, default: str) -> str:
    if _DOCKER_ROOT.search(root):
        return "docker"
    return "containerd" if _TASK.search(bundle) else default


def _tell(answers: dict[Key, Answer], state: _State, wanted: Sequence[Wanted]) -> None:
    for want in wanted:
        answer = state.answer(want)
        if answer is not None and want.key not in answers:
            answers[want.key] = answer
