"""The only door to kernel files: opens them, holds them open, turns errnos into reasons.

Nothing else in the package opens a file of cgroupfs or procfs. Sources: cgroup-v2.rst,
proc(5); fs/kernfs/file.c and fs/seq_file.c for how a read ends.
"""

import contextlib
import enum
import errno
import itertools
import os
import os as os_module
import re
import resource
import stat
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet

from cgexporter.inotify import Notices, Watch

_READ_FLAGS = os.O_RDONLY | os.O_CLOEXEC
_DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FIRST_SIZE = 4096
_LEAST_SIZE = 64
# Lists of many records, which one read() may end between two: never held open.
_LISTS = frozenset({"cgroup.procs", "cgroup.threads", "tasks"})
_HUGE_PAGES = re.compile(r"hugetlb\.(\w+)\.(?:current|usage_in_bytes)")
_CGROUPS_FOR_SIZES = 8
# A read of a seq_file ends where its page is full: less than a half is all there is, for no
# record below /proc/PID/net is that long (fs/seq_file.c, seq_read_iter).
_HALF_PAGE = 2048
# Descriptors kept free for sockets, logs and libraries.
_RESERVED_DESCRIPTORS = 256


# Of this process itself, also while a recording stands in for the host.
_stat_own = os.stat
_clock: Callable[[], float] = time.time

# A directory that was removed, or may not be looked into.
_VANISHED = frozenset({errno.ENOENT, errno.ENODEV, errno.EACCES, errno.EPERM})


class Missing(enum.Enum):
    """Why a file gave no bytes: ordinary life in a tree that changes while it is read."""

    ABSENT = "absent"  # not offered here: root cgroup, controller off, old kernel
    GONE = "gone"  # cgroup or process removed since it was listed
    UNSUPPORTED = "unsupported"  # PSI switched off; cgroup.procs of a threaded cgroup
    DENIED = "denied"  # missing privilege


Content = bytes | Missing

_REASON = {
    errno.ENODEV: Missing.GONE,  # read() after rmdir, v1 and v2
    errno.ESRCH: Missing.GONE,  # read() in /proc/PID after exit
    errno.EOPNOTSUPP: Missing.UNSUPPORTED,
    errno.EACCES: Missing.DENIED,
    errno.EPERM: Missing.DENIED,
}


def reason(exc: OSError) -> Missing:
    """Name the reason behind an errno; an errno without one is raised again."""
    if found := _REASON.get(exc.errno or 0):
        return found
    raise exc


def stand_in(system: object | None, clock: Callable[[], float] | None = None) -> None:
    """Read from something else than this host: a recording, or what makes one.

    Args:
        system: has the functions of `os` that this module calls, by these names: `open`,
            `close`, `read`, `pread`, `stat`, `fstat`, `scandir`, `listdir`, `readlink` and
            `getpid`. None is the host again. The readers stay as fast as they were: they call
            what the name `os` stands for here.
        clock: what time it is, in seconds since the epoch.
    """
    globals()["os"] = os_module if system is None else system
    globals()["_clock"] = clock or time.time


def now() -> float:
    """What time it is on the host that is read, in seconds since the epoch."""
    return _clock()


def own_pid() -> int:
    """The PID of this process, or of the one that made the recording."""
    return os.getpid()


def _pread_whole(fd: int, size: int) -> bytes:
    """Read a held file in one read(), with a larger buffer until it fits.

    A file with one record (every cgroup file but the PID lists) is printed anew for each
    read(), so two reads of one file may disagree; one read never does. A read shorter
    than its buffer is therefore the whole file.
    """
    while True:
        data = os.pread(fd, size, 0)
        if len(data) < size:
            return data
        size *= 2


def _read_to_end(fd: int) -> bytes:
    """Read a list of many records (cgroup.procs): the kernel ends a read() between two."""
    chunks = []
    while chunk := os.read(fd, 65536):
        chunks.append(chunk)
    return b"".join(chunks)


def is_directory(path: str) -> bool:
    """Whether there is such a directory."""
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def exists(path: str) -> bool:
    """Whether there is such a file or directory."""
    try:
        os.stat(path)
    except (OSError, ValueError):
        return False
    return True


