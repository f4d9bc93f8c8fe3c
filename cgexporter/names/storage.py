"""Step 2: containers-storage, in which Podman and CRI-O keep the names of their containers.

``<root>/<driver>-containers/{,volatile-}containers.json``, one array for all. Source:
containers/storage containers.go, `Container`; its ``metadata`` is a JSON document of Podman
(pkg libpod/storage.go) or CRI-O (internal/storage/runtime.go), `RuntimeContainerMetadata`.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from cgexporter.correlate.facts import Facts, Key
from cgexporter.kernel import Missing
from cgexporter.names import Answer, Answers, FileSource, Wanted, may_tell
from cgexporter.names.door import Door
from cgexporter.names.pick import STRINGS, VALUE, Each, Picked, Shape, each, pick, text
from cgexporter.names.roots import expand
from cgexporter.parse.formats import ParseError

_FILES = ("containers.json", "volatile-containers.json")
_MAX_BYTES = 64 << 20
_CONTAINERS: Shape = Each({"id": VALUE, "names": STRINGS, "metadata": VALUE})
_METADATA: Shape = dict.fromkeys(
    ("image-name", "pod-name", "pod-id", "metadata-name", "uid", "namespace"), VALUE
)


class Storage(FileSource):
    """Names from containers-storage.

    Args:
        door: to the host's files.
        roots: patterns of the directories with ``containers.json``.
    """

    name: ClassVar = "storage"
    runtimes: ClassVar = frozenset({"podman", "cri-o"})
    hint: ClassVar = "run as uid 0 (no capability is needed) and mount /var/lib/containers/storage"

    def __init__(self, door: Door, roots: Sequence[str]) -> None:
        super().__init__(door)
        self._roots = roots
        self._read: dict[str, tuple[tuple[int, int, int], Mapping[str, Facts]]] = {}

    def find(self, wanted: Sequence[Wanted]) -> Answers:
        """Look for these containers; a file that did not change is not read again."""
        answers: dict[Key, Answer] = {}
        known = {}
        for root in expand(self._door, self._roots):
            for file in _FILES:
                path = f"{root.path}/{file}"
                stamp = self._door.stamp(path)
                if isinstance(stamp, Missing):
                    continue
                last = self._read.get(path)
                known[path] = last if last and last[0] == stamp else (stamp, self._load(path))
                for want in wanted:
                    facts = known[path][1].get(want.id or "")
                    if facts is not None and may_tell(root.maker, want):
                        answers.setdefault(want.key, Answer(facts, root.maker))
        self._read = known
        return answers

    def _load(self, path: str) -> Mapping[str, Facts]:
        containers = list(each(self._door.pick(path, _CONTAINERS, _MAX_BYTES)))
        metadata = {id_: _metadata(c) for c in containers if (id_ := text(c.get("id")))}
        names = {text(c.get("id")): c.get("names") for c in containers}
        return {
            id_: _facts(id_, names[id_], about, metadata.get(text(about.get("pod-id")) or "", {}))
            for id_, about in metadata.items()
        }


def _metadata(container: Mapping[str, Picked]) -> Mapping[str, Picked]:
    written = (text(container.get("metadata")) or "").encode("utf-8", "surrogateescape")
    try:
        picked = pick(bytearray(written), _METADATA) if written else None
    except ParseError:
        return {}  # another program's: containers-storage does not say of what form it is
    return picked if isinstance(picked, dict) else {}


def _facts(
    id_: str, names: Picked, about: Mapping[str, Picked], sandbox: Mapping[str, Picked]
) -> Facts:
    """Facts of one container; only a pod's sandbox has the pod's namespace and UID."""
    image, pod_id = text(about.get("image-name")), text(about.get("pod-id"))
    if pod_id is None:  # Podman
        first = names[0] if isinstance(names, list) and names else None
        return Facts(container_id=id_, runtime="podman", name=text(first), image=image)
    is_sandbox = pod_id == id_
    return Facts(
        container_id=id_,
        runtime="cri-o",
        name=None if is_sandbox else text(about.get("metadata-name")),
        namespace=text(sandbox.get("namespace")),
        pod=text(about.get("pod-name")),
        pod_uid=text(sandbox.get("uid")),
        image=image,
        sandbox=is_sandbox,
    )
