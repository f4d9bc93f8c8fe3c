"""The door to kernel files: opens them, turns errnos into reasons.

But for what reads again and again (`files`, `walker`) nothing else in the package opens a file of
cgroupfs or procfs. Sources: cgroup-v2.rst, proc(5).
"""

import contextlib
import enum
import errno
import itertools
import os
import re
import stat
from collections.abc import Generator, Iterator, Sequence

from cgexporter import host

READ_FLAGS = os.O_RDONLY | os.O_CLOEXEC
_DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_HUGE_PAGES = re.compile(r"hugetlb\.(\w+)\.(?:current|usage_in_bytes)")
_CGROUPS_FOR_SIZES = 8
# A read of a seq_file ends where its page is full: less than a half is all there is, for no
# record below /proc/PID/net is that long (fs/seq_file.c, seq_read_iter).
_HALF_PAGE = 2048


# A directory that was removed, or may not be looked into.
VANISHED = frozenset({errno.ENOENT, errno.ENODEV, errno.EACCES, errno.EPERM})


_BUFFER_BYTES = 65536
# Files of /proc/PID that are one record each (fs/proc/base.c, ONE and single_open).
_RECORDS = frozenset({"cgroup", "oom_score_adj", "stat", "status"})


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


def own_pid() -> int:
    """The PID of this process, or of the one that made the recording."""
    return host.os.getpid()


def read_to_end(fd: int) -> bytes:
    """Read a list of many records (cgroup.procs): the kernel ends a read() between two."""
    chunks = []
    while chunk := host.os.read(fd, _BUFFER_BYTES):
        chunks.append(chunk)
    return b"".join(chunks)


def _read_record(fd: int) -> bytes:
    """Read a file of one record, of which one read() gives all that it has room for."""
    data: bytes = host.os.read(fd, _BUFFER_BYTES)
    return data if len(data) < _BUFFER_BYTES else data + read_to_end(fd)


