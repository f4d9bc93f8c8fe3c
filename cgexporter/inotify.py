"""inotify(7) by ctypes: the kernel says which files and directories change."""

import enum
import errno
import os
import struct
from collections.abc import Iterator
from typing import NamedTuple

# include/uapi/linux/inotify.h
MODIFY = 0x0000_0002
CREATE = 0x0000_0100
DELETE = 0x0000_0200
OVERFLOW = 0x0000_4000
IGNORED = 0x0000_8000
IS_DIRECTORY = 0x4000_0000
_CLOEXEC, _NONBLOCK = os.O_CLOEXEC, os.O_NONBLOCK
_HEADER = struct.Struct("iIII")
_BUFFER_BYTES = 1 << 16


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

    def read(self) -> Iterator[Event]:
        """What happened since the last call."""
        try:
            data = os.read(self._fd, _BUFFER_BYTES)
        except BlockingIOError:
            return
        offset = 0
        while offset < len(data):
            watch, mask, _, length = _HEADER.unpack_from(data, offset)
            offset += _HEADER.size
            name = data[offset : offset + length].rstrip(b"\0")
            offset += length
            yield Event(watch, mask, os.fsdecode(name))

    def close(self) -> None:
        """End all watches."""
        os.close(self._fd)

    def _error(self, what: str) -> OSError:
        number = self._errno()
        return OSError(number, os.strerror(number), what)
