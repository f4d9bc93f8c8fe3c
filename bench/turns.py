"""CPU time of a scrape with this checkout and with another commit, in turns.

    python3 bench/turns.py COMMIT [--containers 400] [--rounds 15] [--busy] [FLAGS…]

As root. Each commit has a process of its own over the same cgroups, and they scrape one after
the other, so that what else the machine does hits both; the least of all rounds is what a scrape
costs undisturbed. FLAGS are cgexporter's own, known to both commits.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from containers import containers

ROOT = Path(__file__).resolve().parents[1]


def work(flags: list[str]) -> None:
    """Scrape for each line of standard input; prints the stages' milliseconds."""
    from scrape import Scrape

    scrape = Scrape(flags)
    print("ready", flush=True)
    for _ in sys.stdin:
        print(json.dumps(scrape()[2]), flush=True)
    scrape.exporter.close()


class Side:
    """One commit: a process that scrapes, with its own bench/, when it is told to."""

    def __init__(self, root: Path, flags: list[str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, root / "bench/turns.py", "--work", *flags],
            env={**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.rounds: list[list[float]] = []
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def scrape(self) -> None:
        """Scrape once."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self.rounds.append(json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def least(self) -> list[float]:
        """Of each stage the least that it took, and of the whole."""
        return [*map(min, zip(*self.rounds, strict=True)), min(map(sum, self.rounds))]


def main() -> None:
    """Print both."""
    if sys.argv[1:2] == ["--work"]:
        work(sys.argv[2:])
        return
    flags = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    flags.add_argument("commit")
    flags.add_argument("--containers", type=int, default=400)
    flags.add_argument("--rounds", type=int, default=15)
    flags.add_argument("--busy", action="store_true")
    mine, others = flags.parse_known_args()
    with tempfile.TemporaryDirectory() as before, containers(mine.containers, busy=mine.busy):
        archive = subprocess.run(
            ["git", "archive", mine.commit, "cgexporter", "bench"],
            cwd=ROOT,
            capture_output=True,
            check=True,
        )
        subprocess.run(["tar", "-x", "-C", before], input=archive.stdout, check=True)
        sides = {
            mine.commit: Side(Path(before), others),
            "now": Side(ROOT, others),
        }
        for number in range(mine.rounds):
            order = list(sides.values())
            for side in order[:: -1 if number % 2 else 1]:
                if mine.busy:
                    time.sleep(1.1)
                side.scrape()
        for side in sides.values():
            side.close()
    from scrape import STAGES

    print(f"| µs a container | {' | '.join(STAGES)} | Scrape |")
    print("|" + "---|" * (len(STAGES) + 2))
    for name, side in sides.items():
        cells = (f"{1000 * ms / mine.containers:.1f}" for ms in side.least())
        print(f"| {name} | {' | '.join(cells)} |")
    before_ms, now_ms = (side.least()[-1] for side in sides.values())
    print(f"\n{now_ms / before_ms:.3f} times")


if __name__ == "__main__":
    main()
