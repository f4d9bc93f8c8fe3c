"""What was asked of a container, and the files and values that enforce it: the shape of answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


class ExplainError(Exception):
    """What was asked is refused; the message says where and why, in one line."""


@dataclass(frozen=True, slots=True)
class Line:
    """One file of a cgroup and what it says once the setting is made.

    Attributes:
        file: its name, such as ``cpu.max``; ``/proc/PID/…`` for a process' own.
        value: as the kernel prints it, with ``max`` for v1's huge "no limit" too; of a file with
            a line for each device, the device's.
        when: under which condition; "" always. The lines of one file with a condition each are
            alternatives.
    """

    file: str
    value: str
    when: str = ""


@dataclass(frozen=True, slots=True)
class Setting:
    """One thing that was asked, and what becomes of it.

    Attributes:
        asked: as it was written, or in words where it was implied.
        v2, v1: files; empty where that version has nothing for it.
        note: what else is to be known, such as why a version has nothing.
    """

    asked: str
    v2: Sequence[Line] = ()
    v1: Sequence[Line] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """One cgroup of the tree.

    Attributes:
        name: what it is, for people.
        systemd, cgroupfs: its path with each cgroup driver. Parts in <> are not known before.
        settings: what is set there.
        facts: what else is true of it, such as the QoS class, by name.
        limits: what acts on it, its ancestors' limits included: ``cpu``, ``memory``, ``pids``.
    """

    name: str
    systemd: str
    cgroupfs: str
    settings: Sequence[Setting] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Explanation:
    """What one request becomes.

    Attributes:
        title: what was asked.
        groups: from the outermost to the container.
        facts: what is true of the whole.
        namespaces: of each kind, whose the container gets.
        without_effect: what was asked and has no effect on cgroups or namespaces, and why.
        notes: what else is to be known.
    """

    title: str
    groups: Sequence[Group]
    facts: Mapping[str, str] = field(default_factory=dict)
    namespaces: Mapping[str, str] = field(default_factory=dict)
    without_effect: Sequence[tuple[str, str]] = ()
    notes: Sequence[str] = ()