def _exists(dir_fd: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=dir_fd)
    except (FileNotFoundError, ProcessLookupError):
        return False
    return True


@contextlib.contextmanager
def directory(path: str) -> Iterator[int | Missing]:
    """Open a directory of cgroupfs or procfs for the time of a `with` block.

    Yields:
        The descriptor, GONE where there is no such directory (any more), or DENIED.

    Raises:
        OSError: any other reason, for instance EMFILE.
    """
    try:
        fd = os.open(path, _DIRECTORY_FLAGS)
    except (FileNotFoundError, NotADirectoryError):
        yield Missing.GONE
        return
    except OSError as exc:
        yield reason(exc)
        return
    try:
        yield fd
    finally:
        os.close(fd)


def read_file(dir_fd: int, name: str, alive: str = "cgroup.procs") -> Content:
    """Read one whole file of an open cgroup (or, with alive="stat", /proc/PID) directory.

    ENOENT alone is ambiguous: `alive`, a file each such directory has, tells an absent
    file from a removed directory. Any other OSError propagates.
    """
    try:
        fd = os.open(name, _READ_FLAGS, dir_fd=dir_fd)
        try:
            return _read_to_end(fd)
        finally:
            os.close(fd)
    except OSError as exc:
        if exc.errno == errno.ENOENT:
            there = name != alive and _exists(dir_fd, alive)
            return Missing.ABSENT if there else Missing.GONE
        return reason(exc)


def read_path(path: str) -> Content:
    """Read a whole file that belongs to no cgroup or process, such as /proc/partitions."""
    try:
        fd = os.open(path, _READ_FLAGS)
        try:
            return _read_to_end(fd)
        finally:
            os.close(fd)
    except (FileNotFoundError, NotADirectoryError):
        return Missing.ABSENT
    except OSError as exc:
        return reason(exc)


def oom_eventfd(directory_path: str) -> int:
    """Ask v1's memory controller to signal when the OOM killer begins in a cgroup.

    Source: cgroup-v1/memory.rst, "OOM Control"; mm/memcontrol-v1.c, memcg_write_event_control.

    Returns:
        A descriptor that becomes readable, also when the cgroup is removed; -1 where the
        cgroup is gone, or may not be asked: that takes a write, though to no setting.
    """
    eventfd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    try:
        oom_control = os.open(f"{directory_path}/memory.oom_control", _READ_FLAGS)
        try:
            flags = os.O_WRONLY | os.O_CLOEXEC
            control = os.open(f"{directory_path}/cgroup.event_control", flags)
            try:
                os.write(control, f"{eventfd} {oom_control}".encode())
            finally:
                os.close(control)
        finally:
            os.close(oom_control)
    except OSError as exc:
        os.close(eventfd)
        refused = (errno.EROFS, errno.EINVAL, errno.ENOENT, errno.ENOTDIR)
        if exc.errno not in refused:
            reason(exc)
        return -1
    return eventfd


def read_link(dir_fd: int, name: str) -> str | Missing:
    """Read a symbolic link of /proc/PID (its namespaces); needs ptrace access to it."""
    try:
        return os.readlink(name, dir_fd=dir_fd)
    except (FileNotFoundError, ProcessLookupError):
        return Missing.ABSENT if _exists(dir_fd, "stat") else Missing.GONE
    except OSError as exc:
        return reason(exc)


def read_of_task(dir_fd: int, name: str) -> Content:
    """Read ``mountinfo``, ``uid_map`` or ``gid_map`` of an open /proc/PID directory.

    They answer EINVAL for a process that exits and has no namespaces any more
    (fs/proc_namespace.c, mounts_open_common; fs/proc/base.c, proc_id_map_open).
    """
    try:
        return read_file(dir_fd, name, alive="stat")
    except OSError as exc:
        if exc.errno == errno.EINVAL:
            return Missing.GONE
        raise


