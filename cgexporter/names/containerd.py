"""Step 2: containerd's own database, ``<root>/io.containerd.metadata.v1.bolt/meta.db``.

Source: containerd metadata/buckets.go: v1 → namespace → containers → ID → image, labels, spec. The
spec holds the environment: its key is not asked for.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import ClassVar

from cgexporter.correlate.facts import Facts, Key
from cgexporter.names import Answer, Answers, FileSource, Wanted, annotations, may_tell
from cgexporter.names.bolt import Bucket
from cgexporter.names.door import Door
from cgexporter.names.roots import Root, expand
from cgexporter.names.state import is_hex_id

# Docker's containers are there without their names and images.
_NOT_OURS = frozenset({"moby"})


class Containerd(FileSource):
    """Images and labels from containerd's database.

    Args:
        door: to the host's files.
        roots: patterns of the directories with ``meta.db``.
        labels: the names of labels to pass on.
    """

    name: ClassVar = "containerd"
    runtimes: ClassVar = frozenset({"containerd"})
    hint: ClassVar = "run as uid 0 (no capability is needed) and mount containerd's root"

    def __init__(self, door: Door, roots: Sequence[str], labels: frozenset[str]) -> None:
        super().__init__(door)
        self._roots = roots
        self._labels = labels

    def find(self, wanted: Sequence[Wanted]) -> Answers:
        """Look for these containers."""
        answers: dict[Key, Answer] = {}
        for root in expand(self._door, self._roots):
            ours = [w for w in wanted if may_tell(root.maker, w) and w.key not in answers]
            if ours:
                visit = partial(self._visit, root, ours)
                answers.update(self._door.bolt(f"{root.path}/meta.db", visit) or {})
        return answers

    def _visit(self, root: Root, wanted: Sequence[Wanted], database: Bucket) -> Answers:
        schema = database.bucket(b"v1")
        by_namespace = {
            namespace: containers
            for namespace, its in (schema.buckets() if schema is not None else ())
            if namespace not in _NOT_OURS and (containers := its.bucket(b"containers")) is not None
        }
        answers = {}
        for want in wanted:
            known = list(_known(by_namespace, want))
            if len(known) == 1:  # else it cannot be told which of them runs there
                id_, found, proven = known[0]
                answers[want.key] = Answer(self._facts(id_, found), root.maker, proven=proven)
        return answers

    def _facts(self, id_: str, container: Bucket) -> Facts:
        labels = container.bucket(b"labels")
        pairs = {} if labels is None else labels.texts(annotations.KEYS | self._labels)
        facts = annotations.read(pairs, self._labels)
        name = facts.name
        if name is None and not facts.sandbox and not is_hex_id(id_):
            name = id_  # who starts one by ctr chooses the ID: it is the name
        image = container.text(b"image")
        return replace(facts, container_id=id_, runtime="containerd", name=name, image=image)


def _known(by_namespace: Mapping[str, Bucket], want: Wanted) -> Iterator[tuple[str, Bucket, bool]]:
    """The containers that a cgroup can be: of its ID, or of the path ``/<namespace>/<ID>``.

    containerd makes that path where its client asks for none.
    """
    _, _, rest = want.path.partition("/")
    namespace, _, last = rest.partition("/")
    for name, containers in by_namespace.items():
        by_path = name == namespace and last and "/" not in last
        for id_ in dict.fromkeys((want.id, last if by_path else None)):
            if id_ and (found := containers.bucket(_key(id_))) is not None:
                yield id_, found, bool(by_path and id_ == last)


def _key(id_: str) -> bytes:
    return id_.encode("utf-8", "surrogateescape")
