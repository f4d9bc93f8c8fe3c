"""Files that are read again and again: holds them open, and tells which have changed.

Sources: fs/kernfs/file.c and fs/seq_file.c for how a read ends.
"""

import enum
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import repeat

from cgexporter import host, kernel
from cgexporter.aio import Batch, News, Reading, Requests, other_than
from cgexporter.descriptors import Descriptors
from cgexporter.inotify import Notices, Watch
from cgexporter.kernel import READ_FLAGS, Content, Missing, read_to_end, reason, there_is
from cgexporter.seldom import CPUS, NO_LIMIT, WRITTEN, Occasion, Standstill, free_of_limits
from cgexporter.walker import EVERY, next_due, turn_of

_FIRST_SIZE = 4096
# A number that grows needs a digit more: so many bytes, and an eighth of all, are kept free.
_SPARE = 12
# Lists of many records, which one read() may end between two: never held open.
_LISTS = frozenset({"cgroup.procs", "cgroup.threads", "tasks"})
_FROM_START = repeat(0)
# Of those to whom nothing is told.
_NEVER = Standstill()
_TOP_FLAGS = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


def _pread_whole(fd: int, size: int) -> bytes:
    """Read a held file in one read(), with a larger buffer until it fits.

    A file with one record (every cgroup file but the PID lists) is printed anew for each
    read(), so two reads of one file may disagree; one read never does. A read shorter
    than its buffer is therefore the whole file.
    """
    while True:
        data = host.os.pread(fd, size, 0)
        if len(data) < size:
            return data
        size *= 2


