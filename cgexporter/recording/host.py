"""What a command reads: this host, or a recording of one."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

from cgexporter import host, rtnetlink
from cgexporter.hierarchies import Hierarchies
from cgexporter.names.resolver import Resolver
from cgexporter.recording import Recording, RecordingError
from cgexporter.recording.replay import Replay, ReplayedLinks, ReplayedNames


@dataclass(frozen=True, slots=True)
class Host:
    """Where to read; for `exporter.Settings`.

    Attributes:
        resolver: tells the names of a recording; None where sources are asked.
    """

    cgroupfs: str
    procfs: str
    resolver: Callable[[Hierarchies], Resolver] | None = None
    replay: Replay | None = None

    def wait(self, seconds: float) -> bool:
        """Let time pass until the next scan; False where a recording has no further one."""
        if self.replay is not None:
            return self.replay.advance()
        time.sleep(seconds)
        return True

    def last(self) -> None:
        """Go on to the last scan of a recording."""
        while self.replay is not None and self.replay.advance():
            pass


@contextlib.contextmanager
def opened(recording: str | None, cgroupfs: str, procfs: str) -> Iterator[Host]:
    """Read a host for the time of a `with` block.

    Args:
        recording: a file, "-" for stdin, or None for the host itself.
        cgroupfs: where the host's /sys/fs/cgroup is.
        procfs: where its /proc is.

    Raises:
        RecordingError: there is no recording that can be read; the message says why.
    """
    if recording is None:
        yield Host(cgroupfs, procfs)
        return
    with replayed(_read(recording)) as host:
        yield host


@contextlib.contextmanager
def replayed(recording: Recording) -> Iterator[Host]:
    """Read a recording, and nothing of this host, for the time of a `with` block."""
    replay = Replay(recording)
    host.stand_in(replay, replay.clock)
    rtnetlink.stand_in(partial(ReplayedLinks, replay))
    try:
        names = partial(ReplayedNames, replay)
        yield Host(recording.cgroupfs, recording.procfs, names, replay)
    finally:
        host.stand_in(None)
        rtnetlink.stand_in(None)


def _read(name: str) -> Recording:
    from cgexporter.recording.archive import read

    what = "stdin" if name == "-" else name
    try:
        if name == "-":
            return read(sys.stdin.buffer)
        with _file(name) as file:
            return read(file)
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else exc
        raise RecordingError(f"--from {what}: {reason}") from exc
    except RecordingError as exc:
        raise RecordingError(f"--from {what} cannot be used: {exc}") from exc


def _file(name: str) -> BinaryIO:
    return open(name, "rb")