def read_once(dir_fd: int, name: str) -> tuple[int, Content]:
    """Read a file of /proc/PID, and say which inode was read; 0 where it could not be opened.

    A file below /proc/PID/net is another one once the process has joined another network
    namespace; its inode tells. It must not stay open: an open one keeps the namespace alive
    after the container that it was made for (net/core: seq_open_net takes a reference).
    """
    try:
        fd = os.open(name, _READ_FLAGS, dir_fd=dir_fd)
        try:
            data = os.read(fd, 65536)
            if len(data) >= _HALF_PAGE:
                data += _read_to_end(fd)
            return os.fstat(fd).st_ino, data
        finally:
            os.close(fd)
    except FileNotFoundError:
        return 0, Missing.ABSENT if _exists(dir_fd, "stat") else Missing.GONE
    except OSError as exc:
        return 0, reason(exc)


def inode_below(dir_fd: int, name: str) -> int | Missing:
    """Inode of a file of /proc/PID; a zombie has no ``net``, nor has a captured tree."""
    try:
        return os.stat(name, dir_fd=dir_fd).st_ino
    except FileNotFoundError:  # and not ESRCH, which an exited process gives
        return Missing.ABSENT
    except OSError as exc:
        return reason(exc)


def processes(procfs: str) -> Generator[tuple[int, int], None, None]:
    """List the processes in order of PID: each one's PID and the inode of its directory.

    The list is not of one moment, and may be read on as slowly as one likes. procfs makes the
    inode when it first sees the process (proc_pid_instantiate), so another inode may be the
    same process seen anew, but the same inode is never another process.
    """
    with os.scandir(procfs) as entries:
        for entry in entries:
            if entry.name.isascii() and entry.name.isdecimal():
                yield int(entry.name), entry.inode()


def open_links(dir_fd: int) -> list[str] | Missing:
    """What the descriptors of a process stand for, of those that may be read.

    Source: proc_pid_fd(5); needs ptrace access to it.
    """
    links = []
    try:
        fds = os.open("fd", _DIRECTORY_FLAGS, dir_fd=dir_fd)
        try:
            for name in os.listdir(fds):
                with contextlib.suppress(FileNotFoundError):  # closed since it was listed
                    links.append(os.readlink(name, dir_fd=fds))
        finally:
            os.close(fds)
    except FileNotFoundError:
        return Missing.GONE
    except OSError as exc:
        return reason(exc)
    return links


def counts_otherwise(procfs: str) -> bool:
    """Whether a mounted procfs is of another PID namespace than this process.

    Then a PID that the kernel tells us elsewhere (cgroup.procs, rtnetlink) is another
    process's there, or nobody's. False for a captured tree, which has no link ``self``.
    """
    try:
        return os.readlink(f"{procfs}/self") != str(os.getpid())
    except OSError:
        return False


def open_process(procfs: str, pid: int) -> int | Missing:
    """Open /proc/PID to hold it: the descriptor stands for the process, not for its number."""
    try:
        return os.open(f"{procfs}/{pid}", _DIRECTORY_FLAGS)
    except (FileNotFoundError, NotADirectoryError):
        return Missing.GONE
    except OSError as exc:
        return reason(exc)


def close(fd: int) -> None:
    """Close what `open_process` or `open_namespace` opened."""
    os.close(fd)


def open_namespace(dir_fd: int, kind: str) -> int | Missing:
    """Open a namespace of a process; needs ptrace access to it."""
    try:
        return os.open(f"ns/{kind}", _READ_FLAGS, dir_fd=dir_fd)
    except FileNotFoundError:
        return Missing.GONE
    except OSError as exc:
        return reason(exc)


def status(path: str) -> os.stat_result | Missing:
    """What a file or directory is, following links: its inode, and the UID of its owner."""
    try:
        return os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return Missing.ABSENT
    except OSError as exc:
        return reason(exc)


def huge_page_sizes(tree: str) -> set[str]:
    """The sizes that name the files of the hugetlb controller, such as 2MB.

    The root has none of them on v2. Its children have the controller all or none.
    """
    try:
        with os.scandir(tree) as entries:
            children = (entry.path for entry in entries if entry.is_dir(follow_symlinks=False))
            places = [tree, *itertools.islice(children, _CGROUPS_FOR_SIZES)]
        names = [name for place in places for name in os.listdir(place)]
    except OSError as exc:
        if exc.errno not in _VANISHED:
            raise
        return set()
    return {match[1] for name in names if (match := _HUGE_PAGES.fullmatch(name))}


