"""inotify(7) by ctypes: the kernel says which files and directories change."""

import enum
import errno
import itertools
import logging
import os
import struct
import time
from collections.abc import Iterator
from typing import NamedTuple

from cgexporter.seldom import REACHING_BELOW

log = logging.getLogger(__name__)

# include/uapi/linux/inotify.h
MODIFY = 0x0000_0002
MOVED = 0x0000_00C0  # from or to: cgroups of v1 may be renamed
CREATE = 0x0000_0100
DELETE = 0x0000_0200
OVERFLOW = 0x0000_4000
IGNORED = 0x0000_8000
IS_DIRECTORY = 0x4000_0000
_CLOEXEC, _NONBLOCK = os.O_CLOEXEC, os.O_NONBLOCK
_HEADER = struct.Struct("iIII")
_BUFFER_BYTES = 1 << 16
# The kernel says of each count in these that they were modified; nobody may write to them.
_COUNTERS = (".events", ".events.local")


class Unwatched(enum.Enum):
    """Why a watch could not be set."""

    OUT_OF_WATCHES = "out of watches"  # fs.inotify.max_user_watches, or memory
    DENIED = "permission denied"
    TOO_MANY = "more cgroups than --scan.max-cgroups"


class Event(NamedTuple):
    """One notification: which watch, what happened, and the name below a directory."""

    watch: int
    mask: int
    name: str


def events(data: bytes) -> Iterator[Event]:
    """Notifications out of a buffer. Source: inotify(7), "Reading events"."""
    offset = 0
    while offset < len(data):
        watch, mask, _, length = _HEADER.unpack_from(data, offset)
        offset += _HEADER.size
        name = data[offset : offset + length].rstrip(b"\0")
        offset += length
        yield Event(watch, mask, os.fsdecode(name))


class Inotify:
    """One inotify instance.

    Raises:
        OSError: the kernel has none for us (fs.inotify.max_user_instances).
    """

    def __init__(self) -> None:
        import ctypes  # a few milliseconds, which --once does not spend

        self._errno = ctypes.get_errno
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd: int = self._libc.inotify_init1(_CLOEXEC | _NONBLOCK)
        if self._fd < 0:
            raise self._error("inotify_init1")

    def fileno(self) -> int:
        """The descriptor to poll."""
        return self._fd

    def add(self, path: str, mask: int) -> int | Unwatched | None:
        """Watch a file or directory.

        Returns:
            The watch, why there is none, or None where the file is not (any more) there.

        Raises:
            OSError: any other reason.
        """
        watch: int = self._libc.inotify_add_watch(self._fd, os.fsencode(path), mask)
        if watch >= 0:
            return watch
        exc = self._error(path)
        if exc.errno in (errno.ENOSPC, errno.ENOMEM):
            return Unwatched.OUT_OF_WATCHES
        if exc.errno in (errno.EACCES, errno.EPERM):
            return Unwatched.DENIED
        if exc.errno in (errno.ENOENT, errno.ENODEV, errno.ENOTDIR):
            return None
        raise exc

    def remove(self, watch: int) -> None:
        """Watch no more. One that the kernel ended already is no error."""
        self._libc.inotify_rm_watch(self._fd, watch)

    def take(self) -> bytes:
        """A buffer of notifications as the kernel lays them out; empty where there is none."""
        try:
            return os.read(self._fd, _BUFFER_BYTES)
        except BlockingIOError:
            return b""

    def read(self) -> Iterator[Event]:
        """What happened since the last call."""
        return events(self.take())

    def close(self) -> None:
        """End all watches."""
        os.close(self._fd)

    def _error(self, what: str) -> OSError:
        number = self._errno()
        return OSError(number, os.strerror(number), what)


class Watch:
    """A watched directory.

    Attributes:
        written: a file in it was written to since the reader of its files cleared this; where
            nobody reads its files, it says nothing.
        relisted: a directory was made in it, removed from it or renamed since whoever lists
            it cleared this.
    """

    __slots__ = ("number", "readers", "relisted", "users", "written")

    def __init__(self, number: int) -> None:
        self.number = number
        self.users = self.readers = 0
        self.relisted = True
        self.written = False

    def mark(self, event: Event) -> None:
        """Note what happened in the directory."""
        if event.mask & IS_DIRECTORY:
            self.relisted = True
        elif self.readers and not event.name.endswith(_COUNTERS):
            self.written = True


