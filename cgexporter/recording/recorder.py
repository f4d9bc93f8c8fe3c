"""Stands in for `os` at the door while a host is recorded: passes on, and remembers."""

import os
import re
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

from cgexporter.correlate.processes import KINDS
from cgexporter.parse.rtnetlink import Link
from cgexporter.recording import NOTHING, Entry, Files, Name, Status
from cgexporter.rtnetlink import Rtnetlink

T = TypeVar("T")

# Of a process's mounts only those that are read: what volumes it has is nobody's business.
_MOUNTS = re.compile(rb"^.* - (?:cgroup2?|nsfs) .*\n?", re.MULTILINE)
# Of /proc/PID/stat what comes after the start time: addresses.
_STAT_FIELDS = 20


def status_of(found: os.stat_result) -> Status:
    """What is kept of a stat(2)."""
    return Status(found.st_mode, found.st_ino, found.st_nlink, found.st_uid, found.st_mtime)


def kept(path: str, data: bytes) -> bytes:
    """What is kept of a file's content."""
    above, _, name = path.rpartition("/")
    if name == "mountinfo":
        return b"".join(_MOUNTS.findall(data))
    if name == "stat" and above.rpartition("/")[2].isdecimal():
        comm, closing, rest = data.rpartition(b")")
        return comm + closing + b" " + b" ".join(rest.split()[:_STAT_FIELDS]) + b"\n"
    return data


class _Listing:
    """What `os.scandir` gives, from a list."""

    def __init__(self, entries: list["os.DirEntry[str]"]) -> None:
        self._entries = entries

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        del kind, error, traceback

    def __iter__(self) -> Iterator["os.DirEntry[str]"]:
        return iter(self._entries)


