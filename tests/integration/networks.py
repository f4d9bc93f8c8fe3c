"""Work in the network namespaces of containers."""

import ctypes
import os
import subprocess
import threading
from collections.abc import Callable

from tests.integration.support import program


def inside(pid: int, *command: str) -> str:
    """Run a command in the network namespace of a process."""
    done = subprocess.run(
        [program("nsenter", "util-linux"), "--target", str(pid), "--net", *command],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def in_network(pid: int, work: Callable[[], None]) -> threading.Thread:
    """Run something in a thread that has joined the network namespace of a process."""

    def run() -> None:
        fd = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
        try:
            _setns(fd)
        finally:
            os.close(fd)
        work()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def _setns(fd: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    clone_newnet = 0x40000000
    assert libc.setns(fd, clone_newnet) == 0, os.strerror(ctypes.get_errno())
