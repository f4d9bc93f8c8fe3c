"""Step 2: Podman's own database: pods, and which container is in which.

Podman up to 4 writes ``<storage>/libpod/bolt_state.db`` (libpod/boltdb_state_internal.go), Podman 5
``db.sql`` beside it (libpod/sqlite_state.go). Of a container's configuration, which holds its
environment, only named keys are picked; of SQLite only the table of pods is read.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import ClassVar

from cgexporter.correlate.facts import NO_LABELS, Facts, Key
from cgexporter.kernel import Missing
from cgexporter.names import Answer, Answers, FileSource, Wanted, annotations, may_tell, ports
from cgexporter.names.bolt import Bucket
from cgexporter.names.door import Door, wipe
from cgexporter.names.pick import VALUE, Pairs, Picked, Shape, at, pick, text, texts
from cgexporter.names.roots import Root, expand
from cgexporter.parse.formats import ParseError


class Libpod(FileSource):
    """Names of Podman's pods, and names, images and labels of its containers.

    Args:
        door: to the host's files.
        roots: patterns of the directories with the database.
        labels: the names of labels to pass on.
    """

    name: ClassVar = "libpod"
    pods: ClassVar = True
    last_resort: ClassVar = False  # nothing else tells pods' names
    runtimes: ClassVar = frozenset({"podman"})
    hint: ClassVar = "run as uid 0 (no capability is needed) and mount /var/lib/containers/storage"

    def __init__(self, door: Door, roots: Sequence[str], labels: frozenset[str]) -> None:
        super().__init__(door)
        self._roots = roots
        self._labels = labels
        pairs = Pairs(annotations.KEYS | labels)
        self._container: Shape = {
            "name": VALUE,
            "isInfra": VALUE,
            "rootfsImageName": VALUE,
            "labels": pairs,
            "newPortMappings": ports.PODMAN,
        }
        self._pod: Shape = {"name": VALUE, "labels": pairs}

    def find(self, wanted: Sequence[Wanted]) -> Answers:
        """Look for these containers and pods."""
        answers: dict[Key, Answer] = {}
        for root in expand(self._door, self._roots):
            ours = [w for w in wanted if w.id and may_tell(root.maker, w) and w.key not in answers]
            if not ours:
                continue
            visit = partial(self._visit, root, ours)
            answers.update(self._door.bolt(f"{root.path}/bolt_state.db", visit) or {})
            sql = f"{root.path}/db.sql"
            if not isinstance(self._door.stamp(sql), Missing):
                from cgexporter.names.sqlite import pods

                known = pods(self._door, sql, self._labels)
                for want in ours:
                    pod = known.get((want.id if want.is_pod else want.place.pod_uid) or "")
                    if pod is not None and want.key not in answers:
                        answers[want.key] = Answer(_of(pod, want.is_pod), root.maker)
        return answers

    def _visit(self, root: Root, wanted: Sequence[Wanted], database: Bucket) -> Answers:
        containers, pods = database.bucket(b"ctr"), database.bucket(b"pod")
        answers = {}
        for want in wanted:
            within, name = (pods, want.id) if want.is_pod else (containers, want.id)
            found = within.bucket(_key(name or "")) if within is not None else None
            if found is None:
                continue
            if want.is_pod:
                facts = self._pod_facts(want.id or "", found)
            else:
                pod_id = found.text(b"pod-id")
                pod = pods.bucket(_key(pod_id)) if pods is not None and pod_id else None
                of_pod = self._pod_facts(pod_id, pod) if pod is not None and pod_id else None
                facts = self._facts(want.id or "", _picked(found, self._container), of_pod)
            answers[want.key] = Answer(facts, root.maker)
        return answers

    def _pod_facts(self, id_: str, pod: Bucket) -> Facts:
        picked = _picked(pod, self._pod)
        labels = texts(at(picked, "labels"))
        return Facts(
            runtime="podman",
            pod=text(at(picked, "name")),
            pod_uid=id_,
            labels=passed(labels, self._labels),
        )

    def _facts(self, id_: str, picked: Picked, pod: Facts | None) -> Facts:
        # What labels say of a pod is whatever their writer liked; here it is known.
        labels = texts(at(picked, "labels"))
        compose = annotations.read(labels, self._labels)
        is_infra = at(picked, "isInfra") is True
        return Facts(
            container_id=id_,
            runtime="podman",
            name=None if is_infra else text(at(picked, "name")),
            image=text(at(picked, "rootfsImageName")),
            pod=pod.pod if pod else None,
            pod_uid=pod.pod_uid if pod else None,
            sandbox=is_infra,
            ports=ports.podman(at(picked, "newPortMappings")),
            compose_project=compose.compose_project,
            compose_service=compose.compose_service,
            labels=compose.labels,
        )


def passed(labels: Mapping[str, str], names: frozenset[str]) -> Mapping[str, str]:
    """The labels that are asked for, of those that are there."""
    return {name: labels[name] for name in sorted(names) if labels.get(name)} or NO_LABELS


def _of(pod: Facts, is_pod: bool) -> Facts:
    if is_pod:
        return pod
    return Facts(runtime="podman", pod=pod.pod, pod_uid=pod.pod_uid)


def _picked(bucket: Bucket, shape: Shape) -> Picked:
    """What a shape picks of a container's or pod's configuration."""
    config = bucket.value(b"config")
    if config is None:
        return None
    try:
        return pick(config, shape)
    except ParseError as exc:
        raise ParseError(f"libpod: {exc}") from None
    finally:
        wipe(config)


def _key(id_: str) -> bytes:
    return id_.encode("utf-8", "surrogateescape")