class Notices:
    """What was written, made and removed in directories of cgroups, asked before each scan.

    A write has taken effect when the kernel tells of it, and it tells before write(2) returns
    (fs/read_write.c, vfs_write; mkdir and rmdir alike). So what nothing was told of is what it
    was, if nothing but a write changes it. For one thread.

    Args:
        most: how many directories to watch at most.

    Raises:
        OSError: the kernel gives no inotify instance.
    """

    # More than this between two scans is a flood, and cheaper to answer by reading all.
    _FLOOD_BYTES = 4 * _BUFFER_BYTES
    _MOST_BUFFERS = 64
    # The kernel goes through all names below a directory, also those of removed cgroups, when it is
    # watched first (fs/notify/fsnotify.c): 3 µs, or 70 ms where many came and went.
    _SECONDS_A_SCAN = 0.02

    def __init__(self, most: int) -> None:
        self._inotify = Inotify()
        self._most = most
        self._watches: dict[int, Watch] = {}
        self._doubted: list[Watch] = []
        self._written: dict[int, Watch] = {}  # by number, each once however much is told of it
        self._trusted = True
        self._reaching_below = False
        self._said = False
        self._spent = 0.0

    def __len__(self) -> int:
        """How many directories are watched."""
        return len(self._watches)

    @property
    def out_of_time(self) -> bool:
        """Whether directories that are not watched by now have to wait for another scan."""
        return self._spent >= self._SECONDS_A_SCAN

    def told(self) -> bool:
        """Whether, by the last `look`, a directory was written to and not read since."""
        return bool(self._written)

    def watch(self, path: str, *, reads: bool = False) -> Watch | None:
        """Watch a directory; None where that is not possible, or not any more in this scan.

        Args:
            path: of the directory.
            reads: who asks reads its files, and does not list it.

        Raises:
            OSError: see `Inotify.add`.
        """
        if len(self._watches) >= self._most or not self._trusted:
            return None
        if self.out_of_time:
            return None
        began = time.perf_counter()
        number = self._inotify.add(path, MODIFY | MOVED | CREATE | DELETE)
        self._spent += time.perf_counter() - began
        if number is None:
            return None
        if isinstance(number, Unwatched):
            if not self._said:
                log.info("%s is not watched, but read in each scan: %s", path, number.value)
                self._said = True
            return None
        watch = self._watches.setdefault(number, Watch(number))
        watch.users += 1
        if reads:
            watch.readers += 1
            watch.written = True
            self._written[number] = watch
        return watch

    def drop(self, watch: Watch, *, reads: bool = False) -> None:
        """End a watch, once for each time that it was asked for, and as it was."""
        watch.users -= 1
        watch.readers -= reads
        if not watch.readers:
            watch.written = False
        if not watch.users:
            self._inotify.remove(watch.number)
            self._watches.pop(watch.number, None)
            self._doubted = [each for each in self._doubted if each is not watch]

    def look(self) -> None:
        """Take what the kernel told since the last time, and mark whom it is about."""
        self._spent = 0.0
        buffers = list(itertools.islice(iter(self._inotify.take, b""), self._MOST_BUFFERS))
        if sum(map(len, buffers)) > self._FLOOD_BYTES:
            self._mark_all()
            return
        for event in itertools.chain.from_iterable(map(events, buffers)):
            if event.mask & OVERFLOW:
                self._mark_all()
            elif watch := self._watches.get(event.watch):
                watch.mark(event)
                self._reaching_below |= event.name.startswith(REACHING_BELOW)
                if watch.written:
                    self._written[event.watch] = watch
        if not all(watch.written for watch in self._doubted):
            log.warning("limits change and nothing tells of it: they are read in each scan")
            self._trusted = False
        self._doubted.clear()
        if not self._trusted:
            self._mark_all()
        self._written = {number: watch for number, watch in self._written.items() if watch.written}

    def take_reaching_below(self) -> bool:
        """Whether, since this was asked last, something was written that acts on what is below."""
        told, self._reaching_below = self._reaching_below, False
        return told

    def doubt(self, watch: Watch) -> None:
        """Say that a file changed and nothing told of it: the next `look` must, or none will."""
        self._doubted.append(watch)

    def close(self) -> None:
        """End all watches."""
        self._inotify.close()

    def _mark_all(self) -> None:
        for watch in self._watches.values():
            watch.written, watch.relisted = bool(watch.readers), True
        self._reaching_below = True
        self._written = {n: watch for n, watch in self._watches.items() if watch.written}
