"""How much slower a scrape is that holds no file, than one that holds all.

    python3 bench/unheld.py [--containers 500] [--rounds 15] [FLAGS…]

Two exporters in one process scrape the same containers in turns (as root: it makes real cgroups),
idle and busy ones; the table has the medians of the rounds. FLAGS are cgexporter's own, for both.
"""

import argparse
import statistics
import time

from containers import containers
from scrape import Scrape


def timed(scrape: Scrape) -> tuple[float, float]:
    """Milliseconds of one scrape: until its answer, and of CPU in all."""
    before = time.perf_counter()
    marks = scrape()[2]
    return (time.perf_counter() - before) * 1000 - marks[-1], sum(marks)


def main() -> None:
    """Print the table."""
    flags = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    flags.add_argument("--containers", type=int, default=500)
    flags.add_argument("--rounds", type=int, default=15)
    mine, others = flags.parse_known_args()
    print("| Containers, ms | held | not held | slower | CPU held | CPU not held | more |")
    print("|---|---|---|---|---|---|---|")
    for busy in (False, True):
        with containers(mine.containers, busy=busy):
            both = Scrape(others), Scrape([*others, "--scan.max-open-files=0"])
            rounds = []
            for number in range(mine.rounds):
                found = {}
                for scrape in both if number % 2 else both[::-1]:
                    if busy:
                        time.sleep(1.1)
                    found[scrape] = timed(scrape)
                rounds.append([found[scrape] for scrape in both])
            assert both[1].exporter.open_files == 0 < both[0].exporter.open_files
            for scrape in both:
                scrape.exporter.close()
        cells = [f"{mine.containers} {'busy' if busy else 'idle'}"]
        for kind in (0, 1):
            held, unheld = ([found[which][kind] for found in rounds] for which in (0, 1))
            ratios = [b / a for a, b in zip(held, unheld, strict=True)]
            cells += [f"{statistics.median(held):.1f}", f"{statistics.median(unheld):.1f}"]
            cells.append(f"{statistics.median(ratios):.2f}")
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
