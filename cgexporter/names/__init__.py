"""Who is it? Sources of names, each of which needs a right and adds something to step 0.

docs/IDENTITY.md is the ladder. A source is asked in the resolver's thread, never by a scan.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from cgexporter.correlate.facts import Facts, Key
from cgexporter.correlate.paths import Place
from cgexporter.names.door import Door

# Who could have made a cgroup or file: the system; otherwise a user, by UID.
SYSTEM = 0


@dataclass(frozen=True, slots=True)
class Wanted:
    """One container or pod that sources are asked for.

    Attributes:
        key: its cgroup.
        place: what the path proves.
        is_pod: it is a pod's cgroup, to be known by its UID.
        maker: who could have given the cgroup its name: SYSTEM, a user's UID, or None for
            one inside a container, which anything in there could have made.
    """

    key: Key
    place: Place
    is_pod: bool
    maker: int | None

    @property
    def path(self) -> str:
        """Path of its cgroup."""
        return self.key[0]

    @property
    def id(self) -> str | None:
        """The ID that its path claims."""
        return self.place.pod_uid if self.is_pod else self.place.container_id


@dataclass(frozen=True, slots=True)
class Answer:
    """What a source tells of one container or pod.

    Attributes:
        facts: what it is.
        maker: who may write to where this was read: SYSTEM, or a user's UID.
        proven: the source named the cgroup's path itself, not only an ID that the path holds.
    """

    facts: Facts
    maker: int = SYSTEM
    proven: bool = False


def may_tell(maker: int, want: Wanted) -> bool:
    """Whether what `maker` wrote counts for a cgroup: a user's files for his own only."""
    return maker in (SYSTEM, want.maker)


Answers = Mapping[Key, Answer]


class Source(Protocol):
    """One way to learn names.

    Attributes:
        name: in metrics and logs.
        live: what it tells changes, so that it is asked in each round.
        pods: it knows pods too.
        hint: what lets it read what it is denied.
        runtimes: whose containers it knows; empty where it may know any.
        last_resort: not asked where name and image are known already.
    """

    @property
    def name(self) -> str:  # noqa: D102 - see Attributes
        ...

    @property
    def live(self) -> bool:  # noqa: D102
        ...

    @property
    def pods(self) -> bool:  # noqa: D102
        ...

    @property
    def hint(self) -> str:  # noqa: D102
        ...

    @property
    def last_resort(self) -> bool:  # noqa: D102
        ...

    @property
    def runtimes(self) -> frozenset[str]:  # noqa: D102
        ...

    def find(self, wanted: Sequence[Wanted]) -> Answers:
        """Tell what is known of these; one that is not known yet has no answer."""
        ...

    def problems(self) -> Mapping[str, str]:
        """What went wrong since the last call: where, and why."""
        ...

    def denied(self) -> Sequence[str]:
        """Files and directories that may not be read."""
        ...

    def close(self) -> None:
        """Let go of what it holds."""
        ...


class FileSource:
    """A source that reads files of the host, and asks once for each container."""

    live: ClassVar[bool] = False
    pods: ClassVar[bool] = False
    last_resort: ClassVar[bool] = True
    runtimes: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, door: Door) -> None:
        self._door = door

    def problems(self) -> Mapping[str, str]:
        """What went wrong since the last call: where, and why."""
        problems, self._door.problems = self._door.problems, {}
        return problems

    def denied(self) -> Sequence[str]:
        """Files and directories that may not be read."""
        return sorted(self._door.denied)

    def close(self) -> None:
        """No file is held."""