def device(path: str) -> tuple[str, str] | None:
    """What a device file is: "b" or "c", and its MAJOR:MINOR; None where it is none or hidden."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # a path with a NUL
        return None
    kinds = {stat.S_IFBLK: "b", stat.S_IFCHR: "c"}
    kind = kinds.get(stat.S_IFMT(status.st_mode))
    number = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    return None if kind is None else (kind, number)


def made(path: str) -> float | None:
    """When a cgroup's directory changed last, in seconds since the epoch; None: it is gone.

    While it has no children that is when it was made.
    """
    try:
        return os.stat(path).st_mtime
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        reason(exc)
        return None


def memory_pages() -> tuple[int, int]:
    """Pages of this process: virtual and resident. Source: proc_pid_statm(5)."""
    with open("/proc/self/statm", "rb") as file:
        virtual, resident = file.read().split()[:2]
    return int(virtual), int(resident)


def open_descriptors() -> int:
    """How many descriptors this process has open; 0, not known, before Linux 6.2.

    Source: proc_pid_fd(5), the size of the directory.
    """
    return _stat_own("/proc/self/fd").st_size


def directories(path: str) -> list[str]:
    """Full paths of the directories in a directory, in order."""
    with os.scandir(path) as entries:
        return sorted(entry.path for entry in entries if entry.is_dir(follow_symlinks=False))


class Walker:
    """Finds the cgroups of one hierarchy, again and again.

    A directory's link count is 2 plus its sub-directories (fs/kernfs/inode.c,
    kernfs_refresh_inode), so that leaves, nearly all cgroups, need no listing. File systems
    that do not count (btrfs under a captured tree) say 1 and are listed.
    """

    def __init__(self, root: str, salt: int = 0) -> None:
        self._root = root
        self._salt = salt
        # By path: inode as listed and as stat() has it (overlays may give two numbers), leaf.
        self._seen: dict[str, tuple[int, int, bool]] = {}
        # What the last walk looked at: all names in a directory, or a leaf's inode.
        self._listings: dict[str, list[str]] = {}
        self._leaves: dict[str, int] = {}
        self._walks = 0
        self._notices: Notices | None = None
        # What the last walk looked at, as far as it is watched: inode and watch.
        self._watches: dict[str, tuple[int, Watch]] = {}
        self.left_out = 0
        self.errors: list[OSError] = []

    def heed(self, notices: Notices) -> None:
        """Do not look again where the kernel would have told of something new."""
        self._notices = notices

    def walk(
        self,
        allow: Callable[[str, int], int] = lambda _, children: children,
        leaves: AbstractSet[str] = frozenset(),
    ) -> Iterator[tuple[str, int, bool]]:
        """Visit the cgroups, parents before children.

        Args:
            allow: given a path and how many children it has, how many of them to visit.
            leaves: paths to take for the leaves they were here, and look at now and then
                only, while their inode stays.

        Yields:
            Path below the root ("/" for the root itself), inode, and whether the cgroup has
            no child. Removed and unreadable directories are left out. Afterwards `left_out`
            counts the children that were not visited, and `errors` holds what else went wrong.
        """
        look_again = is_due(self._walks, self._salt)
        self._walks += 1
        self.left_out = 0
        self.errors = []
        self._listings = {}
        self._leaves = {}
        seen = {}
        pending = [("", 0)]
        while pending:
            below, listed = pending.pop()
            known = self._seen.get(below)
            if (
                known is not None
                and below in leaves
                and known[0] == listed
                and known[2]
                and not look_again
            ):
                inode, leaf = known[1], True
            else:
                try:
                    inode, children = self._look(below)
                except OSError as exc:
                    if exc.errno not in _VANISHED:
                        self.errors.append(exc)
                    continue
                leaf = not children
                if below in leaves:
                    self._leaves.pop(below, None)  # told by another hierarchy
                if children:
                    allowed = allow(below or "/", len(children))
                    self.left_out += len(children) - allowed
                    pending.extend(children[:allowed])
            seen[below] = (listed, inode, leaf)
            yield below or "/", inode, leaf
        self._seen = seen
        for below in self._watches.keys() - self._listings.keys() - self._leaves.keys():
            self._unwatch(below)

    def _watch(self, below: str, inode: int) -> bool:
        """Watch a directory that is about to be listed; whether that is new."""
        if self._notices is None:
            return False
        known = self._watches.get(below)
        if known is not None and known[0] == inode:
            known[1].relisted = False
            return False
        if known is not None:
            self._unwatch(below)
        watch = self._notices.watch(self._root + below)
        if watch is None:
            return False
        watch.relisted = False
        self._watches[below] = (inode, watch)
        return True

    def _unwatch(self, below: str) -> None:
        assert self._notices is not None
        self._notices.drop(self._watches.pop(below)[1])

    def _look(self, below: str) -> tuple[int, list[tuple[str, int]]]:
        path = self._root + below
        status = os.stat(path)
        if self._watch(below, status.st_ino):
            status = os.stat(path)  # what was made in between was not told
        if status.st_nlink == 2:
            self._leaves[below] = status.st_ino
            return status.st_ino, []
        with os.scandir(path) as found:
            entries = list(found)
        self._listings[below] = [entry.name for entry in entries]
        return status.st_ino, [
            (f"{below}/{entry.name}", entry.inode())
            for entry in entries
            if entry.is_dir(follow_symlinks=False)
        ]

    def is_unchanged(self) -> bool:
        """Whether a walk would find what the last one found.

        Where nothing is watched, a directory that was removed and made again under its name may
        pass for the old one, but its files do not: they read as GONE.
        """
        if self.errors or self.left_out or is_due(self._walks, self._salt):
            return False
        watched = self._watches
        if any(watch.relisted for _, watch in watched.values()):
            return False
        try:
            for below, names in self._listings.items():
                if below not in watched and os.listdir(self._root + below) != names:
                    return False
            for below, inode in self._leaves.items():
                if below not in watched:
                    status = os.stat(self._root + below)
                    if status.st_nlink != 2 or status.st_ino != inode:
                        return False
        except OSError:
            return False  # the walk says what it is
        self._walks += 1
        return True


class Descriptors:
    """How many files may stay open between scans (``--scan.max-open-files``).

    Args:
        wanted: so many, where there is room.
        room: how many descriptors RLIMIT_NOFILE leaves for these and others'.
    """

    __slots__ = ("_room", "_wanted", "held", "limit")

    def __init__(self, wanted: int, room: int | None = None) -> None:
        self._wanted = wanted
        self._room = wanted if room is None else room
        self.limit = min(wanted, self._room)
        self.held = 0

    def leave(self, others: int) -> None:
        """Leave room for so many of others'; more may be held now than the new limit."""
        self.limit = max(0, min(self._wanted, self._room - others))

    def take(self) -> bool:
        """Claim one; False when the bound is reached."""
        if self.held >= self.limit:
            return False
        self.held += 1
        return True

    def give_back(self) -> None:
        """Return one that was claimed."""
        self.held -= 1


