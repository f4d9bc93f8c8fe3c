"""Step 2: annotations in OCI bundles, ``<directory>/<id>[/userdata]/config.json``.

Source: OCI runtime-spec, config.md. ``process.env`` of these files holds secrets: only
``annotations`` and ``linux.cgroupsPath`` are picked.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from cgexporter.correlate.facts import Key
from cgexporter.names import Answer, Answers, FileSource, Wanted, annotations, may_tell
from cgexporter.names.door import Door
from cgexporter.names.pick import VALUE, Pairs, Shape, at, text, texts
from cgexporter.names.roots import Root, expand


class Bundle(FileSource):
    """Names from OCI bundles of containerd, CRI-O and Podman.

    Args:
        door: to the host's files.
        containerd, storage: patterns of the directories that hold bundles by ID.
        labels: the names of annotations to pass on.
    """

    name: ClassVar = "bundle"
    hint: ClassVar = "run as uid 0 (no capability is needed) and mount the runtime's bundles"

    def __init__(
        self,
        door: Door,
        containerd: Sequence[str],
        storage: Sequence[str],
        labels: frozenset[str],
    ) -> None:
        super().__init__(door)
        self._containerd = containerd
        self._storage = storage
        self._labels = labels

    def find(self, wanted: Sequence[Wanted]) -> Answers:
        """Look for the bundles of these containers."""
        answers: dict[Key, Answer] = {}
        for patterns, below in ((self._containerd, ""), (self._storage, "/userdata")):
            for root in expand(self._door, patterns):
                listed = self._door.listed(root.path)
                for want in wanted:
                    ours = want.id in listed and may_tell(root.maker, want)
                    if ours and want.key not in answers:
                        path = f"{root.path}/{want.id}{below}/config.json"
                        if answer := self._read(root, path, want):
                            answers[want.key] = answer
        return answers

    def _read(self, root: Root, path: str, want: Wanted) -> Answer | None:
        shape: Shape = {
            "annotations": Pairs(annotations.KEYS | self._labels),
            "linux": {"cgroupsPath": VALUE},
        }
        picked = self._door.pick(path, shape)
        if picked is None:
            return None
        facts = annotations.read(texts(at(picked, "annotations")), self._labels)
        # A path is absolute with the cgroupfs driver; with systemd it is slice:prefix:name.
        told = text(at(picked, "linux", "cgroupsPath")) or ""
        return Answer(replace(facts, container_id=want.id), root.maker, proven=told == want.path)
