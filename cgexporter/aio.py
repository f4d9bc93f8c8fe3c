"""Many files read by few system calls: io_submit(2), by ctypes.

The kernel reads files of cgroupfs while it is asked (fs/aio.c, aio_read; fs/kernfs/file.c), so that
nothing is ever left under way. What is saved is the way into the kernel and back for each of
thousands of files; and no other thread of Python waits meanwhile, so that a second one may read.

Sources: io_setup(2), io_submit(2), io_getevents(2), include/uapi/linux/aio_abi.h.
"""

import contextlib
import errno
import functools
import os
import struct
from array import array
from collections.abc import Callable, Generator, Iterable, Sequence
from itertools import accumulate, compress, count
from operator import ne
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from concurrent.futures import Future

# Numbers of io_setup, io_destroy, io_submit and io_getevents: libc has no names for them.
_SYSCALLS = {"x86_64": (206, 207, 209, 208), "aarch64": (0, 1, 2, 4)}
# struct iocb: data, key, flags, IOCB_CMD_PREAD, priority, descriptor, buffer, size, offset, …
_IOCB = struct.Struct("=QIiHhIQQqQII")
# struct io_event: data, the iocb, what read() would return or -errno, nothing.
_EVENT_WORDS, _WHICH, _RESULT = 4, 1, 2
_POINTER_BYTES = 8
_AT_ONCE = 512


_layout = functools.lru_cache(1024)(struct.Struct)  # many cgroups have the same
News = Sequence[tuple[int, bytes]]
_Outcome = tuple["array[int]", bytes]


def other_than(known: Sequence[object], contents: Sequence[bytes]) -> News:
    """What differs from what is known, with its place in both."""
    return [(n, contents[n]) for n in compress(count(), map(ne, known, contents))]


class Requests:
    """Reads of some files from their start, and the buffer that they fill.

    Args:
        descriptors: of the files.
        sizes: how much to read of each at most.
        known: what is known of each.

    Attributes:
        asked: the number of the last `Batch` that they were put in.
        known: the same list; whoever takes news puts them there.
        pointers: to an iocb for each file, as io_submit takes them.
        read: the number of the `Reading` whose results there are.
    """

    __slots__ = (
        *("_buffer", "_cut", "_iocbs", "_news", "_outcome", "_taken"),
        *("asked", "known", "pointers", "read"),
    )

    def __init__(self, descriptors: Sequence[int], sizes: Sequence[int], known: list[Any]) -> None:
        self.known = known
        self._buffer = array("b", bytes(sum(sizes)))
        places = accumulate(sizes, initial=self._buffer.buffer_info()[0])
        iocbs = b"".join(
            _IOCB.pack(0, 0, 0, 0, 0, fd, place, size, 0, 0, 0, 0)
            for fd, size, place in zip(descriptors, sizes, places, strict=False)
        )
        self._iocbs = array("b", iocbs)
        first = self._iocbs.buffer_info()[0]
        self.pointers = array("q", range(first, first + len(iocbs), _IOCB.size))
        self.asked = self.read = 0
        # Cuts the buffer into what there is room for of each file. One object, as a slice for each
        # would not be: it is used where most of a CPU's cache is the kernel's.
        self._cut = _layout("".join(f"{size}s" for size in sizes)).unpack
        # By file how many bytes were read, or -errno, and the whole buffer; as it is now, and as it
        # was when news of it were taken.
        self._outcome: _Outcome | None = None
        self._taken: _Outcome | None = None
        self._news: News | OSError = ()

    def end(self, reading: int, results: "array[int]") -> None:
        """The kernel has read what was requested, in the reading of that number.

        It is compared by the thread that let the kernel write it, which has it in its CPU's cache;
        and with what the buffer held before, which lies in one piece as the files' contents do not.
        """
        outcome = results, self._buffer.tobytes()
        if outcome == self._taken:  # one of the two is enough
            self._outcome, self._news = self._taken, ()
        else:
            self._outcome, self._news = outcome, self._compared(*outcome)
        self.read = reading

    def _compared(self, lengths: "array[int]", data: bytes) -> News | OSError:
        now = self._cut(data)
        if self._taken is not None and lengths == self._taken[0]:
            changed = map(ne, now, self._cut(self._taken[1]))
            return [(n, now[n][: lengths[n]]) for n in compress(count(), changed)]
        if (worst := min(lengths)) < 0:
            return OSError(-worst, os.strerror(-worst))
        contents = [each[:length] for each, length in zip(now, lengths, strict=True)]
        return other_than(self.known, contents)

    def news(self, reading: "Reading") -> News:
        """What was read and was not known, with the file's place.

        What is as long as was asked for is not all of its file.

        Raises:
            OSError: one could not be read.
        """
        while self.read != reading.number:
            reading.go_on()
        if isinstance(self._news, OSError):
            raise self._news
        self._taken = self._outcome
        news, self._news = self._news, ()
        return news


def by_request(events: "array[int]", pointers: "array[int]") -> "array[int]":
    """Results in the order of the requests, whichever ended first."""
    if events[_WHICH::_EVENT_WORDS] == pointers:
        return events[_RESULT::_EVENT_WORDS]
    results = dict(zip(events[_WHICH::_EVENT_WORDS], events[_RESULT::_EVENT_WORDS], strict=True))
    return array("q", map(results.__getitem__, pointers))


