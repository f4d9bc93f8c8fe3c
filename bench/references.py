"""The C programs that a scan is measured against, as processes that wait for their turn."""

import subprocess
import tempfile
from collections.abc import Sequence

from containers import compiled

# RLIMIT_NOFILE may allow no more in one process.
_AT_ONCE = 10_000


class Reference:
    """One reference over a list of files; see reference.c.

    Args:
        name: ``cat`` or ``floor``.
        files: what it reads.
    """

    def __init__(self, name: str, files: Sequence[str]) -> None:
        self._processes = [
            self._start(name, files[start : start + _AT_ONCE])
            for start in range(0, len(files), _AT_ONCE)
        ]

    def _start(self, name: str, files: Sequence[str]) -> "subprocess.Popen[str]":
        with tempfile.NamedTemporaryFile("w") as paths:
            paths.write("\n".join(files) + "\n")
            paths.flush()
            process = subprocess.Popen(
                [compiled("reference"), name, paths.name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            # Its first pass warms it up, as scrapes before the first that counts do for us.
            _pass(process)
        return process

    def milliseconds(self) -> float:
        """CPU time of one pass over all the files."""
        return sum(_pass(process) for process in self._processes) / 1000

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.communicate()


def _pass(process: "subprocess.Popen[str]") -> int:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return int(process.stdout.readline())
