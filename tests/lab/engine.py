"""Docker's client of this machine for the dockerd of a guest: in there each start takes seconds."""

import contextlib
import time
from collections.abc import Iterator

from tests.integration.engines import Engine
from tests.lab.machine import Guest, GuestError

# Half the time that a start takes goes into seccomp's profile, of which no cgroup has anything.
CHEAP = ("--security-opt", "seccomp=unconfined")
_PATIENCE_SECONDS = 60.0


class _SlowEngine(Engine):
    """One of a guest: with a thousandth of a CPU a container takes minutes to start."""

    patience_seconds = 400.0


@contextlib.contextmanager
def docker(guest: Guest) -> Iterator[Engine]:
    """A client of a guest's dockerd for the time of a `with` block."""
    socket = guest.home / "docker.sock"
    with guest.tunnel("-L", f"{socket}:/run/docker.sock"):
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not socket.exists():
            if time.monotonic() > deadline:
                raise GuestError("no way to its dockerd")
            time.sleep(0.1)
        try:
            yield _SlowEngine(["docker", "--host", f"unix://{socket}"], "")
        finally:
            socket.unlink()
