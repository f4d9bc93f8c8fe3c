"""Step 4: the kubelet's ``/pods``: what is declared, labels and owners of this node's pods.

Right: ``nodes/pods`` (fine-grained since Kubernetes 1.33, before that ``nodes/proxy``).
"""

import math
import time
from collections.abc import Sequence
from typing import ClassVar

from cgexporter.correlate.facts import Key
from cgexporter.names import Answers, Wanted
from cgexporter.names.http import HttpError, Server, ServerSource
from cgexporter.names.pick import Each, Shape, at, each
from cgexporter.names.pods import PodFacts, answers, pod_shape, read_pod

_AGAIN_SECONDS = 30.0  # also with no new container: labels and resources change
_SOON_SECONDS = 1.0
_LAST_SECONDS = 60.0
_MAX_MISSES = 8
_RIGHTS = {401: "the token is not accepted", 403: "the token lacks the right nodes/pods (get)"}


class Kubelet(ServerSource):
    """Names and declarations from the kubelet.

    Args:
        server: the kubelet.
        labels: the names of pod labels to pass on.
    """

    name: ClassVar = "kubelet"
    live: ClassVar = True
    pods: ClassVar = True
    last_resort: ClassVar = False
    runtimes: ClassVar = frozenset[str]()
    hint: ClassVar = "give its token the right nodes/pods"

    def __init__(self, server: Server, labels: frozenset[str]) -> None:
        super().__init__()
        self._server = server
        self._shape: Shape = {"items": Each(pod_shape(labels))}
        self._pods: Sequence[PodFacts] = ()
        self._misses: dict[Key, int] = {}
        self._asked = -math.inf
        self._delay = _SOON_SECONDS

    def find(self, wanted: Sequence[Wanted]) -> Answers:
        """Ask again where the last answer is old or lacks somebody."""
        now = time.monotonic()
        found = answers(self._pods, wanted)
        missing = {want.key for want in wanted if want.place.pod_uid and want.key not in found}
        # Sandboxes are never in the answer: who is missing for long is not waited for.
        self._misses = {key: self._misses.get(key, 0) for key in missing}
        hurry = any(misses < _MAX_MISSES for misses in self._misses.values())
        if now >= self._asked + (self._delay if hurry else max(self._delay, _AGAIN_SECONDS)):
            self._asked = now
            succeeded = self._ask()
            self._delay = _SOON_SECONDS if succeeded else min(2 * self._delay, _LAST_SECONDS)
            found = answers(self._pods, wanted)
            for key in missing - found.keys():
                self._misses[key] += succeeded
        return found

    def _ask(self) -> bool:
        try:
            picked = self._server.pick("/pods", self._shape)
        except HttpError as exc:
            self._problem(f"{self._server}/pods", _RIGHTS.get(exc.status, str(exc)))
            return False
        pods = (read_pod(item) for item in each(at(picked, "items")))
        self._pods = [pod for pod in pods if pod is not None]
        return True
