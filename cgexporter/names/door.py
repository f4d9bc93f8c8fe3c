"""The only door to files of runtimes: bounded, below one root, through no symbolic link.

Links, logs and state lie where others may write: a pod's logs, a user's runtime directory. A
path is walked one name after the other from the root's descriptor, none of them a link, and only
regular files are read. No descriptor is kept: one held below a runtime's mounts would make its
unmount fail with EBUSY.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from cgexporter.kernel import Missing
from cgexporter.names.bolt import Bucket, look
from cgexporter.names.pick import Picked, Shape, pick
from cgexporter.parse.formats import ParseError

T = TypeVar("T")
_WALK = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_MAX_NAMES = 20_000
_MAX_PROBLEMS = 1000
_MAX_BYTES = 4 << 20
_IS_LINK = "a symbolic link or no directory on the way; give its target by --identity.state-root"
_GONE = (errno.ENOENT, errno.ESRCH, errno.ESTALE)
_REFUSED = (errno.ELOOP, errno.ENOTDIR, errno.EMLINK)


@dataclass(slots=True)
class Door:
    """Opens files of runtimes below `root`.

    Attributes:
        root: the host's root, "/" or where it is mounted.
        problems: what went wrong since it was last looked at, by path: why, and what to do.
        denied: directories and files that may not be read.
    """

    root: str = "/"
    problems: dict[str, str] = field(default_factory=dict)
    denied: set[str] = field(default_factory=set)

    @contextlib.contextmanager
    def _at(self, path: str, flags: int = _WALK) -> Iterator[int | Missing]:
        """Open a directory of the host; "/" is the root itself."""
        try:
            fd = self._walk(path, flags)
        except OSError as exc:
            yield self._reason(exc, path)
            return
        try:
            yield fd
        finally:
            os.close(fd)

    def _walk(self, path: str, flags: int) -> int:
        names = [name for name in path.split("/") if name not in ("", ".")]
        if ".." in names:
            raise OSError(errno.ELOOP, "refused", path)
        fd = os.open(self.root, (flags if not names else _WALK) & ~os.O_NOFOLLOW)
        for number, name in enumerate(names, 1):
            try:
                below = os.open(name, flags if number == len(names) else _WALK, dir_fd=fd)
            finally:
                os.close(fd)
            fd = below
        return fd

    def _reason(self, exc: OSError, path: str) -> Missing:
        if exc.errno in _GONE or exc.errno == errno.ENAMETOOLONG:
            return Missing.ABSENT
        if exc.errno in (errno.EACCES, errno.EPERM):
            if len(self.denied) < _MAX_PROBLEMS:
                self.denied.add(path)
            return Missing.DENIED
        if exc.errno in _REFUSED:
            self.problem(path, _IS_LINK)
            return Missing.UNSUPPORTED
        self.problem(path, exc.strerror or str(exc))
        return Missing.UNSUPPORTED

    def problem(self, path: str, why: str) -> None:
        """Note what went wrong with a file."""
        if len(self.problems) < _MAX_PROBLEMS:
            self.problems[path] = why

    def names(self, path: str) -> list[str] | Missing:
        """Names in a directory, at most 20,000; ABSENT, DENIED, or UNSUPPORTED for a link."""
        with self._at(path, _LIST) as fd:
            if isinstance(fd, Missing):
                return fd
            try:
                names = os.listdir(fd)
            except OSError as exc:
                return self._reason(exc, path)
        if len(names) > _MAX_NAMES:
            self.problem(path, f"more than {_MAX_NAMES} names: the others are not looked at")
        return names[:_MAX_NAMES]

    def listed(self, path: str) -> frozenset[str]:
        """Names in a directory; none where it cannot be listed."""
        names = self.names(path)
        return frozenset() if isinstance(names, Missing) else frozenset(names)

    def link(self, directory: str, name: str) -> str | None:
        """Where a link points; it is not followed. None where there is none."""
        with self._at(directory) as fd:
            if isinstance(fd, Missing):
                return None
            try:
                return os.readlink(name, dir_fd=fd)
            except OSError:
                return None  # not a link, gone, or not readable: the name alone has to do

    def owner(self, path: str) -> int | Missing:
        """UID of a directory's owner."""
        with self._at(path) as fd:
            return fd if isinstance(fd, Missing) else os.fstat(fd).st_uid

    def stamp(self, path: str) -> tuple[int, int, int] | Missing:
        """What changes when a file or directory is written: inode, size, time."""
        directory, _, name = path.rpartition("/")
        with self._at(directory) as fd:
            if isinstance(fd, Missing):
                return fd
            try:
                found = os.stat(name, dir_fd=fd, follow_symlinks=False)
            except OSError as exc:
                return self._reason(exc, path)
        return found.st_ino, found.st_size, found.st_mtime_ns

    @contextlib.contextmanager
    def read(self, path: str, max_bytes: int) -> Iterator[bytearray | Missing]:
        """A regular file's content for the time of a `with` block; zeroed at its end.

        It is read into one buffer of its size, so that no copy of it is left in memory.
        """
        with self.opened(path) as fd:
            content = fd if isinstance(fd, Missing) else self._content(fd, path, max_bytes)
        try:
            yield content
        finally:
            if isinstance(content, bytearray):
                wipe(content)

    def _content(self, fd: int, path: str, max_bytes: int) -> bytearray | Missing:
        try:
            size = os.fstat(fd).st_size
            if size > max_bytes:
                self.problem(path, f"not a regular file of at most {max_bytes} bytes")
                return Missing.UNSUPPORTED
            return _read(fd, size)
        except OSError as exc:
            return self._reason(exc, path)

    @contextlib.contextmanager
    def opened(self, path: str) -> Iterator[int | Missing]:
        """Open a regular file for the time of a `with` block."""
        directory, _, name = path.rpartition("/")
        with self._at(directory) as dir_fd:
            fd = dir_fd if isinstance(dir_fd, Missing) else self._open(dir_fd, name, path)
        try:
            yield fd
        finally:
            if not isinstance(fd, Missing):
                os.close(fd)

    def _open(self, dir_fd: int, name: str, path: str) -> int | Missing:
        try:
            # Opening a device or FIFO may do something, so look before.
            if not stat.S_ISREG(os.stat(name, dir_fd=dir_fd, follow_symlinks=False).st_mode):
                self.problem(path, "not a regular file")
                return Missing.UNSUPPORTED
            fd = os.open(name, _READ, dir_fd=dir_fd)
        except OSError as exc:
            return self._reason(exc, path)
        if stat.S_ISREG(os.fstat(fd).st_mode):
            return fd
        os.close(fd)
        self.problem(path, "not a regular file")
        return Missing.UNSUPPORTED

    def pick(self, path: str, shape: Shape, max_bytes: int = _MAX_BYTES) -> Picked:
        """What a shape picks of a JSON file; None where there is none or it has no such form."""
        with self.read(path, max_bytes) as data:
            if isinstance(data, Missing):
                return None
            try:
                return pick(data, shape)
            except ParseError as exc:
                self.problem(path, str(exc))
                return None

    def bolt(self, path: str, visit: Callable[[Bucket], T]) -> T | None:
        """What `visit` returns of a bolt database; None where there is none or it is damaged."""
        with self.opened(path) as fd:
            if isinstance(fd, Missing):
                return None
            try:
                return look(lambda offset, size: _read(fd, size, offset), visit)
            except (ParseError, OSError) as exc:
                self.problem(path, str(exc))
                return None


def _read(fd: int, size: int, offset: int = 0) -> bytearray:
    """Read up to `size` bytes; what is appended meanwhile is left for the next time."""
    buffer = bytearray(size)
    filled = 0
    with memoryview(buffer) as view:
        while filled < size and (count := os.preadv(fd, [view[filled:]], offset + filled)):
            filled += count
    if filled == size:
        return buffer
    # Cutting it may move it, and leave a copy.
    with memoryview(buffer) as view:
        whole = bytearray(view[:filled])
    wipe(buffer)
    return whole


def wipe(buffer: bytearray) -> None:
    """Overwrite a buffer in place."""
    buffer[:] = bytes(len(buffer))
