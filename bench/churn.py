"""Memory and descriptors while containers come and go.

    python3 bench/churn.py [--minutes 10] [--rate 20] [--living 200] [FLAGS…]

Keeps `living` cgroups, replaces `rate` of them each second, scrapes each second, and prints
resident memory and descriptors of the server each half minute. FLAGS are cgexporter's own.
"""

import argparse
import hashlib
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections import deque
from pathlib import Path

from containers import PARENT, containers, make, trees


def server(flags: list[str]) -> tuple["subprocess.Popen[str]", str]:
    """Start cgexporter on a free port; returns it and the address of its metrics."""
    process = subprocess.Popen(
        [sys.executable, "-m", "cgexporter", "--web.listen-address", "127.0.0.1:0", *flags],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if match := re.search(r"listening on (127\.0\.0\.1:\d+)", line):
            return process, f"http://{match[1]}/metrics"
    raise SystemExit("the server did not start")


def resident_kib(pid: int) -> int:
    """Resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def main() -> None:
    """Run and print."""
    flags = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    flags.add_argument("--minutes", type=float, default=10)
    flags.add_argument("--rate", type=int, default=20)
    flags.add_argument("--living", type=int, default=200)
    mine, others = flags.parse_known_args()
    living: deque[str] = deque()
    with containers(0):
        process, url = server(others)
        print("| Minute | Resident MiB | Descriptors | Made so far |\n|---|---|---|---|")
        begin, made = time.monotonic(), 0
        try:
            for second in range(int(mine.minutes * 60)):
                for _ in range(mine.living if second == 0 else mine.rate):
                    path = f"{PARENT}/{hashlib.sha256(f'churn {made}'.encode()).hexdigest()}"
                    for tree in trees():
                        make(tree, path)
                    living.append(path)
                    made += 1
                while len(living) > mine.living:
                    path = living.popleft()
                    for tree in trees():
                        os.rmdir(tree + path)
                with urllib.request.urlopen(url) as response:
                    assert response.status == 200
                    response.read()
                if second % 30 == 29 or second == 4:
                    held = len(os.listdir(f"/proc/{process.pid}/fd"))
                    mib = resident_kib(process.pid) / 1024
                    print(
                        f"| {(second + 1) / 60:.1f} | {mib:.1f} | {held:,} | {made:,} |", flush=True
                    )
                time.sleep(max(0, begin + second + 1 - time.monotonic()))
        finally:
            process.terminate()
            process.wait()
            for path in living:
                for tree in trees():
                    os.rmdir(tree + path)


if __name__ == "__main__":
    main()