def raise_descriptor_limit(wanted: int, others: int = 0) -> int:
    """Raise RLIMIT_NOFILE as far as needed and allowed.

    Args:
        wanted: descriptors to hold.
        others: that something else may need, such as connections.

    Returns:
        How many descriptors may be held: `wanted`, or what the limit leaves.
    """
    reserved = others + _RESERVED_DESCRIPTORS
    need = wanted + reserved
    soft, hard = (_finite(limit) for limit in resource.getrlimit(resource.RLIMIT_NOFILE))
    if soft < need:
        for goal in (need, min(need, hard)):
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (goal, max(goal, hard)))
            except (OSError, ValueError):  # more than CAP_SYS_RESOURCE or fs.nr_open allows
                continue
            soft = goal
            break
    return max(0, min(wanted, soft - reserved))


def _finite(limit: int) -> int:
    return (1 << 30) if limit == resource.RLIM_INFINITY else limit


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


def is_due(count: int, salt: int = 0) -> bool:
    """Whether to look again at what seldom changes and mostly early: 1, 2, 4, … 32, 64, 96.

    From 32 on `salt` moves the turn, so that not all have theirs in one scan.
    """
    return count & (count - 1) == 0 if count < 32 else (count + salt) % 32 == 0


class File:
    """One file of one cgroup: its latest content, and the descriptor it is read through.

    `version` counts the contents, so that each of several readers knows which it has seen.
    `inode` is known of a file that is not held.
    """

    __slots__ = ("content", "fd", "inode", "name", "size", "version")

    def __init__(self, name: str) -> None:
        self.name = name
        self.fd = -1
        self.inode = 0
        self.size = _FIRST_SIZE
        self.content: Content = Missing.ABSENT
        self.version = 1

    def open(self, dir_fd: int, descriptors: Descriptors | None) -> Content:
        """Open and read it; hold it where a descriptor may be taken."""
        try:
            fd = os.open(self.name, _READ_FLAGS, dir_fd=dir_fd)
        except FileNotFoundError:
            return Missing.ABSENT if _exists(dir_fd, "cgroup.procs") else Missing.GONE
        except OSError as exc:
            return reason(exc)
        content: Content
        try:
            self.inode = os.fstat(fd).st_ino
            content = self.read(fd)
        except OSError as exc:
            content = reason(exc)
        finally:
            if self.name not in _LISTS and descriptors is not None and descriptors.take():
                self.fd = fd
            else:
                os.close(fd)
        return content

    def read(self, fd: int) -> bytes:
        """Read it whole; the content that is known already may be the same object."""
        if self.name in _LISTS:
            return _read_to_end(fd)
        data = os.pread(fd, self.size, 0)
        return data if data == self.content else self.whole(fd, data)

    def whole(self, fd: int, data: bytes) -> bytes:
        """All of a content that was new in a read() of `size` bytes: see `_pread_whole`."""
        if len(data) == self.size:
            data = _pread_whole(fd, 2 * self.size)
        # Buffers of up to 512 bytes are what Python makes fastest.
        self.size = max(_LEAST_SIZE, 2 * len(data))
        return data

    def take(self, content: Content) -> None:
        """Hold a content that is new."""
        self.content = content
        self.version += 1

    def close(self, descriptors: Descriptors) -> None:
        """Let the descriptor go."""
        if self.fd >= 0:
            os.close(self.fd)
            descriptors.give_back()
            self.fd = -1


