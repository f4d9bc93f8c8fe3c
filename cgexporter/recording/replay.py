"""Stands in for `os` at the door while a recording is read: nothing is read of this host."""

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import NoReturn, Self

from cgexporter.correlate.facts import Told
from cgexporter.correlate.view import View
from cgexporter.hierarchies import Hierarchies
from cgexporter.kernel import Missing
from cgexporter.names.resolver import Resolver
from cgexporter.parse.rtnetlink import Link
from cgexporter.recording import NOTHING, Entry, Name, Recording, Scan

# Files that each cgroup or process has, by which its directory is known to be there.
_ALIVE = ("cgroup.procs", "stat")


class _DirEntry:
    """What is asked of an `os.DirEntry`."""

    def __init__(self, above: str, name: Name) -> None:
        self.name = name.name
        self.path = f"{above}/{name.name}"
        self._of = name

    def inode(self) -> int:
        return self._of.inode

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        del follow_symlinks
        return self._of.is_directory


class _Listing:
    """What `os.scandir` gives."""

    def __init__(self, above: str, names: tuple[Name, ...]) -> None:
        self._entries = [_DirEntry(above, name) for name in names]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        del kind, error, traceback

    def __iter__(self) -> Iterator[_DirEntry]:
        return iter(self._entries)


@dataclass(slots=True)
class _Open:
    """An open descriptor."""

    path: str
    offset: int = 0


def _fail(number: int, path: str) -> NoReturn:
    raise OSError(number, os.strerror(number), path)


