"""Step 2: Docker's own state, ``<data-root>/containers/<id>/config.v2.json``.

Source: moby container/container.go, `Container`. ``Config.Env`` holds secrets: not picked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

from cgexporter.correlate.facts import Facts, Key
from cgexporter.names import Answer, Answers, FileSource, Wanted, annotations, may_tell, ports
from cgexporter.names.door import Door
from cgexporter.names.pick import VALUE, Pairs, Shape, at, count, text, texts
from cgexporter.names.roots import expand


def from_labels(
    want: Wanted, labels: Mapping[str, str], name: str | None, passed: frozenset[str]
) -> Facts:
    """What a Docker container's labels and name tell, under cri-dockerd and without.

    cri-dockerd's names are made up (``k8s_<container>_<pod>_…``); its labels say what they stand
    for. Whoever may start a container may give it such labels, so the path has to agree.
    """
    facts = annotations.read(labels, passed)
    if facts.pod_uid is not None and facts.pod_uid == want.place.pod_uid:
        return facts
    return replace(facts, name=name, namespace=None, pod=None, pod_uid=None, sandbox=None)


class Docker(FileSource):
    """Names from Docker's data root.

    Args:
        door: to the host's files.
        roots: patterns of data roots.
        labels: the names of labels to pass on.
    """

    name: ClassVar = "docker"
    runtimes: ClassVar = frozenset({"docker"})
    hint: ClassVar = "run as uid 0 (no capability is needed) and mount Docker's data root"

    def __init__(self, door: Door, roots: Sequence[str], labels: frozenset[str]) -> None:
        super().__init__(door)
        self._roots = roots
        self._labels = labels

    def find(self, wanted: Sequence[Wanted]) -> Answers:
        """Look for Docker's files of these containers."""
        answers: dict[Key, Answer] = {}
        for root in expand(self._door, self._roots):
            listed = self._door.listed(f"{root.path}/containers")
            for want in wanted:
                ours = want.id in listed and may_tell(root.maker, want)
                if ours and want.key not in answers:
                    path = f"{root.path}/containers/{want.id}/config.v2.json"
                    if facts := self._read(path, want):
                        answers[want.key] = Answer(facts, root.maker)
        return answers

    def _read(self, path: str, want: Wanted) -> Facts | None:
        shape: Shape = {
            "ID": VALUE,
            "Name": VALUE,
            "RestartCount": VALUE,
            "State": {"Running": VALUE},
            "NetworkSettings": {"Ports": ports.DOCKER_STATE},
            "Config": {"Image": VALUE, "Labels": Pairs(annotations.KEYS | self._labels)},
        }
        picked = self._door.pick(path, shape)
        # Files of stopped containers stay; what has their ID now is something else.
        if at(picked, "ID") != want.id or at(picked, "State", "Running") is not True:
            return None
        name = (text(at(picked, "Name")) or "").removeprefix("/")
        labels = texts(at(picked, "Config", "Labels"))
        facts = from_labels(want, labels, name or None, self._labels)
        restarts = facts.restart_count
        return replace(
            facts,
            container_id=want.id,
            runtime="docker",
            image=text(at(picked, "Config", "Image")),
            ports=ports.docker_state(at(picked, "NetworkSettings", "Ports")),
            restart_count=count(at(picked, "RestartCount")) if restarts is None else restarts,
        )
