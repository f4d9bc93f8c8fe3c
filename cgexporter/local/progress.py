"""A line on stderr while a scan of many containers takes long; nothing where nobody looks."""

import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

_PATIENCE_SECONDS = 1.0
_AGAIN_SECONDS = 0.2


class Progress:
    """Says how far a scan is, for the time of a `with` block, on a terminal alone.

    Args:
        far: what has been done and how much there is to do, as far as that is known.
    """

    def __init__(self, far: Callable[[], tuple[int, int]]) -> None:
        self._far = far
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Begin to look at the clock."""
        if sys.stderr.isatty():
            self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
            self._thread.start()
        return self

    def _run(self) -> None:
        pause, said = _PATIENCE_SECONDS, False
        while not self._ended.wait(pause):
            done, total = self._far()
            sys.stderr.write(f"\rcgexporter: read {done} of {total} cgroups\x1b[K")
            sys.stderr.flush()
            pause, said = _AGAIN_SECONDS, True
        if said:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Take the line away."""
        del kind, error, traceback
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
