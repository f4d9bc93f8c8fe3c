"""How a command ends: its output, or one line that says what failed."""

import os
import sys


def failed(problem: object) -> int:
    """Say on stderr what failed; returns the exit status."""
    from cgexporter.local.text import printable  # file names may be anybody's

    print(f"cgexporter: {printable(str(problem))}", file=sys.stderr)
    return 1


def printed(output: str) -> int:
    """Write a whole output to stdout; returns the exit status."""
    try:
        sys.stdout.write(output)
        sys.stdout.flush()
    except BrokenPipeError:  # head has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
