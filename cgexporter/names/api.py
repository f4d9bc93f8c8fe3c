"""Step 4: the API server: this node's pods, listed once and then watched.

Source: Kubernetes API concepts, "Efficient detection of changes". Rights: list and watch on pods.
"""

import random
import threading
from collections.abc import Iterable, Sequence
from typing import ClassVar
from urllib.parse import quote, urlencode

from cgexporter.names import Answers, Wanted
from cgexporter.names.http import HttpError, Response, Server, ServerSource
from cgexporter.names.pick import VALUE, Each, Picked, Shape, at, count, each, pick, text
from cgexporter.names.pods import PodFacts, answers, pod_shape, read_pod
from cgexporter.parse.formats import ParseError

_PAGE = 50  # pods in one answer to a list
_IDLE_SECONDS = 15.0
_WATCH_SECONDS = 240  # the server ends a watch after that; a new one begins where it ended
_FIRST_DELAY_SECONDS = 0.2
_LAST_DELAY_SECONDS = 60.0
_FIRST_ANSWER_SECONDS = 5.0
_GONE = 410  # the server does not know that version any more: list again
_RIGHTS = {
    401: "the token is not accepted",
    403: "the token lacks the rights list and watch on pods",
}


class Api(ServerSource):
    """Names and declarations from the API server, kept up to date in a thread of its own.

    Args:
        server: the API server.
        node: this node's name.
        labels: the names of pod labels to pass on.
    """

    name: ClassVar = "api"
    live: ClassVar = True
    pods: ClassVar = True
    last_resort: ClassVar = False
    runtimes: ClassVar = frozenset[str]()
    hint: ClassVar = "give its token the rights list and watch on pods"

    def __init__(self, server: Server, node: str, labels: frozenset[str]) -> None:
        super().__init__()
        self._server = server
        self._node = node
        self._pod: Shape = pod_shape(labels)
        self._pods: dict[str, PodFacts] = {}  # by UID in the API; replaced, never changed
        self._version = ""
        self._listed = threading.Event()
        self._stopping = threading.Event()
        self._watched: Response | None = None
        self._thread: threading.Thread | None = None

    def find(self, wanted: Sequence[Wanted]) -> Answers:
        """What is known now; the first time it waits a moment for the first list."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._follow, name="api", daemon=True)
            self._thread.start()
            self._listed.wait(_FIRST_ANSWER_SECONDS)
        return answers(list(self._pods.values()), wanted)

    def close(self) -> None:
        """End the watch."""
        self._stopping.set()
        if (watched := self._watched) is not None:
            watched.interrupt()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def _follow(self) -> None:
        """List and watch for ever; what is known stays while the server is away."""
        where = f"{self._server} (pods of node {self._node})"
        delay = _FIRST_DELAY_SECONDS
        while not self._stopping.is_set():
            try:
                if not self._version:
                    self._list()
                self._watch()
                delay = _FIRST_DELAY_SECONDS  # the server ended the watch, as it does now and then
            except HttpError as exc:
                if exc.status == _GONE:
                    self._version = ""
                else:
                    self._problem(where, _RIGHTS.get(exc.status, str(exc)))
            except ParseError as exc:
                self._version = ""
                self._problem(where, str(exc))
            self._listed.set()  # nobody need wait longer
            self._stopping.wait(delay * random.uniform(0.5, 1.5))  # noqa: S311 - spreads load
            delay = min(delay * 2, _LAST_DELAY_SECONDS)

    def _target(self, **query: str) -> str:
        query["fieldSelector"] = f"spec.nodeName={self._node}"
        return f"/api/v1/pods?{urlencode(query, quote_via=quote)}"

    def _list(self) -> None:
        pods: dict[str, PodFacts] = {}
        version = token = ""
        shape: Shape = {
            "metadata": {"resourceVersion": VALUE, "continue": VALUE},
            "items": Each(self._pod),
        }
        while True:
            query = {"limit": str(_PAGE)} | ({"continue": token} if token else {})
            picked = self._server.pick(self._target(**query), shape)
            pods.update(_by_uid(each(at(picked, "items"))))
            version = text(at(picked, "metadata", "resourceVersion")) or ""
            token = text(at(picked, "metadata", "continue")) or ""
            if not token:
                break
        self._pods, self._version = pods, version
        self._listed.set()

    def _watch(self) -> None:
        target = self._target(
            watch="1",
            resourceVersion=self._version,
            allowWatchBookmarks="true",
            timeoutSeconds=str(_WATCH_SECONDS),
        )
        with self._server.get(target, _WATCH_SECONDS + _IDLE_SECONDS) as response:
            self._watched = response
            try:
                if not self._stopping.is_set():  # before it could be interrupted
                    response.each_line(self._take)
            finally:
                self._watched = None

    def _take(self, line: bytearray) -> None:
        """Take one event."""
        event = pick(line, {"type": VALUE, "object": {**self._pod, "code": VALUE}})  # type: ignore[dict-item]
        kind, told = text(at(event, "type")), at(event, "object")
        if kind == "ERROR":
            code = count(at(told, "code")) or 0
            raise HttpError(f"the watch ended with status {code}", code)
        self._version = text(at(told, "metadata", "resourceVersion")) or self._version
        pods = dict(self._pods)
        if kind in ("ADDED", "MODIFIED"):
            pods.update(_by_uid([told]))
        elif kind == "DELETED":
            pods.pop(text(at(told, "metadata", "uid")) or "", None)
        self._pods = pods


def _by_uid(picked: Iterable[Picked]) -> dict[str, PodFacts]:
    found = {}
    for pod in picked:
        uid, facts = text(at(pod, "metadata", "uid")), read_pod(pod)
        if uid is not None and facts is not None:
            found[uid] = facts
    return found
