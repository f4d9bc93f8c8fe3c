"""CPU time and size of a compressed page, by library and level.

    python3 bench/compression.py [--containers 1000] [--rounds 9]

As root: the page is that of real cgroups. Medians of the rounds, each library once in each.
"""

import argparse
import statistics
import time
import zlib

from containers import containers
from isal import isal_zlib
from scrape import Scrape

LIBRARIES = ((zlib, 1), (zlib, 6), (isal_zlib, 1))


def main() -> None:
    """Print the table."""
    flags = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    flags.add_argument("--containers", type=int, default=1000)
    flags.add_argument("--rounds", type=int, default=9)
    mine = flags.parse_args()
    with containers(mine.containers, busy=False):
        scrape = Scrape([])
        page = scrape()[0]
        scrape.exporter.close()
    took: dict[object, list[float]] = {library: [] for library in LIBRARIES}
    sizes = {}
    checked: dict[object, list[float]] = {module: [] for module, _ in LIBRARIES}
    for _ in range(mine.rounds):
        for module, level in LIBRARIES:
            before = time.process_time()
            sizes[module, level] = len(module.compress(page, level))
            took[module, level].append(time.process_time() - before)
            before = time.process_time()
            module.crc32(page)
            checked[module].append(time.process_time() - before)
    reference = statistics.median(took[LIBRARIES[0]])
    print(f"{mine.containers:,} containers, {len(page) / 1000:,.0f} kB\n")
    print("| Library | ms | by the first | kB | Checksum ms |\n|---|---|---|---|---|")
    for module, level in LIBRARIES:
        taken = statistics.median(took[module, level])
        print(
            f"| {module.__name__.rpartition('.')[2]}, level {level} | {taken * 1000:.1f} "
            f"| {taken / reference:.2f} | {sizes[module, level] / 1000:,.0f} "
            f"| {statistics.median(checked[module]) * 1000:.2f} |"
        )


if __name__ == "__main__":
    main()