class Directory:
    """The files of one cgroup in one hierarchy, read again and again.

    `changed` are the files whose content was new in the last `refresh`. A cgroup is its path
    and inode: a directory that was removed and made again under the same name is another
    cgroup, and reads as GONE here.
    """

    __slots__ = (
        *("_counters", "_notices", "_outcomes", "_settings", "_watch"),
        *("changed", "files", "inode", "path"),
    )

    def __init__(
        self,
        path: str,
        inode: int,
        files: Iterable[File],
        outcomes: Outcomes,
        settings: AbstractSet[str] = frozenset(),
    ) -> None:
        self.path = path
        self.inode = inode
        self.files = tuple(files)
        self._settings = tuple(file for file in self.files if file.name in settings)
        self._counters = tuple(file for file in self.files if file.name not in settings)
        self.changed: list[File] = []
        self._outcomes = outcomes
        self._notices: Notices | None = None
        self._watch: Watch | None = None
        for file in self.files:
            outcomes.add(file.name, file.content)

    def heed(self, notices: Notices) -> None:
        """From now on read settings when they were written to, and every 32nd time."""
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
        """Read files by their whole paths: to open the directory costs as much as one of them.

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
        for file in files:
            fd = os.open(f"{self.path}/{file.name}", _READ_FLAGS)
            try:
                data = file.read(fd)
                if data != file.content:
                    file.take(data)
                    changed.append(file)
                if file is last and os.fstat(fd).st_ino != file.inode:
                    return False
            finally:
                os.close(fd)
        return True

    def refresh(self, descriptors: Descriptors, *, probe: bool = True) -> bool:
        """Read every file; each one's `version` grows where its content is new.

        Args:
            descriptors: how many may be held.
            probe: look for files that were missing, too. One appears when its controller is
                switched on, usually moments after the directory was made.

        Returns:
            False when the cgroup is gone.

        Raises:
            OSError: an errno without a reason (see `Missing`).
        """
        self.changed = []
        if not self._settings or self._notices is None:
            return self._read(self.files, descriptors, probe)
        if probe or self._watch is None or self._watch.written:
            return self._read_settings_too(self._notices, descriptors, probe)
        return self._read(self._counters, descriptors, probe)

    def _read_settings_too(self, notices: Notices, descriptors: Descriptors, probe: bool) -> bool:
        if self._watch is None and probe:
            self._watch = notices.watch(self.path)
            if self._watch is not None:
                for file in self._settings:
                    file.close(descriptors)
        watch = self._watch
        if watch is None:
            return self._read(self.files, descriptors, probe)
        told, watch.written = watch.written, False
        versions = [file.version for file in self._settings]
        alive = self._read(self.files, descriptors, probe)
        if not told and versions != [file.version for file in self._settings]:
            notices.doubt(watch)
        return alive

    def _read(self, files: Iterable[File], descriptors: Descriptors, probe: bool) -> bool:
        unheld = []
        pread = os.pread
        for file in files:
            if file.fd < 0:
                if probe or not isinstance(file.content, Missing):
                    unheld.append(file)
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
        with directory(self.path) as dir_fd:
            if isinstance(dir_fd, Missing) or os.fstat(dir_fd).st_ino != self.inode:
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
        file.take(content)
        self.changed.append(file)

    def close(self, descriptors: Descriptors) -> None:
        """Let every descriptor go, and count its files no more."""
        if self._watch is not None and self._notices is not None:
            self._notices.drop(self._watch)
            self._watch = None
        for file in self.files:
            file.close(descriptors)
            self._outcomes.add(file.name, file.content, -1)


class Directories:
    """The directories of one cgroup, one in each of its hierarchies, read again and again.

    Mostly there is nothing to do but to read the same files, of all of them in one go.
    """

    __slots__ = ("_directories", "_held", "_reads", "_unheld", "_watches")

    def __init__(self, directories: Sequence[Directory]) -> None:
        self._directories = directories
        self._held: Sequence[File] = ()
        self._unheld: Sequence[tuple[Directory, Sequence[File]]] = ()
        self._watches: Sequence[Watch] = ()
        self._reads = 0

    def __iter__(self) -> Iterator[Directory]:
        """Each directory."""
        return iter(self._directories)

    def refresh(self, descriptors: Descriptors) -> list[File] | None:
        """Read every file that may have changed.

        Returns:
            Those whose content is new, or None when the cgroup is gone.

        Raises:
            OSError: an errno without a reason (see `Missing`).
        """
        if not self._directories:  # who asks for namespaces alone reads no file
            return []
        probe = is_due(self._reads, self._directories[0].inode)
        self._reads += 1
        if probe:
            return self._refresh_each(descriptors, probe)
        for watch in self._watches:
            if watch.written:
                return self._refresh_each(descriptors, probe)
        changed = []
        pread = os.pread
        try:
            for file in self._held:
                data = pread(file.fd, file.size, 0)
                if data != file.content:
                    file.take(file.whole(file.fd, data))
                    changed.append(file)
            for directory, files in self._unheld:
                if not directory.read_unheld(files, changed):
                    return None
        except OSError:  # each for itself says why
            others = self._refresh_each(descriptors, probe)
            return None if others is None else changed + others
        return changed

    def _refresh_each(self, descriptors: Descriptors, probe: bool) -> list[File] | None:
        changed = []
        for directory in self._directories:
            if not directory.refresh(descriptors, probe=probe):
                return None
            changed += directory.changed
        self._sort()
        return changed

    def _sort(self) -> None:
        steady = [(directory, directory.steady()) for directory in self._directories]
        self._held = [file for _, files in steady for file in files if file.fd >= 0]
        unheld = [(directory, [f for f in files if f.fd < 0]) for directory, files in steady]
        self._unheld = [(directory, files) for directory, files in unheld if files]
        self._watches = [d.watch for d in self._directories if d.watch is not None]

    def let_go(self, descriptors: Descriptors) -> None:
        """Let every descriptor go, and read on."""
        for directory in self._directories:
            for file in directory.files:
                file.close(descriptors)
        self._sort()

    def close(self, descriptors: Descriptors) -> None:
        """Let every descriptor go, and read no more."""
        for directory in self._directories:
            directory.close(descriptors)
