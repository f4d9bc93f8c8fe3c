"""Step 5: the sockets of Docker, Podman and CRI-O, for hosts that hide their state.

Whoever may use such a socket is root on the host, so none is used unless asked for. Lists are
asked for and not single containers: Docker's and Podman's lists have no environment in them.
Sources: Docker Engine API and Podman's libpod API, "list containers"; CRI-O server/inspect.go.
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

from cgexporter.correlate.facts import Facts, Key
from cgexporter.names import Answer, Answers, Wanted, annotations, ports
from cgexporter.names.docker import from_labels
from cgexporter.names.http import HttpError, Server, ServerSource
from cgexporter.names.pick import (
    STRINGS,
    VALUE,
    Each,
    Pairs,
    Picked,
    Shape,
    at,
    each,
    text,
    texts,
)

_NOT_FOUND = 404
_AGAIN_SECONDS = 1.0


class Socket(ServerSource):
    """Names from one runtime's socket.

    Args:
        kind: "docker", "podman" or "cri-o".
        path: of the socket.
        labels: the names of labels to pass on.
    """

    live: ClassVar = False
    pods: ClassVar = False
    last_resort: ClassVar = True
    hint: ClassVar = "run as a user who may use the socket"

    def __init__(self, kind: str, path: str, labels: frozenset[str]) -> None:
        super().__init__()
        self.name = f"socket-{kind}"
        self.runtimes = frozenset({kind})
        self._kind = kind
        self._server = Server(socket=path)
        self._labels = labels
        self._asked = -math.inf

    def find(self, wanted: Sequence[Wanted]) -> Answers:
        """Ask the runtime; at most once a second."""
        ours = [want for want in wanted if want.id]
        now = time.monotonic()
        if not ours or now < self._asked + _AGAIN_SECONDS:
            return {}
        self._asked = now
        return self._ask(ours)

    def _ask(self, wanted: Sequence[Wanted]) -> Answers:
        if self._kind == "cri-o":
            return self._crio(wanted)
        listed = {text(c.get("Id")): c for c in each(self._get(*self._list_of(self._kind)))}
        return {
            want.key: Answer(self._facts(want, listed[want.id]))
            for want in wanted
            if want.id in listed
        }

    def _list_of(self, kind: str) -> tuple[str, Shape]:
        labels = Pairs(annotations.KEYS | self._labels)
        common: dict[str, Shape] = {"Id": VALUE, "Names": STRINGS, "Image": VALUE, "Labels": labels}
        if kind == "docker":
            return "/containers/json", Each({**common, "Ports": ports.DOCKER_LIST})
        more = dict.fromkeys(("Pod", "PodName", "IsInfra", "Restarts"), VALUE)
        podman: Shape = {**common, **more, "Ports": ports.PODMAN}
        return "/v4.0.0/libpod/containers/json", Each(podman)

    def _facts(self, want: Wanted, container: Mapping[str, Picked]) -> Facts:
        # A name with a second "/" is a link of another container to this one.
        listed = container.get("Names")
        names = [n for n in listed if isinstance(n, str)] if isinstance(listed, list) else []
        name = next((n.removeprefix("/") for n in names if "/" not in n[1:]), None)
        facts = from_labels(want, texts(container.get("Labels")), name, self._labels)
        pod = text(container.get("PodName"))
        read = ports.docker_list if self._kind == "docker" else ports.podman
        return replace(
            facts,
            container_id=want.id,
            runtime=self._kind,
            image=text(container.get("Image")),
            ports=read(container.get("Ports")),
            pod=facts.pod or pod,
            pod_uid=facts.pod_uid or text(container.get("Pod")),
            sandbox=True if container.get("IsInfra") is True else facts.sandbox,
        )

    def _crio(self, wanted: Sequence[Wanted]) -> Answers:
        pairs = Pairs(annotations.KEYS | self._labels)
        shape: Shape = {"name": VALUE, "image": VALUE, "labels": pairs, "annotations": pairs}
        found: dict[Key, Answer] = {}
        for want in wanted:
            picked = self._get(f"/containers/{want.id}", shape)
            if picked is not None:
                told = texts(at(picked, "annotations")) | texts(at(picked, "labels"))
                facts = annotations.read(told, self._labels)
                image = facts.image or text(at(picked, "image"))
                facts = replace(facts, container_id=want.id, runtime="cri-o", image=image)
                found[want.key] = Answer(facts)
        return found

    def _get(self, target: str, shape: Shape) -> Picked:
        try:
            return self._server.pick(target, shape)
        except HttpError as exc:
            if exc.status != _NOT_FOUND:  # a container of another runtime, or gone
                self._problem(f"{self._server}{target}", str(exc))
            return None