def is_directory(path: str) -> bool:
    """Whether there is such a directory."""
    try:
        return stat.S_ISDIR(host.os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def exists(path: str) -> bool:
    """Whether there is such a file or directory."""
    try:
        host.os.stat(path)
    except (OSError, ValueError):
        return False
    return True


def there_is(dir_fd: int, name: str) -> bool:
    """Whether an open directory has such a file."""
    try:
        host.os.stat(name, dir_fd=dir_fd)
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
        fd = host.os.open(path, _DIRECTORY_FLAGS)
    except (FileNotFoundError, NotADirectoryError):
        yield Missing.GONE
        return
    except OSError as exc:
        yield reason(exc)
        return
    try:
        yield fd
    finally:
        host.os.close(fd)


@contextlib.contextmanager
def opened(path: str) -> Iterator[int]:
    """Open a file for the time of a `with` block.

    Raises:
        OSError: it cannot be opened.
    """
    fd = host.os.open(path, READ_FLAGS)
    try:
        yield fd
    finally:
        host.os.close(fd)


def read_file(dir_fd: int, name: str, alive: str = "cgroup.procs") -> Content:
    """Read one whole file of an open cgroup (or, with alive="stat", /proc/PID) directory.

    ENOENT alone is ambiguous: `alive`, a file each such directory has, tells an absent
    file from a removed directory. Any other OSError propagates.
    """
    try:
        fd = host.os.open(name, READ_FLAGS, dir_fd=dir_fd)
        try:
            return _read_record(fd) if name in _RECORDS else read_to_end(fd)
        finally:
            host.os.close(fd)
    except OSError as exc:
        if exc.errno == errno.ENOENT:
            there = name != alive and there_is(dir_fd, alive)
            return Missing.ABSENT if there else Missing.GONE
        return reason(exc)


def read_path(path: str) -> Content:
    """Read a whole file that belongs to no cgroup or process, such as /proc/partitions."""
    try:
        with opened(path) as fd:
            return read_to_end(fd)
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
        oom_control = host.os.open(f"{directory_path}/memory.oom_control", READ_FLAGS)
        try:
            flags = os.O_WRONLY | os.O_CLOEXEC
            control = host.os.open(f"{directory_path}/cgroup.event_control", flags)
            try:
                os.write(control, f"{eventfd} {oom_control}".encode())
            finally:
                host.os.close(control)
        finally:
            host.os.close(oom_control)
    except OSError as exc:
        host.os.close(eventfd)
        refused = (errno.EROFS, errno.EINVAL, errno.ENOENT, errno.ENOTDIR)
        if exc.errno not in refused:
            reason(exc)
        return -1
    return eventfd


def read_link(dir_fd: int, name: str) -> str | Missing:
    """Read a symbolic link of /proc/PID (its namespaces); needs ptrace access to it."""
    try:
        return host.os.readlink(name, dir_fd=dir_fd)
    except (FileNotFoundError, ProcessLookupError):
        return Missing.ABSENT if there_is(dir_fd, "stat") else Missing.GONE
    except OSError as exc:
        return reason(exc)


def read_links(dir_fd: int, names: Sequence[str]) -> Sequence[str] | None:
    """Read symbolic links as `read_link` does; None where one of them cannot be read."""
    readlink = host.os.readlink
    try:
        return [readlink(name, dir_fd=dir_fd) for name in names]
    except OSError:
        return None


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
        fd = host.os.open(name, READ_FLAGS, dir_fd=dir_fd)
        try:
            data = host.os.read(fd, _BUFFER_BYTES)
            if len(data) >= _HALF_PAGE:
                data += read_to_end(fd)
            return host.os.fstat(fd).st_ino, data
        finally:
            host.os.close(fd)
    except FileNotFoundError:
        return 0, Missing.ABSENT if there_is(dir_fd, "stat") else Missing.GONE
    except OSError as exc:
        return 0, reason(exc)


def inode_below(dir_fd: int, name: str) -> int | Missing:
    """Inode of a file of /proc/PID; a zombie has no ``net``, nor has a captured tree."""
    try:
        return host.os.stat(name, dir_fd=dir_fd).st_ino
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
    with host.os.scandir(procfs) as entries:
        for entry in entries:
            if entry.name.isascii() and entry.name.isdecimal():
                yield int(entry.name), entry.inode()


def open_links(dir_fd: int) -> list[str] | Missing:
    """What the descriptors of a process stand for, of those that may be read.

    Source: proc_pid_fd(5); needs ptrace access to it.
    """
    links = []
    try:
        fds = host.os.open("fd", _DIRECTORY_FLAGS, dir_fd=dir_fd)
        try:
            for name in host.os.listdir(fds):
                with contextlib.suppress(FileNotFoundError):  # closed since it was listed
                    links.append(host.os.readlink(name, dir_fd=fds))
        finally:
            host.os.close(fds)
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
        return host.os.readlink(f"{procfs}/self") != str(host.os.getpid())
    except OSError:
        return False


def open_process(procfs: str, pid: int) -> int | Missing:
    """Open /proc/PID to hold it: the descriptor stands for the process, not for its number."""
    try:
        return host.os.open(f"{procfs}/{pid}", _DIRECTORY_FLAGS)
    except (FileNotFoundError, NotADirectoryError):
        return Missing.GONE
    except OSError as exc:
        return reason(exc)


def close(fd: int) -> None:
    """Close what `open_process` or `open_namespace` opened."""
    host.os.close(fd)


def open_namespace(dir_fd: int, kind: str) -> int | Missing:
    """Open a namespace of a process; needs ptrace access to it."""
    try:
        return host.os.open(f"ns/{kind}", READ_FLAGS, dir_fd=dir_fd)
    except FileNotFoundError:
        return Missing.GONE
    except OSError as exc:
        return reason(exc)


def status(path: str) -> os.stat_result | Missing:
    """What a file or directory is, following links: its inode, and the UID of its owner."""
    try:
        return host.os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return Missing.ABSENT
    except OSError as exc:
        return reason(exc)


def huge_page_sizes(tree: str) -> set[str]:
    """The sizes that name the files of the hugetlb controller, such as 2MB.

    The root has none of them on v2. Its children have the controller all or none.
    """
    try:
        with host.os.scandir(tree) as entries:
            children = (entry.path for entry in entries if entry.is_dir(follow_symlinks=False))
            places = [tree, *itertools.islice(children, _CGROUPS_FOR_SIZES)]
        names = [name for place in places for name in host.os.listdir(place)]
    except OSError as exc:
        if exc.errno not in VANISHED:
            raise
        return set()
    return {match[1] for name in names if (match := _HUGE_PAGES.fullmatch(name))}


def device(path: str) -> tuple[str, str] | None:
    """What a device file is: "b" or "c", and its MAJOR:MINOR; None where it is none or hidden."""
    try:
        status = host.os.stat(path)
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
        return host.os.stat(path).st_mtime
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
    return os.stat("/proc/self/fd").st_size


def directories(path: str) -> list[str]:
    """Full paths of the directories in a directory, in order."""
    with host.os.scandir(path) as entries:
        return sorted(entry.path for entry in entries if entry.is_dir(follow_symlinks=False))