class Outcomes:
    """What became of each file, over all cgroups that are watched now."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[str, dict[Missing | None, int]] = {}

    def add(self, name: str, content: Content, count: int = 1) -> None:
        """Count a file with this content; a negative count takes it back."""
        outcomes = self._counts.setdefault(name, {})
        outcome = content if isinstance(content, Missing) else None
        outcomes[outcome] = outcomes.get(outcome, 0) + count

    def of(self, name: str) -> tuple[int, Mapping[Missing, int]]:
        """How many were read, and how many were not, by reason."""
        counts = self._counts[name]
        return counts.get(None, 0), {why: n for why, n in counts.items() if why and n}

    @property
    def names(self) -> list[str]:
        """The files asked for, in order."""
        return sorted(name for name, counts in self._counts.items() if any(counts.values()))


# Number of a section's source, parser, and place among the arguments: see `scan`.
Readers = Sequence[tuple[int, Callable[[bytes], object], int]]


class File:
    """One file of one cgroup: its latest content, and the descriptor it is read through.

    `inode` is known of a file that is not held. `readers` say what its content is for, `occasion`
    when it may change, None for at any time.
    """

    __slots__ = ("content", "fd", "inode", "name", "occasion", "readers", "size")

    def __init__(self, name: str, readers: Readers = (), occasion: Occasion | None = None) -> None:
        self.name = name
        self.readers = readers
        self.occasion = occasion
        self.fd = -1
        self.inode = 0
        self.size = _FIRST_SIZE
        self.content: Content = Missing.ABSENT

    def open(self, dir_fd: int, descriptors: Descriptors | None) -> Content:
        """Open and read it; hold it where a descriptor may be taken."""
        try:
            fd = host.os.open(self.name, READ_FLAGS, dir_fd=dir_fd)
        except FileNotFoundError:
            return Missing.ABSENT if there_is(dir_fd, "cgroup.procs") else Missing.GONE
        except OSError as exc:
            return reason(exc)
        content: Content
        try:
            self.inode = host.os.fstat(fd).st_ino
            content = self.read(fd)
        except OSError as exc:
            content = reason(exc)
        finally:
            if self.name not in _LISTS and descriptors is not None and descriptors.take():
                self.fd = fd
            else:
                host.os.close(fd)
        return content

    def read(self, fd: int) -> bytes:
        """Read it whole; the content that is known already may be the same object."""
        if self.name in _LISTS:
            return read_to_end(fd)
        data = host.os.pread(fd, self.size, 0)
        return data if data == self.content else self.whole(fd, data)

    def whole(self, fd: int, data: bytes) -> bytes:
        """All of a content that was new in a read() of `size` bytes: see `_pread_whole`."""
        fits = len(data) < self.size
        if not fits:
            data = _pread_whole(fd, 2 * self.size)
        room = len(data) + len(data) // 8 + _SPARE
        if not fits or self.size > room + room // 2:
            self.size = room
        return data

    def close(self, descriptors: Descriptors) -> None:
        """Let the descriptor go."""
        if self.fd >= 0:
            host.os.close(self.fd)
            descriptors.give_back()
            self.fd = -1


class Top:
    """A directory from which others are found: to open below it is to walk less of a path."""

    __slots__ = ("_fd", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self._fd = -1

    @property
    def fd(self) -> int:
        """A descriptor to open from, and for nothing else: open(2), O_PATH.

        Raises:
            OSError: it cannot be opened.
        """
        if self._fd < 0:
            self._fd = host.os.open(self.path, _TOP_FLAGS)
        return self._fd

    def close(self) -> None:
        """Let the descriptor go."""
        if self._fd >= 0:
            host.os.close(self._fd)
            self._fd = -1


class Look(enum.Flag):
    """What to read."""

    HELD = enum.auto()  # files that are held; else they have been read already
    SELDOM = enum.auto()  # files that wait for their occasion; else those whose occasion it is
    MISSING = enum.auto()  # files that were not there
    ALL = HELD | SELDOM | MISSING


class Directory:
    """The files of one cgroup in one hierarchy, read again and again.

    `changed` are the files whose content was new in the last `refresh`. A cgroup is its path
    and inode: a directory that was removed and made again under the same name is another
    cgroup, and reads as GONE here. `waits` says that it is to be watched, and that there was no
    time for it.
    """

    __slots__ = (
        *("_below", "_counters", "_notices", "_outcomes", "_seldom", "_standstill", "_top"),
        *("_waiting", "_watch", "changed", "files", "inode", "path", "waits"),
    )

    def __init__(
        self,
        top: Top,
        below: str,
        inode: int,
        files: Iterable[File],
        outcomes: Outcomes,
    ) -> None:
        self.path = f"{top.path}/{below}" if below else top.path
        self._top = top
        self._below = f"./{below}"
        self.inode = inode
        self.files = tuple(files)
        self._seldom = tuple(file for file in self.files if file.occasion is not None)
        # Of them those that stand still now, and all that do not.
        self._waiting: Sequence[File] = []
        self._counters: Sequence[File] = self.files
        self.changed: list[File] = []
        self.waits = False
        self._outcomes = outcomes
        self._notices: Notices | None = None
        self._standstill = _NEVER
        self._watch: Watch | None = None
        for file in self.files:
            outcomes.add(file.name, file.content)

    def heed(self, notices: Notices, standstill: Standstill) -> None:
        """From now on read what stands still on its occasion, and every 64th time."""
        self._notices = notices
        self._standstill = standstill

    @property
    def watch(self) -> Watch | None:
        """Tells whether a setting was written to, where that can be told."""
        return self._watch

    @property
    def is_top(self) -> bool:
        """Whether it is the root of its hierarchy, or what is seen of it."""
        return self.path == self._top.path

    def settle(self, descriptors: Descriptors) -> None:
        """Find out what stands still: that is not held, since it is read seldom."""
        standstill, path, top = self._standstill, self.path, self._top.path
        waiting: list[File] = []
        if self._watch is not None:
            limits = {file.name: file.content for file in self._seldom if file.name in NO_LIMIT}
            standstill.note(path, free_of_limits(self.inode, self.is_top, limits))
            for file in self._seldom:
                assert file.occasion is not None
                if standstill.holds(path, top, file.occasion):
                    waiting.append(file)
        if waiting != self._waiting:
            self._wait(waiting, descriptors)

    def _wait(self, waiting: Sequence[File], descriptors: Descriptors) -> None:
        self._waiting = waiting
        self._counters = [file for file in self.files if file not in waiting]
        for file in waiting:
            file.close(descriptors)

    def steady(self) -> Sequence[File]:
        """What to read in each scan, while nothing missing is looked for."""
        return [file for file in self._counters if not isinstance(file.content, Missing)]

    def waiting_for_kills(self) -> Sequence[File]:
        """What to read when the OOM killer has killed."""
        return [
            file
            for file in self._waiting
            if file.occasion is not None
            and file.occasion.kills
            and not isinstance(file.content, Missing)
        ]

    def read_unheld(self, files: Sequence[File], changed: list[File]) -> bool:
        """Read files by their paths: to open the directory costs as much as one of them.

        A path that led to another cgroup once never leads back, so the inode of the last file
        tells that all were this cgroup's.

        Args:
            files: of this directory, which were read before.
            changed: gets those whose content is new.

        Returns:
            False when the path leads to another cgroup now.

        Raises:
            OSError: one cannot be read like this.
        """
        last = files[-1]
        top, below = self._top.fd, self._below
        for file in files:
            fd = host.os.open(f"{below}/{file.name}", READ_FLAGS, dir_fd=top)
            try:
                data = file.read(fd)
                if data != file.content:
                    file.content = data
                    changed.append(file)
                if file is last and host.os.fstat(fd).st_ino != file.inode:
                    return False
            finally:
                host.os.close(fd)
        return True

    def refresh(self, descriptors: Descriptors, look: Look = Look.ALL) -> bool:
        """Read its files, and find those whose content is new.

        Args:
            descriptors: how many may be held.
            look: what to read. A missing file appears when its controller is switched on, usually
                moments after the directory was made.

        Returns:
            False when the cgroup is gone.

        Raises:
            OSError: an errno without a reason (see `Missing`).
        """
        self.changed = []
        if not self._seldom or self._notices is None:
            return self._read(self.files, descriptors, look)
        if Look.SELDOM in look or self._watch is None or self._watch.written:
            return self._read_seldom_too(self._notices, descriptors, look)
        return self._read(self._counters, descriptors, look)

    def _read_seldom_too(self, notices: Notices, descriptors: Descriptors, look: Look) -> bool:
        if self._watch is None and (Look.MISSING in look or self.waits):
            self._watch = notices.watch(self.path, reads=True)
            self.waits = self._watch is None and notices.out_of_time
            if self._watch is not None:
                self._wait([f for f in self._seldom if f.occasion == WRITTEN], descriptors)
        watch = self._watch
        if watch is None:
            return self._read(self.files, descriptors, look)
        told, watch.written = watch.written, False
        before = [file.content for file in self._waiting]
        alive = self._read(self.files, descriptors, look)
        if not told:
            for file, content in zip(self._waiting, before, strict=True):
                if file.content != content:
                    self._doubt(file, notices, watch)
        return alive

    def _doubt(self, file: File, notices: Notices, watch: Watch) -> None:
        if file.occasion == WRITTEN:
            notices.doubt(watch)
        elif file.occasion is not None and file.occasion.above:
            self._standstill.doubt(file.name)

    def _read(self, files: Iterable[File], descriptors: Descriptors, look: Look) -> bool:
        unheld = []
        pread = host.os.pread
        held, probe = Look.HELD in look, Look.MISSING in look
        for file in files:
            if file.fd < 0:
                if probe or not isinstance(file.content, Missing):
                    unheld.append(file)
                continue
            if not held and not isinstance(file.content, Missing):
                continue
            try:
                data = pread(file.fd, file.size, 0)
                if data != file.content:
                    self._change(file, file.whole(file.fd, data))
            except OSError as exc:
                why = reason(exc)
                if why is Missing.GONE:
                    return False
                if why is not file.content:
                    self._change(file, why)
        return not unheld or self._open(unheld, descriptors)

    def _open(self, files: list[File], descriptors: Descriptors) -> bool:
        with kernel.directory(self.path) as dir_fd:
            if isinstance(dir_fd, Missing) or host.os.fstat(dir_fd).st_ino != self.inode:
                return False
            for file in files:
                # What is read seldom is worth no descriptor.
                content = file.open(dir_fd, None if file in self._waiting else descriptors)
                if content is Missing.GONE:
                    return False
                if content != file.content:
                    self._change(file, content)
        return True

    def _change(self, file: File, content: Content) -> None:
        if isinstance(content, Missing) or isinstance(file.content, Missing):
            self._outcomes.add(file.name, file.content, -1)
            self._outcomes.add(file.name, content)
        file.content = content
        self.changed.append(file)

    def close(self, descriptors: Descriptors) -> None:
        """Let every descriptor go, and count its files no more."""
        if self._watch is not None and self._notices is not None:
            self._notices.drop(self._watch, reads=True)
            self._watch = None
        self._standstill.forget(self.path)
        for file in self.files:
            file.close(descriptors)
            self._outcomes.add(file.name, file.content, -1)


_Below = Sequence[tuple[Directory, Sequence[File]]]


def _where_any(pairs: Iterable[tuple[Directory, Sequence[File]]]) -> _Below:
    return [(directory, files) for directory, files in pairs if files]


class Directories:
    """The directories of one cgroup, one in each of its hierarchies, read again and again.

    Mostly there is nothing to do but to read the same files, of all of them in one go. `late` says
    that the others' turn has come, and that `catch_up` is to read them.
    """

    __slots__ = (
        *("_contents", "_directories", "_due", "_fds", "_found", "_has_top", "_held", "_kills"),
        *("_reads", "_requests", "_sizes", "_standstill", "_turn", "_unheld"),
        *("_version", "_waits", "_watches", "late"),
    )

    def __init__(self, directories: Sequence[Directory]) -> None:
        self._directories = directories
        # By place: each held file, its descriptor, how much to ask for, and what came last.
        self._held: list[File] = []
        self._fds: list[int] = []
        self._sizes: list[int] = []
        self._contents: list[Content] = []
        self._unheld: _Below = ()
        # What to read when the OOM killer has killed.
        self._kills: _Below = ()
        self._standstill = _NEVER
        self._version = 0  # of what is known of a standstill
        self._has_top = any(directory.is_top for directory in directories)
        self._watches: Sequence[Watch] = ()
        self._waits = False
        # How often it was read, and at which number the others have their turn.
        self._reads = self._due = 0
        self._turn = turn_of(directories[0].inode) if directories else 0
        self._requests: Requests | None = None  # for the held files
        self.late = False
        self._found: list[File] = []  # whose content was new when it caught up

    def __iter__(self) -> Iterator[Directory]:
        """Each directory."""
        return iter(self._directories)

    def heed(self, notices: Notices, standstill: Standstill) -> None:
        """From now on read what stands still on its occasion, and every 64th time."""
        self._standstill = standstill
        for directory in self._directories:
            directory.heed(notices, standstill)

    def ahead(self, told: bool) -> Requests | None:
        """What `aio.Reader` is to read before `refresh`; None: it reads by itself.

        Args:
            told: some directory was written to; else none need be asked whether it is one of these.
        """
        if not self._held or self._waits or (told and self._is_told()):
            return None
        if self._requests is None:
            self._requests = Requests(self._fds, self._sizes, self._contents)
        return self._requests

    def _is_told(self) -> bool:
        return any(watch.written for watch in self._watches)

    def is_in(self, batch: Batch) -> bool:
        """Whether the next `refresh` may take what is read of a batch."""
        requests = self._requests
        return requests is not None and requests.asked == batch.number and not self._waits

    def refresh(
        self, descriptors: Descriptors, reading: Reading | None = None
    ) -> list[File] | None:
        """Read every file that may have changed.

        Args:
            descriptors: how many may be held.
            reading: what has been read, or is going to be, of those that are in its batch.

        Returns:
            Those whose content is new, or None when the cgroup is gone.

        Raises:
            OSError: an errno without a reason (see `Missing`).
        """
        if not self._directories:  # who asks for namespaces alone reads no file
            return []
        if reading is not None and not self.is_in(reading.batch):
            reading = None
        look, due = Look.HELD, self._due
        if self._reads >= due:
            if reading is not None and due >= EVERY:
                self.late = True
            else:
                look = Look.ALL
            due = next_due(self._reads, self._turn)
        if self._version != self._standstill.version:
            look |= Look.SELDOM
        self._reads += 1
        self._due = 0  # where this breaks off
        changed = self._refresh(descriptors, look, reading)
        self._due = due
        if self._found and changed is not None:
            changed += self._found
            self._found = []
        if self._has_top and changed:
            self._look_at_cpus(changed)
        return changed

    def _look_at_cpus(self, changed: Iterable[File]) -> None:
        if any(file.occasion == CPUS for file in changed):
            self._standstill.read_twice()  # those below follow, not all at once

    def _refresh(
        self, descriptors: Descriptors, look: Look, reading: Reading | None
    ) -> list[File] | None:
        killed = self._standstill.has_killed
        one_by_one = look | Look.SELDOM if killed else look
        if reading is None and (look is not Look.HELD or self._waits or self._is_told()):
            return self._refresh_each(descriptors, one_by_one)
        changed: list[File] = []
        try:
            if reading is not None and self._requests is not None:
                news = self._requests.news(reading)
            else:
                news, self._requests = self._read(), None
            self._take(news, changed)
            if look is not Look.HELD:
                others = self._refresh_each(descriptors, look & ~Look.HELD)
                return None if others is None else changed + others
            unheld = (*self._unheld, *self._kills) if killed else self._unheld
            for directory, files in unheld:
                if not directory.read_unheld(files, changed):
                    return None
        except OSError:  # each for itself says why
            others = self._refresh_each(descriptors, one_by_one)
            return None if others is None else changed + others
        return changed

    def catch_up(self, descriptors: Descriptors) -> None:
        """Read what `refresh` left for a moment in which nobody waits for it.

        What is new is told by the next `refresh`, and so is why something cannot be read.
        """
        if not self.late:
            return  # closed meanwhile
        self.late = False
        try:
            found = self._refresh_each(descriptors, Look.SELDOM | Look.MISSING)
        except OSError:
            self._due, found = 0, None
        everything = (file for directory in self._directories for file in directory.files)
        self._found += everything if found is None else found

    def _read(self) -> News:
        return other_than(
            self._contents, list(map(host.os.pread, self._fds, self._sizes, _FROM_START))
        )

    def _take(self, news: News, changed: list[File]) -> None:
        for place, content in news:
            file = self._held[place]
            if len(content) < file.size:
                self._contents[place] = file.content = content
            else:  # there may be more
                self._contents[place] = file.content = file.whole(file.fd, content)
                self._sizes[place] = file.size
                self._requests = None
            changed.append(file)

    def _refresh_each(self, descriptors: Descriptors, look: Look) -> list[File] | None:
        version = self._standstill.version
        changed = []
        for directory in self._directories:
            if not directory.refresh(descriptors, look):
                return None
            changed += directory.changed
        if Look.HELD in look:
            self._requests = None  # what they took last is no longer what is known
        if Look.SELDOM in look:
            self._version = version
        self._sort(descriptors)
        return changed

    def _sort(self, descriptors: Descriptors) -> None:
        for directory in self._directories:
            directory.settle(descriptors)
        steady = [(directory, directory.steady()) for directory in self._directories]
        self._held = [file for _, files in steady for file in files if file.fd >= 0]
        fds, sizes = [file.fd for file in self._held], [file.size for file in self._held]
        if fds != self._fds or sizes != self._sizes:
            self._fds, self._sizes, self._requests = fds, sizes, None
        self._contents[:] = [file.content for file in self._held]
        self._unheld = _where_any(
            (directory, [file for file in files if file.fd < 0]) for directory, files in steady
        )
        self._kills = _where_any((each, each.waiting_for_kills()) for each in self._directories)
        self._watches = [d.watch for d in self._directories if d.watch is not None]
        self._waits = any(directory.waits for directory in self._directories)

    def let_go(self, descriptors: Descriptors) -> None:
        """Let every descriptor go, and read on."""
        for directory in self._directories:
            for file in directory.files:
                file.close(descriptors)
        self._sort(descriptors)

    def close(self, descriptors: Descriptors) -> None:
        """Let every descriptor go, and read no more."""
        self.late = False
        for directory in self._directories:
            directory.close(descriptors)