class Replay:
    """Answers as the kernel did when the recording was made; begins with its first scan."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self._number = 0
        self._open: dict[int, _Open] = {}
        self._next = 1 << 30  # never a real descriptor's number
        self._directories: frozenset[str] = frozenset()
        self._enter()

    @property
    def scan(self) -> Scan:
        """The scan that is read now."""
        return self.recording.scans[self._number]

    def advance(self) -> bool:
        """Go on to the next scan; False where this is the last."""
        if self._number + 1 == len(self.recording.scans):
            return False
        self._number += 1
        self._enter()
        return True

    def clock(self) -> float:
        """When the scan began, in seconds since the epoch."""
        return self.scan.started

    def _enter(self) -> None:
        found: set[str] = set()
        for path, entry in self.scan.files.items():
            if entry.errors.keys() & {"open", "stat"} and entry.data is None:
                continue
            while (path := path.rpartition("/")[0]) and path not in found:
                found.add(path)
        self._directories = frozenset(found)

    def _entry(self, path: str) -> Entry:
        return self.scan.files.get(path, NOTHING)

    def _path(self, path: str | int, dir_fd: int | None = None) -> str:
        if isinstance(path, int):
            return self._of(path).path
        return path if dir_fd is None else f"{self._of(dir_fd).path}/{path}"

    def _of(self, fd: int) -> _Open:
        opened = self._open.get(fd)
        return _fail(errno.EBADF, str(fd)) if opened is None else opened

    def path_of(self, fd: int) -> str:
        """Path of an open descriptor."""
        return self._of(fd).path

    def open(self, path: str, flags: int, *, dir_fd: int | None = None) -> int:
        """As `os.open`."""
        del flags
        whole = self._path(path, dir_fd)
        entry = self._entry(whole)
        if number := entry.errors.get("open"):
            _fail(number, whole)
        said = entry.data is not None or entry.names is not None or "read" in entry.errors
        if not said and whole not in self._directories and entry.status is None:
            _fail(errno.ENOENT, whole)
        self._next += 1
        self._open[self._next] = _Open(whole)
        return self._next

    def close(self, fd: int) -> None:
        """As `os.close`."""
        self._of(fd)
        del self._open[fd]

    def _data(self, path: str) -> bytes:
        entry = self._entry(path)
        if number := entry.errors.get("read"):
            _fail(number, path)
        if entry.data is None:
            _fail(errno.ENODEV, path)  # opened in an earlier scan, and gone since
        return entry.data

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        """As `os.pread`."""
        return self._data(self._of(fd).path)[offset : offset + size]

    def read(self, fd: int, size: int) -> bytes:
        """As `os.read`."""
        opened = self._of(fd)
        data = self._data(opened.path)[opened.offset : opened.offset + size]
        opened.offset += len(data)
        return data

    def stat(self, path: str, *, dir_fd: int | None = None) -> os.stat_result:
        """As `os.stat`."""
        return self._stat(self._path(path, dir_fd))

    def fstat(self, fd: int) -> os.stat_result:
        """As `os.fstat`."""
        return self._stat(self._of(fd).path)

    def _stat(self, path: str) -> os.stat_result:
        entry = self._entry(path)
        if number := entry.errors.get("stat"):
            _fail(number, path)
        if (known := entry.status) is not None:
            times = (known.changed,) * 3
            return os.stat_result(
                (known.mode, known.inode, 0, known.links, known.owner, 0, 0, *times)
            )
        above, _, name = path.rpartition("/")
        if path in self._directories or entry.names is not None:
            return os.stat_result((stat.S_IFDIR, *(0,) * 9))
        if entry.data is not None or (name in _ALIVE and above in self._directories):
            return os.stat_result((stat.S_IFREG, *(0,) * 9))
        _fail(errno.ENOENT, path)

    def _names(self, path: str) -> tuple[Name, ...]:
        entry = self._entry(path)
        if number := entry.errors.get("list"):
            _fail(number, path)
        if entry.names is None:
            _fail(errno.ENOENT, path)
        return entry.names

    def scandir(self, path: str) -> _Listing:
        """As `os.scandir`."""
        return _Listing(path, self._names(path))

    def listdir(self, path: str | int) -> list[str]:
        """As `os.listdir`."""
        return [each.name for each in self._names(self._path(path))]

    def readlink(self, path: str, *, dir_fd: int | None = None) -> str:
        """As `os.readlink`."""
        whole = self._path(path, dir_fd)
        entry = self._entry(whole)
        if number := entry.errors.get("readlink"):
            _fail(number, whole)
        if entry.link is None:
            _fail(errno.ENOENT, whole)
        return entry.link

    def getpid(self) -> int:
        """The PID of the process that made the recording."""
        return self.recording.pid


class ReplayedLinks:
    """Answers as rtnetlink did.

    Raises:
        OSError: it was refused.
    """

    def __init__(self, replay: Replay) -> None:
        self._replay = replay
        self._told: Scan | None = None
        if number := replay.scan.links_errno:
            raise OSError(number, os.strerror(number))

    def changed(self) -> bool:
        """Whether links changed since the last call; True on the first."""
        told, self._told = self._told, self._replay.scan
        return told is not self._told

    def all(self) -> list[Link]:
        """Each interface."""
        return list(self._replay.scan.links)

    def nsid_of_process(self, pid: int) -> int | Missing | None:
        """What the host's namespace calls the one of a process."""
        return self._replay.scan.nsids.get(pid)

    def nsid_of_descriptor(self, fd: int) -> int | Missing | None:
        """What the host's namespace calls one that is open."""
        pid = self._replay.path_of(fd).split("/")[-3]  # .../PID/ns/net
        return self._replay.scan.nsids.get(int(pid))

    def close(self) -> None:
        """Nothing is open."""


class ReplayedNames(Resolver):
    """Tells what sources of names told when the recording was made."""

    def __init__(self, replay: Replay, hierarchies: Hierarchies) -> None:
        super().__init__([], hierarchies)
        self._replay = replay

    def want(self, view: View) -> None:
        """Nobody is asked."""
        self.resolve(view)

    def resolve(self, view: View) -> Told:
        """What was told."""
        del view
        self.missing = dict(self._replay.scan.missing)
        self.told = self._replay.scan.told
        return self.told
