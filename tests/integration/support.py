"""What every integration test needs: skips that name what is missing, and patience."""

import os
import shutil
import time
from collections.abc import Callable
from typing import NoReturn, TypeVar

import pytest

T = TypeVar("T")

# Nothing here asserts how fast something is; this only ends a test that waits in vain.
PATIENCE_SECONDS = 60.0


def missing(reason: str) -> NoReturn:
    """Skip the test, for this machine lacks something; in CI, which must not lack it, fail."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must have it: {reason}")
    pytest.skip(reason)


def program(name: str, package: str) -> str:
    """Find an installed program."""
    found = shutil.which(name)
    if found is None:
        missing(f"{name} is not installed (Debian package {package})")
    return found


def need_root() -> None:
    """Go on only as root."""
    if os.geteuid() != 0:
        missing("these tests do not run as root, who may make cgroups")


def eventually(probe: Callable[[], T | None], what: str) -> T:
    """Ask again and again until there is an answer.

    Args:
        probe: gives None, False or an empty list while there is none.
        what: is waited for; the failure says so.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        answer = probe()
        if answer:
            return answer
        time.sleep(0.02)
    pytest.fail(f"waited {PATIENCE_SECONDS:.0f} s in vain: {what}")
