"""How a command ends: its output, or one line that says what failed."""

import os
import sys


def failed(problem: object, status: int = 1) -> int:
    """Say on stderr what failed; returns the exit status."""
    print(f"cgexporter: {problem}", file=sys.stderr)
    return status


def printed(output: str) -> int:
    """Write a whole output to stdout; returns the exit status."""
    try:
        sys.stdout.write(output)
        sys.stdout.flush()
    except BrokenPipeError:  # head has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
