"""The only door to kernel files: opens them, holds them open, turns errnos into reasons.

Nothing else in the package opens a file of cgroupfs or procfs. Sources: cgroup-v2.rst,
proc(5); fs/kernfs/file.c and fs/seq_file.c for how a read ends.
"""

import contextlib
import enum
import errno
import os
import resource
from collections.abc import Iterable, Iterator

_READ_FLAGS = os.O_RDONLY | os.O_CLOEXEC
_DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FIRST_SIZE = 4096
# Descriptors kept free for sockets, logs and libraries.
_RESERVED_DESCRIPTORS = 256


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


def read_link(dir_fd: int, name: str) -> str | Missing:
    """Read a symbolic link of /proc/PID (its namespaces); needs ptrace access to it."""
    try:
        return os.readlink(name, dir_fd=dir_fd)
    except (FileNotFoundError, ProcessLookupError):
        return Missing.ABSENT if _exists(dir_fd, "stat") else Missing.GONE
    except OSError as exc:
        return reason(exc)


def inode(path: str) -> int | Missing:
    """Inode of a file or directory, following links."""
    try:
        return os.stat(path).st_ino
    except (FileNotFoundError, NotADirectoryError):
        return Missing.ABSENT
    except OSError as exc:
        return reason(exc)


def walk(root: str, limit: int) -> Iterator[tuple[str, int, bool]]:
    """Find the cgroups of one hierarchy, parents before children.

    Args:
        root: the directory where the hierarchy is mounted.
        limit: how many cgroups to visit at most.

    Yields:
        Path below the root ("/" for the root itself), inode, and whether the cgroup has no
        child. Removed and unreadable directories are left out.

    A directory's link count is 2 plus its sub-directories (fs/kernfs/inode.c,
    kernfs_refresh_inode), so that leaves, nearly all cgroups, need no listing. File systems
    that do not count (btrfs under a captured tree) say 1 and are listed.
    """
    pending = [""]
    while pending and limit > 0:
        below = pending.pop()
        path = root + below
        try:
            status = os.stat(path)
            leaf = status.st_nlink == 2
            if not leaf:
                with os.scandir(path) as entries:
                    children = [e.name for e in entries if e.is_dir(follow_symlinks=False)]
                leaf = not children
                pending.extend(f"{below}/{name}" for name in children)
        except OSError as exc:
            if exc.errno in (errno.ENOENT, errno.ENODEV, errno.EACCES, errno.EPERM):
                continue
            raise
        limit -= 1
        yield below or "/", status.st_ino, leaf


class Descriptors:
    """How many files may stay open between scans (``--scan.max-open-files``)."""

    __slots__ = ("held", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0

    def take(self) -> bool:
        """Claim one; False when the bound is reached."""
        if self.held >= self.limit:
            return False
        self.held += 1
        return True

    def give_back(self) -> None:
        """Return one that was claimed."""
        self.held -= 1


def raise_descriptor_limit(wanted: int) -> int:
    """Raise RLIMIT_NOFILE's soft limit as far as needed and allowed.

    Returns:
        How many descriptors may be held: `wanted`, or what the limit leaves.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = wanted + _RESERVED_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < need:
        soft = need if hard == resource.RLIM_INFINITY else min(need, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY:
        return wanted
    return max(0, min(wanted, soft - _RESERVED_DESCRIPTORS))


def is_due(count: int) -> bool:
    """Whether to look again at what seldom changes and mostly early: 1, 2, 4, … 32, 64, 96."""
    return count & (count - 1) == 0 or count % 32 == 0


class File:
    """One file of one cgroup: its latest content, and the descriptor it is read through."""

    __slots__ = ("changed", "content", "fd", "name", "size")

    def __init__(self, name: str) -> None:
        self.name = name
        self.fd = -1
        self.size = _FIRST_SIZE
        self.content: Content = Missing.ABSENT
        self.changed = True

    def _open(self, dir_fd: int, descriptors: Descriptors) -> Content:
        try:
            fd = os.open(self.name, _READ_FLAGS, dir_fd=dir_fd)
        except FileNotFoundError:
            return Missing.ABSENT if _exists(dir_fd, "cgroup.procs") else Missing.GONE
        except OSError as exc:
            return reason(exc)
        try:
            content: Content = _pread_whole(fd, self.size)
        except OSError as exc:
            content = reason(exc)
        finally:
            if descriptors.take():
                self.fd = fd
            else:
                os.close(fd)
        return content

    def close(self, descriptors: Descriptors) -> None:
        """Let the descriptor go."""
        if self.fd >= 0:
            os.close(self.fd)
            descriptors.give_back()
            self.fd = -1


class Directory:
    """The files of one cgroup in one hierarchy, read again and again.

    A cgroup is its path and inode: a directory that was removed and made again under the
    same name is another cgroup, and reads as GONE here.
    """

    __slots__ = ("_reads", "files", "inode", "path")

    def __init__(self, path: str, inode: int, files: Iterable[File]) -> None:
        self.path = path
        self.inode = inode
        self.files = tuple(files)
        self._reads = 0

    def refresh(self, descriptors: Descriptors) -> bool:
        """Read every file; each one's `changed` says whether its content is new.

        Returns:
            False when the cgroup is gone.

        Raises:
            OSError: an errno without a reason (see `Missing`).
        """
        # A file appears when its controller is switched on, usually moments after the
        # directory was made.
        probe = is_due(self._reads)
        self._reads += 1
        unread = []
        pread = os.pread
        for file in self.files:
            if file.fd < 0:
                if probe or file.content is not Missing.ABSENT:
                    unread.append(file)
                continue
            try:
                content: Content = pread(file.fd, file.size, 0)
                if len(content) == file.size:  # type: ignore[arg-type]
                    content = _pread_whole(file.fd, file.size * 2)
                    file.size = len(content) * 2
            except OSError as exc:
                content = reason(exc)
                if content is Missing.GONE:
                    return False
            if content != file.content:
                file.content = content
                file.changed = True
        return not unread or self._read_unheld(unread, descriptors)

    def _read_unheld(self, files: list[File], descriptors: Descriptors) -> bool:
        with directory(self.path) as dir_fd:
            if isinstance(dir_fd, Missing) or os.fstat(dir_fd).st_ino != self.inode:
                return False
            for file in files:
                content = file._open(dir_fd, descriptors)
                if content is Missing.GONE:
                    return False
                if content != file.content:
                    file.content = content
                    file.changed = True
        return True

    def close(self, descriptors: Descriptors) -> None:
        """Let every descriptor go."""
        for file in self.files:
            file.close(descriptors)
