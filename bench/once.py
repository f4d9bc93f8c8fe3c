"""How long `cgexporter --once` takes from a cold start, with real cgroups on this host.

    python3 bench/once.py [--containers 50] [--rounds 9]

As root. Prints wall seconds of the whole process for each format: median, least and most.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time

from containers import containers


def seconds(form: str) -> float:
    """Run it once."""
    command = [sys.executable, "-m", "cgexporter", "--once", "--format", form]
    # An installed package has its bytecode beside it.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    before = time.perf_counter()
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - before


def main() -> None:
    """Print the table."""
    flags = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    flags.add_argument("--containers", type=int, default=50)
    flags.add_argument("--rounds", type=int, default=9)
    mine = flags.parse_args()
    print(f"| {mine.containers} containers | median s | least | most |\n|---|---|---|---|")
    with containers(mine.containers):
        for form in ("table", "json", "prom"):
            seconds(form)
            took = [seconds(form) for _ in range(mine.rounds)]
            cells = (statistics.median(took), min(took), max(took))
            print(f"| {form} | {' | '.join(f'{each:.3f}' for each in cells)} |")


if __name__ == "__main__":
    main()
