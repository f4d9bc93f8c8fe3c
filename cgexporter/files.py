"""Files that are read again and again: holds them open, and tells which have changed.

Sources: fs/kernfs/file.c and fs/seq_file.c for how a read ends.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import repeat

from cgexporter import host, kernel
from cgexporter.aio import News, Requests, other_than
from cgexporter.descriptors import Descriptors
from cgexporter.inotify import Notices, Watch
from cgexporter.kernel import READ_FLAGS, Content, Missing, read_to_end, reason, there_is
from cgexporter.walker import EVERY, is_due, turn_of

_FIRST_SIZE = 4096
# A number that grows needs a digit more: so many bytes, and an eighth of all, are kept free.
_SPARE = 12
# Lists of many records, which one read() may end between two: never held open.
_LISTS = frozenset({"cgroup.procs", "cgroup.threads", "tasks"})
_FROM_START = repeat(0)
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

    `inode` is known of a file that is not held. `readers` say what its content is for.
    """

    __slots__ = ("content", "fd", "inode", "name", "readers", "size")

    def __init__(self, name: str, readers: Readers = ()) -> None:
        self.name = name
        self.readers = readers
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


class Directory:
    """The files of one cgroup in one hierarchy, read again and again.

    `changed` are the files whose content was new in the last `refresh`. A cgroup is its path
    and inode: a directory that was removed and made again under the same name is another
    cgroup, and reads as GONE here. `waits` says that it is to be watched, and that there was no
    time for it.
    """

    __slots__ = (
        *("_below", "_counters", "_notices", "_outcomes", "_settings", "_top", "_watch"),
        *("changed", "files", "inode", "path", "waits"),
    )

    def __init__(
        self,
        top: Top,
        below: str,
        inode: int,
        files: Iterable[File],
        outcomes: Outcomes,
        settings: AbstractSet[str] = frozenset(),
    ) -> None:
        self.path = f"{top.path}/{below}" if below else top.path
        self._top = top
        self._below = f"./{below}"
        self.inode = inode
        self.files = tuple(files)
        self._settings = tuple(file for file in self.files if file.name in settings)
        self._counters = tuple(file for file in self.files if file.name not in settings)
        self.changed: list[File] = []
        self.waits = False
        self._outcomes = outcomes
        self._notices: Notices | None = None
        self._watch: Watch | None = None
        for file in self.files:
            outcomes.add(file.name, file.content)

    def heed(self, notices: Notices) -> None:
        """From now on read settings when they were written to, and every 64th time."""
        self._notices = notices

    @property
    def watch(self) -> Watch | None:
        """Tells whether a setting was written to, where that can be told."""
        return self._watch

    def steady(self) -> Sequence[File]:
        """What to read while no setting is written to, and nothing missing is looked for."""
        files = self.files if self._watch is None else self._counters
        return [file for file in files if not isinstance(file.content, Missing)]

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

    def refresh(self, descriptors: Descriptors, *, probe: bool = True, held: bool = True) -> bool:
        """Read every file, and find those whose content is new.

        Args:
            descriptors: how many may be held.
            probe: look for files that were missing, too. One appears when its controller is
                switched on, usually moments after the directory was made.
            held: read held files, too; others have been read already.

        Returns:
            False when the cgroup is gone.

        Raises:
            OSError: an errno without a reason (see `Missing`).
        """
        self.changed = []
        if not self._settings or self._notices is None:
            return self._read(self.files, descriptors, probe, held)
        if probe or self._watch is None or self._watch.written:
            return self._read_settings_too(self._notices, descriptors, probe, held)
        return self._read(self._counters, descriptors, probe, held)

    def _read_settings_too(
        self, notices: Notices, descriptors: Descriptors, probe: bool, held: bool
    ) -> bool:
        if self._watch is None and (probe or self.waits):
            self._watch = notices.watch(self.path, reads=True)
            self.waits = self._watch is None and notices.out_of_time
            if self._watch is not None:
                for file in self._settings:
                    file.close(descriptors)
        watch = self._watch
        if watch is None:
            return self._read(self.files, descriptors, probe, held)
        told, watch.written = watch.written, False
        before = [file.content for file in self._settings]
        alive = self._read(self.files, descriptors, probe, held)
        if not told and before != [file.content for file in self._settings]:
            notices.doubt(watch)
        return alive

    def _read(
        self, files: Iterable[File], descriptors: Descriptors, probe: bool, held: bool
    ) -> bool:
        unheld = []
        pread = host.os.pread
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
                seldom = self._watch is not None and file in self._settings
                content = file.open(dir_fd, None if seldom else descriptors)
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
        for file in self.files:
            file.close(descriptors)
            self._outcomes.add(file.name, file.content, -1)


