"""Metrics as a file for node_exporter's textfile collector."""

import contextlib
import logging
import os
import signal
import tempfile
import threading
from collections.abc import Iterator

from cgexporter.exporter import Exporter
from cgexporter.own import textfile

log = logging.getLogger(__name__)


def write(path: str, content: bytes) -> None:
    """Replace a file in one step: readers see the old one or the new one, whole.

    The new one is made beside it under a name that does not end in ``.prom``, for the collector
    reads all that do.

    Raises:
        OSError: it cannot be written; the old one stays.
    """
    directory, name = os.path.split(os.path.abspath(path))
    fd, new = tempfile.mkstemp(prefix=f".{name}.", suffix=".tmp", dir=directory)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(fd, 0o644)  # node_exporter is another user
            os.fsync(fd)
        os.replace(new, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(new)
        raise
    _sync_directory(directory)


def _sync_directory(directory: str) -> None:
    """Make the new name outlive a power cut."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextlib.contextmanager
def _stopping() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set, so that no write is cut off."""
    stop = threading.Event()
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, lambda *_: stop.set()) for number in numbers]
    try:
        yield stop
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def run(exporter: Exporter, path: str, interval: float | None) -> None:
    """Write the file once, or each `interval` seconds until SIGTERM or SIGINT.

    Raises:
        OSError: the first write failed; later ones are logged, and the old file stays.
    """
    with _stopping() as stop:
        if interval is not None:
            exporter.watch()
        first = True
        while not stop.is_set():
            try:
                view = exporter.name(exporter.look())
                write(path, textfile(exporter, view))
            except OSError as exc:
                if first:
                    raise
                log.error("cannot write %s: %s", path, exc.strerror or exc)  # noqa: TRY400
            if interval is None:
                break
            if first:
                log.info("writing %s each %g s", path, interval)
            first = False
            stop.wait(interval)
