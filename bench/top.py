"""What share of a core `cgexporter top` takes, over real cgroups on this host.

    python3 bench/top.py [--containers 500] [--seconds 30] [--busy] [--interval 2s]

As root. Starts it on a terminal of 200 columns and 50 lines, lets it come to rest, and prints its
CPU time over the time after that.
"""

import argparse
import contextlib
import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time

from containers import containers

_REST_SECONDS = 6


def cpu_seconds(pid: int) -> float:
    """CPU time of a process so far."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def drain(terminal: int, seconds: float) -> int:
    """Read what is drawn for a time; returns how many bytes that was."""
    end, count = time.monotonic() + seconds, 0
    while (left := end - time.monotonic()) > 0:
        if select.select([terminal], [], [], left)[0]:
            count += len(os.read(terminal, 65536))
    return count


def measured(interval: str, seconds: float) -> tuple[float, int]:
    """Share of a core, and bytes drawn in each second."""
    terminal, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
    command = [sys.executable, "-m", "cgexporter", "top", "--interval", interval]
    environment = {**os.environ, "TERM": "xterm-256color"}
    environment.pop("COLUMNS", None)
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, env=environment, start_new_session=True
    )
    os.close(theirs)
    try:
        drain(terminal, _REST_SECONDS)
        before, began = cpu_seconds(process.pid), time.monotonic()
        drawn = drain(terminal, seconds)
        used, took = cpu_seconds(process.pid) - before, time.monotonic() - began
        os.write(terminal, b"q")
        with contextlib.suppress(OSError):  # EIO: nobody has the terminal open any more
            drain(terminal, 5)
        if process.wait(timeout=10):
            raise SystemExit(f"top ended with {process.returncode}")
    finally:
        process.kill()
        process.wait()
        os.close(terminal)
    return used / took, round(drawn / took)


def main() -> None:
    """Print the figures."""
    flags = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    flags.add_argument("--containers", type=int, default=500)
    flags.add_argument("--seconds", type=float, default=30)
    flags.add_argument("--interval", default="2s")
    flags.add_argument("--busy", action="store_true", help="a process in each does a little")
    mine = flags.parse_args()
    with containers(mine.containers, busy=mine.busy):
        share, drawn = measured(mine.interval, mine.seconds)
    what = "busy" if mine.busy else "idle"
    print(
        f"{mine.containers} {what} containers, every {mine.interval}: {share:.1%} of a core, "
        f"{drawn} bytes drawn per second"
    )


if __name__ == "__main__":
    main()