class _Context:
    """One of the kernel's, for one thread.

    Raises:
        OSError: the kernel or a filter of system calls (seccomp) does not let us.
    """

    def __init__(self) -> None:
        import ctypes  # not for --once

        if os.uname().machine not in _SYSCALLS:
            raise OSError(errno.ENOSYS, f"io_submit is not known on {os.uname().machine}")
        libc = ctypes.CDLL(None, use_errno=True)
        setup, destroy, submit, get = _SYSCALLS[os.uname().machine]
        long, pointer = ctypes.c_long, ctypes.c_void_p
        self._errno = ctypes.get_errno
        context = ctypes.c_ulong(0)
        if libc.syscall(long(setup), long(_AT_ONCE), ctypes.byref(context)) < 0:
            raise OSError(self._errno(), os.strerror(self._errno()), "io_setup")

        def submit_some(count: int, pointers: int) -> int:
            return int(libc.syscall(long(submit), context, long(count), pointer(pointers)))

        # Keeps Python's lock: to ask for it anew costs more than what takes no time.
        at_once = ctypes.PyDLL(None, use_errno=True)

        def get_some(count: int, events: int, *, wait: bool) -> int:
            least = long(count if wait else 0)
            words = (long(get), context, least, long(count), pointer(events), pointer(None))
            return int((libc if wait else at_once).syscall(*words))

        self._submit, self._get = submit_some, get_some
        self.close: Callable[[], None] = lambda: libc.syscall(long(destroy), context)
        self._events = array("q", bytes(_AT_ONCE * _EVENT_WORDS * _POINTER_BYTES))

    def read(self, pointers: "array[int]") -> "array[int]":
        """Results of requests, in order."""
        results = array("q")
        address, left = pointers.buffer_info()
        while left:
            count = self._submit(min(left, _AT_ONCE), address)
            if count < 0:  # the first of them cannot be asked for
                results.append(-self._errno())
                count = 1
            else:
                done = len(results)
                results += by_request(self._take(count), pointers[done : done + count])
            address += count * _POINTER_BYTES
            left -= count
        return results

    def _take(self, count: int) -> "array[int]":
        address = self._events.buffer_info()[0]
        taken = max(0, self._get(count, address, wait=False))
        while taken < count:
            place = address + taken * _EVENT_WORDS * _POINTER_BYTES
            more = self._get(count - taken, place, wait=True)
            if more >= 0:
                taken += more
            elif (number := self._errno()) != errno.EINTR:
                raise OSError(number, os.strerror(number), "io_getevents")
        return self._events[: count * _EVENT_WORDS]


class Batch:
    """What to read, again and again, in chunks for one system call each.

    Args:
        requests: in the order in which news are wanted, each once.
    """

    _numbers = count(1)

    def __init__(self, requests: Iterable[Requests]) -> None:
        self.number = next(self._numbers)
        self.chunks: list[tuple[list[Requests], array[int]]] = []
        chunk: list[Requests] = []
        pointers = array("q")
        for each in requests:
            each.asked = self.number
            if len(pointers) + len(each.pointers) > _AT_ONCE and chunk:
                self.chunks.append((chunk, pointers))
                chunk, pointers = [], array("q")
            chunk.append(each)
            pointers.extend(each.pointers)
        if chunk:
            self.chunks.append((chunk, pointers))


class Reading:
    """One reading of a batch, of which some is under way while others' results are looked at."""

    _numbers = count(1)

    def __init__(self, context: _Context, batch: Batch) -> None:
        self.number = next(self._numbers)
        self.batch = batch
        self._context = context
        self._waiting = iter(batch.chunks)  # what nobody has begun to read
        self.help: Future[None] | None = None
        self._is_over = False

    def _work(self, context: _Context) -> bool:
        """Read the next chunk; False when there is none."""
        requests, pointers = next(self._waiting, ((), None))
        if pointers is None:
            return False
        try:
            results = context.read(pointers)
        except OSError as exc:  # each for itself says why
            results = array("q", [-(exc.errno or errno.EIO)] * len(pointers))
        at = 0
        for each in requests:
            end = at + len(each.pointers)
            each.end(self.number, results[at:end])
            at = end
        return True

    def work_through(self, context: _Context) -> None:
        """Read all that nobody has begun to read."""
        while self._work(context):
            pass

    def go_on(self) -> None:
        """Read a chunk, or wait for the last ones."""
        if self._work(self._context):
            return
        assert not self._is_over, "not in the batch"
        if self.help is not None:
            self.help.result()
        self._is_over = True

    def end(self) -> None:
        """Begin no other, and wait for what is under way: the kernel writes into buffers."""
        self._waiting = iter(())
        if self.help is not None:
            self.help.exception()


class Reader:
    """Reads what is requested, with a second thread where there is a second CPU.

    Args:
        fd: of a file like those that are to be read.

    Raises:
        OSError: files like it cannot be read so: a kernel before 5.11, or seccomp.
    """

    def __init__(self, fd: int) -> None:
        from concurrent.futures import ThreadPoolExecutor  # not for --once

        self._contexts = [_Context()]
        self._helper: ThreadPoolExecutor | None = None
        try:
            self._try(fd)
            if len(os.sched_getaffinity(0)) > 1:
                self._contexts.append(_Context())
                self._helper = ThreadPoolExecutor(1, thread_name_prefix="read")
        except OSError:
            self.close()
            raise

    def _try(self, fd: int) -> None:
        requests = Requests([fd], [_AT_ONCE], [None])
        with self.reading(Batch([requests])) as reading:
            requests.news(reading)

    @contextlib.contextmanager
    def reading(self, batch: Batch) -> Generator[Reading, None, None]:
        """Read for the time of a `with` block, in which `Requests.news` may be called."""
        reading = Reading(self._contexts[0], batch)
        if self._helper is not None:
            reading.help = self._helper.submit(reading.work_through, self._contexts[1])
        try:
            yield reading
        finally:
            reading.end()

    def close(self) -> None:
        """Give the kernel back what is its."""
        if self._helper is not None:
            self._helper.shutdown()
        for context in self._contexts:
            context.close()
        self._contexts.clear()
