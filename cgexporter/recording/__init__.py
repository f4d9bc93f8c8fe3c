"""What was read of a host, kept: made by `record`, and read instead of a host by ``--from``.

A recording is made and used at the door (`host.stand_in`), so that the same code reads a
host and its recording, and what it sees is the same: inodes, owners and errnos included, which a
tree of files could not keep.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from cgexporter.correlate.facts import Told
from cgexporter.parse.rtnetlink import Link


class RecordingError(Exception):
    """This is no recording, or not one that can be read; the message says why."""


class Name(NamedTuple):
    """One name in a directory."""

    name: str
    inode: int
    is_directory: bool


class Status(NamedTuple):
    """What stat(2) said."""

    mode: int
    inode: int
    links: int
    owner: int
    changed: float  # mtime, in seconds since the epoch


class Entry(NamedTuple):
    """What the kernel said of one path; None where it was not asked.

    Attributes:
        errors: errno by call: open, read, stat, list, readlink.
    """

    data: bytes | None = None
    status: Status | None = None
    names: tuple[Name, ...] | None = None
    link: str | None = None
    errors: Mapping[str, int] = {}


NOTHING = Entry()
# By path, as the reader spelled it.
Files = Mapping[str, Entry]


@dataclass(frozen=True, slots=True)
class Scan:
    """One scan of a host.

    Attributes:
        started: seconds since the epoch.
        files: all that was read of it by then.
        told: names of containers and pods, and what else sources told of them.
        missing: by source of names, what it was denied.
        links: interfaces of the host.
        nsids: what the host's network namespace calls that of a process, by PID.
        links_errno: why there are none; 0 for no reason.
    """

    started: float
    files: Files
    told: Told
    missing: Mapping[str, str]
    links: Sequence[Link] = ()
    nsids: Mapping[int, int] = field(default_factory=dict)
    links_errno: int = 0


@dataclass(frozen=True, slots=True)
class Recording:
    """One host at one or more moments.

    Attributes:
        cgroupfs, procfs: where the host's trees were, as --path.* said.
        pid: of the process that read them.
        note: kernel, runtimes and the like, for people.
        scans: in order of time; at least one.
    """

    cgroupfs: str
    procfs: str
    pid: int
    note: Mapping[str, str]
    scans: Sequence[Scan]