class Recorder:
    """Asks the kernel, and keeps what it said.

    Of processes that is the last of a scan, for they are looked at until its end; of cgroups the
    first, for it is what the scan read: one that is removed before the scan's end was there.

    Args:
        cgroupfs: where cgroups are.
    """

    def __init__(self, cgroupfs: str) -> None:
        self.entries: dict[str, Entry] = {}
        self._cgroupfs = cgroupfs
        self._paths: dict[int, str] = {}
        self._parts: dict[int, bytes] = {}
        self._opened = 0
        self._serials: dict[int, int] = {}  # of descriptors, whose numbers are given again
        self._said: dict[tuple[str, str], int] = {}

    def begin(self) -> None:
        """Begin another scan."""
        self._said.clear()

    def _is_first(self, path: str, call: str, serial: int = 0) -> bool:
        """Whether an answer is to be kept: not where a cgroup has given one in this scan."""
        if not path.startswith(self._cgroupfs):
            return True
        if (path, call) not in self._said:
            self._said[path, call] = serial
            return True
        return serial > 0 and self._said[path, call] == serial  # more of the same read

    def files(self) -> Files:
        """What is known by now."""
        files = {}
        for path, entry in self.entries.items():
            if path.rpartition("/")[0].endswith("/fd") and not _is_namespace(entry.link):
                continue  # file names, addresses
            files[path] = entry
        for path in [path for path in files if path.endswith("/fd")]:
            entry = files[path]
            names = tuple(each for each in entry.names or () if f"{path}/{each.name}" in files)
            files[path] = entry._replace(names=None if entry.names is None else names)
        return files

    def path_of(self, fd: int) -> str:
        """Path of an open descriptor."""
        return self._paths.get(fd, "")

    def _path(self, path: str | int, dir_fd: int | None) -> str:
        if isinstance(path, int):
            return self.path_of(path)
        return path if dir_fd is None else f"{self.path_of(dir_fd)}/{path}"

    def _keep(self, path: str, call: str, serial: int = 0, **said: Any) -> None:
        if not self._is_first(path, call, serial):
            return
        entry = self.entries.get(path, NOTHING)
        errors = {other: number for other, number in entry.errors.items() if other != call}
        self.entries[path] = entry._replace(errors=errors, **said)

    def _ask(self, path: str, call: str, ask: Callable[[], T], serial: int = 0) -> T:
        try:
            return ask()
        except OSError as exc:
            if not self._is_first(path, call, serial):
                raise
            entry = self.entries.get(path, NOTHING)
            gone = {"stat": "status", "list": "names", "readlink": "link"}
            nothing: dict[str, Any] = {gone.get(call, "data"): None}
            without = entry._replace(**nothing)
            errors = {**entry.errors, call: exc.errno or 0}
            self.entries[path] = without._replace(errors=dict(sorted(errors.items())))
            raise

    def open(self, path: str, flags: int, *, dir_fd: int | None = None) -> int:
        """As `os.open`."""
        whole = self._path(path, dir_fd)
        fd = self._ask(whole, "open", lambda: os.open(path, flags, dir_fd=dir_fd))
        self._keep(whole, "open")
        self._paths[fd] = whole
        self._opened += 1
        self._serials[fd] = self._opened
        self._parts.pop(fd, None)
        return fd

    def close(self, fd: int) -> None:
        """As `os.close`."""
        self._paths.pop(fd, None)
        self._parts.pop(fd, None)
        os.close(fd)

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        """As `os.pread` of a whole file."""
        path = self.path_of(fd)
        data = self._ask(path, "read", lambda: os.pread(fd, size, offset), self._serials[fd])
        self._keep(path, "read", self._serials[fd], data=kept(path, data))
        return data

    def read(self, fd: int, size: int) -> bytes:
        """As `os.read`, from the beginning on."""
        path = self.path_of(fd)
        data = self._ask(path, "read", lambda: os.read(fd, size), self._serials[fd])
        whole = self._parts[fd] = self._parts.get(fd, b"") + data
        self._keep(path, "read", self._serials[fd], data=kept(path, whole))
        return data

    def stat(self, path: str, *, dir_fd: int | None = None) -> os.stat_result:
        """As `os.stat`."""
        whole = self._path(path, dir_fd)
        found = self._ask(whole, "stat", lambda: os.stat(path, dir_fd=dir_fd))
        self._keep(whole, "stat", status=status_of(found))
        return found

    def fstat(self, fd: int) -> os.stat_result:
        """As `os.fstat`."""
        path = self.path_of(fd)
        found = self._ask(path, "stat", lambda: os.fstat(fd))
        self._keep(path, "stat", status=status_of(found))
        return found

    def scandir(self, path: str) -> _Listing:
        """As `os.scandir`, all at once."""

        def everything() -> list["os.DirEntry[str]"]:
            with os.scandir(path) as entries:
                return list(entries)

        entries = self._ask(path, "list", everything)
        names = tuple(
            Name(each.name, each.inode(), each.is_dir(follow_symlinks=False)) for each in entries
        )
        self._keep(path, "list", names=names)
        return _Listing(entries)

    def listdir(self, path: str | int) -> list[str]:
        """As `os.listdir`."""
        whole = self._path(path, None)
        found = self._ask(whole, "list", lambda: os.listdir(path))
        known = self.entries.get(whole, NOTHING).names
        # scandir says more: what it said in this scan stays.
        if (whole, "list") not in self._said and [each.name for each in known or ()] != found:
            self._keep(whole, "listdir", names=tuple(Name(name, 0, False) for name in found))
        return found

    def readlink(self, path: str, *, dir_fd: int | None = None) -> str:
        """As `os.readlink`."""
        whole = self._path(path, dir_fd)
        link = self._ask(whole, "readlink", lambda: os.readlink(path, dir_fd=dir_fd))
        self._keep(whole, "readlink", link=link)
        return link

    @staticmethod
    def getpid() -> int:
        """As `os.getpid`."""
        return os.getpid()


def _is_namespace(link: str | None) -> bool:
    """Whether what a descriptor stands for is a namespace."""
    return link is not None and link.partition(":")[0] in KINDS and link.endswith("]")


class LinkRecorder(Rtnetlink):
    """Asks rtnetlink, and keeps what it said.

    Raises:
        OSError: no netlink socket may be opened here.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self.links: list[Link] = []
        self.nsids: dict[int, int] = {}
        super().__init__()

    def changed(self) -> bool:
        """Always: a recording is whole."""
        super().changed()
        return True

    def all(self) -> list[Link]:
        """Each interface."""
        self.links = super().all()
        return self.links

    def nsid_of_process(self, pid: int) -> Any:
        """What this namespace calls the one of a process."""
        return self._kept(pid, super().nsid_of_process(pid))

    def nsid_of_descriptor(self, fd: int) -> Any:
        """What this namespace calls one that is open."""
        # .../PID/ns/net
        pid = self._recorder.path_of(fd).split("/")[-3:-2]
        return self._kept(int(pid[0]) if pid else 0, super().nsid_of_descriptor(fd))

    def _kept(self, pid: int, answer: object) -> object:
        if isinstance(answer, int):
            self.nsids[pid] = answer
        return answer