class Directories:
    """The directories of one cgroup, one in each of its hierarchies, read again and again.

    Mostly there is nothing to do but to read the same files, of all of them in one go. `late` says
    that the others' turn has come, and that `catch_up` is to read them.
    """

    __slots__ = (
        *("_ahead", "_contents", "_directories", "_fds", "_found", "_held"),
        *("_overdue", "_reads", "_requests", "_sizes", "_turn", "_unheld", "_waits", "_watches"),
        "late",
    )

    def __init__(self, directories: Sequence[Directory]) -> None:
        self._directories = directories
        # By place: each held file, its descriptor, how much to ask for, and what came last.
        self._held: list[File] = []
        self._fds: list[int] = []
        self._sizes: list[int] = []
        self._contents: list[Content] = []
        self._unheld: Sequence[tuple[Directory, Sequence[File]]] = ()
        self._watches: Sequence[Watch] = ()
        self._waits = False
        self._reads = 0
        self._turn = turn_of(directories[0].inode) if directories else 0
        # For the held files, and the same where the next `refresh` is to take what they read.
        self._requests: Requests | None = None
        self._ahead: Requests | None = None
        self.late = False
        self._overdue = False
        self._found: list[File] = []  # whose content was new when it caught up

    def __iter__(self) -> Iterator[Directory]:
        """Each directory."""
        return iter(self._directories)

    def ahead(self, told: bool) -> Requests | None:
        """What `aio.Reader` is to read before the next `refresh`; None: it reads by itself.

        Args:
            told: some directory was written to; else none need be asked whether it is one of these.
        """
        self._ahead = None
        if not self._held or self._waits or (told and self._is_told()):
            return None
        if self._requests is None:
            self._requests = Requests(self._fds, self._sizes, self._contents)
        self._ahead = self._requests
        return self._ahead

    def _is_told(self) -> bool:
        return any(watch.written for watch in self._watches)

    def refresh(self, descriptors: Descriptors) -> list[File] | None:
        """Read every file that may have changed.

        Returns:
            Those whose content is new, or None when the cgroup is gone.

        Raises:
            OSError: an errno without a reason (see `Missing`).
        """
        if not self._directories:  # who asks for namespaces alone reads no file
            return []
        probe = self._overdue or is_due(self._reads, self._turn)
        if probe and self._ahead is not None and self._reads >= EVERY and not self._overdue:
            self.late, probe = True, False
        self._reads += 1
        self._overdue = True  # where this breaks off
        changed = self._refresh(descriptors, probe)
        self._overdue = False
        if self._found and changed is not None:
            changed += self._found
            self._found = []
        return changed

    def _refresh(self, descriptors: Descriptors, probe: bool) -> list[File] | None:
        ahead, self._ahead = self._ahead, None
        if ahead is None and (probe or self._waits or self._is_told()):
            return self._refresh_each(descriptors, probe)
        changed: list[File] = []
        try:
            news = self._read() if ahead is None else ahead.news()
            self._take(news, changed)
            if probe:
                others = self._refresh_each(descriptors, probe, held=False)
                return None if others is None else changed + others
            for directory, files in self._unheld:
                if not directory.read_unheld(files, changed):
                    return None
        except OSError:  # each for itself says why
            others = self._refresh_each(descriptors, probe)
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
            found = self._refresh_each(descriptors, True, held=False)
        except OSError:
            self._overdue, found = True, None
        everything = (file for directory in self._directories for file in directory.files)
        self._found += everything if found is None else found

    def _read(self) -> News:
        return other_than(
            self._contents, list(map(host.os.pread, self._fds, self._sizes, _FROM_START))
        )

    def _take(self, news: News, changed: list[File]) -> None:
        for place, data in news:
            file = self._held[place]
            self._contents[place] = file.content = file.whole(file.fd, data)
            if file.size != self._sizes[place]:
                self._sizes[place] = file.size
                self._requests = None
            changed.append(file)

    def _refresh_each(
        self, descriptors: Descriptors, probe: bool, *, held: bool = True
    ) -> list[File] | None:
        changed = []
        for directory in self._directories:
            if not directory.refresh(descriptors, probe=probe, held=held):
                return None
            changed += directory.changed
        if held:
            self._requests = None  # what they took last is no longer what is known
        self._sort()
        return changed

    def _sort(self) -> None:
        steady = [(directory, directory.steady()) for directory in self._directories]
        self._held = [file for _, files in steady for file in files if file.fd >= 0]
        fds, sizes = [file.fd for file in self._held], [file.size for file in self._held]
        if fds != self._fds or sizes != self._sizes:
            self._fds, self._sizes, self._requests = fds, sizes, None
        self._contents[:] = [file.content for file in self._held]
        unheld = [(directory, [f for f in files if f.fd < 0]) for directory, files in steady]
        self._unheld = [(directory, files) for directory, files in unheld if files]
        self._watches = [d.watch for d in self._directories if d.watch is not None]
        self._waits = any(directory.waits for directory in self._directories)

    def let_go(self, descriptors: Descriptors) -> None:
        """Let every descriptor go, and read on."""
        for directory in self._directories:
            for file in directory.files:
                file.close(descriptors)
        self._sort()

    def close(self, descriptors: Descriptors) -> None:
        """Let every descriptor go, and read no more."""
        self.late = False
        for directory in self._directories:
            directory.close(descriptors)
