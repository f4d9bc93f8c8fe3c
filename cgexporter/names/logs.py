"""Step 1: the kubelet's links to container logs, which any user may list.

``<pod>_<namespace>_<container>-<id>.log`` → ``/var/log/pods/<namespace>_<pod>_<uid>/<container>/
<restarts>.log``. Source: kubernetes pkg/kubelet/kuberuntime/legacy.go, helpers.go. A name is cut
at 255 bytes, and the ID is its end.
"""

import re
from collections.abc import Iterator, Sequence
from typing import ClassVar

from cgexporter.correlate.facts import Facts
from cgexporter.names import Answer, Answers, FileSource, Wanted

DIRECTORY = "/var/log/containers"
_SUFFIX = ".log"
_MAX_NAME = 255
_ID_DIGITS = 64
# Names of pods, namespaces and containers are DNS names: no "_" in them.
_DNS = "[a-z0-9]([-a-z0-9.]*[a-z0-9])?"
_NAME = re.compile(
    rf"(?P<pod>{_DNS})_(?P<namespace>{_DNS})_(?P<container>{_DNS})-(?P<id>[0-9a-f]{{64}})"
)
_TARGET = re.compile(
    rf"(?:.*/)?(?P<namespace>{_DNS})_(?P<pod>{_DNS})_(?P<uid>[0-9a-zA-Z-]+)"
    rf"/(?P<container>{_DNS})/(?P<restarts>[0-9]+)\.log"
)


class Logs(FileSource):
    """Names from the kubelet's log links."""

    name: ClassVar = "logs"
    last_resort: ClassVar = False
    hint: ClassVar = f"mount the host's {DIRECTORY} read-only"

    def find(self, wanted: Sequence[Wanted]) -> Answers:
        """Look for the links of these containers."""
        names = self._door.listed(DIRECTORY)
        whole = {name[-_ID_DIGITS - len(_SUFFIX) : -len(_SUFFIX)]: name for name in names}
        cut = [name for name in names if len(name.encode(errors="surrogateescape")) == _MAX_NAME]
        answers = {}
        for want in wanted:
            if want.id is not None:
                candidates = [whole[want.id]] if want.id in whole else cut
                found = list(self._told(want.id, want, candidates))
                if len(found) == 1:
                    answers[want.key] = Answer(found[0])
        return answers

    def _told(self, container_id: str, want: Wanted, names: Sequence[str]) -> Iterator[Facts]:
        for name in names:
            facts = self._read(container_id, name)
            if facts is None:
                continue
            # A short prefix may be another's: then the pod has to be the right one.
            if container_id not in name and facts.pod_uid != want.place.pod_uid:
                continue
            yield facts

    def _read(self, container_id: str, name: str) -> Facts | None:
        stem = name.removesuffix(_SUFFIX)
        named = _NAME.fullmatch(stem)
        target = _TARGET.fullmatch(self._door.link(DIRECTORY, name) or "")
        if target is None:
            if named is None or named["id"] != container_id:
                return None
            return Facts(
                container_id=container_id,
                namespace=named["namespace"],
                pod=named["pod"],
                name=named["container"],
                sandbox=False,
            )
        full = f"{target['pod']}_{target['namespace']}_{target['container']}-{container_id}"
        # Cut before its ID, a name would fit each container of that name in the pod.
        short = len(stem) <= len(full) - _ID_DIGITS
        if short or stem != full[: _MAX_NAME - len(_SUFFIX)]:
            return None
        return Facts(
            container_id=container_id,
            namespace=target["namespace"],
            pod=target["pod"],
            pod_uid=target["uid"],
            name=target["container"],
            restart_count=int(target["restarts"]),
            sandbox=False,
        )
