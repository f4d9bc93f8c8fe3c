"""How a command ends: its output, or one line that says what failed."""

import io
import os
import sys


def failed(problem: object, status: int = 1) -> int:
    """Say on stderr what failed; returns the exit status."""
    from cgexporter.local.text import printable  # file names may be anybody's

    said = str(problem)
    if isinstance(problem, OSError) and problem.strerror:
        where = f"{problem.filename}: " if problem.filename else ""
        said = f"{where}{problem.strerror}"
    print(f"cgexporter: {printable(said)}", file=sys.stderr)
    return status


def printed(output: str) -> int:
    """Write a whole output to stdout; returns the exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # PYTHONIOENCODING may have no such letter
    try:
        sys.stdout.write(output)
        sys.stdout.flush()
    except OSError as exc:
        # What is still in the buffer is written at the exit, and would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0 if isinstance(exc, BrokenPipeError) else failed(exc)  # head has seen enough
    return 0
