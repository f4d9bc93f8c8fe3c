"""How a command ends: its output, or one line that says what failed."""

import os
import sys


def failed(problem: object) -> int:
    """Say on stderr what failed, in one line; returns the exit status."""
    # Names in it may come from elsewhere: no escape sequence, no second line.
    from cgexporter.local.table import printable

    print(printable(f"cgexporter: {problem}"[:500]), file=sys.stderr)
    return 1


def printed(output: str) -> int:
    """Write a whole output to stdout; returns the exit status."""
    try:
        sys.stdout.write(output)
        sys.stdout.flush()
    except BrokenPipeError:  # head has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
