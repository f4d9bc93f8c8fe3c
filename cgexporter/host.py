"""What stands for the operating system: this host, or a recording of one.

`host.os` has the functions by which everything of a host is read: `open`, `close`, `read`,
`pread`, `stat`, `fstat`, `scandir`, `listdir`, `readlink` and `getpid`. What is of this process
itself is asked of the real `os`.
"""

import os
import os as _os
import time
from collections.abc import Callable

__all__ = ["now", "os", "stand_in"]

_clock: Callable[[], float] = time.time


def stand_in(system: object | None, clock: Callable[[], float] | None = None) -> None:
    """Read from something else than this host: a recording, or what makes one.

    Args:
        system: has the functions named above. None is the host again. The readers stay as fast
            as they were: they call what the name `os` stands for here.
        clock: what time it is, in seconds since the epoch.
    """
    globals()["os"] = _os if system is None else system
    globals()["_clock"] = clock or time.time


def now() -> float:
    """What time it is on the host that is read, in seconds since the epoch."""
    return _clock()
