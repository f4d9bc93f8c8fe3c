"""CPU time of a whole scrape, stage by stage, against the two references over the same files.

    python3 bench/scrape.py [--counts 100 500 1000] [--rounds 9] [--busy] [--coming] [FLAGS…]

Makes real cgroups on this host (as root). Each round runs the references and a scrape one
after the other, in another order each time, so that noise hits all; the table has the medians of
the rounds. Busy containers have a second to do something before each of the three: the kernel
sums up what a cgroup did when it is read first. With --coming one more container comes or goes
before each scrape. *after* is what is put off until a scrape has its answer. FLAGS are cgexporter's
own, such as --no-collector.io or --scan.max-open-files=0.
"""

import argparse
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from containers import PARENT, containers, make, trees
from references import Reference

from cgexporter import cli, server
from cgexporter.exporter import Exporter
from cgexporter.kernel import memory_pages
from cgexporter.metrics import COLLECTORS
from cgexporter.own import parts
from cgexporter.publish import Format
from cgexporter.web.gzip import Gzip

STAGES = ("walk", "read", "correlate", "render", "gzip", "after")
WARM_UP = 70  # files and processes are looked at again in the first scans, and then each 64th time


def cpu_ms() -> float:
    """CPU time of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return (usage.ru_utime + usage.ru_stime) * 1000


def slab_kib() -> int:
    """Kernel memory of the machine in objects, where held descriptors are."""
    with open("/proc/meminfo") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Slab:"))


@dataclass(slots=True)
class Result:
    """Medians over the rounds of one run."""

    count: int
    kind: str
    files: int
    held: int
    stages_ms: list[float]
    cat_ms: float
    floor_ms: float
    by_cat: float
    by_floor: float
    samples: int
    size: int
    compressed: int
    resident_mib: float
    kernel_mib: float

    @property
    def total_ms(self) -> float:
        """The whole scrape."""
        return sum(self.stages_ms)


class Visitor:
    """One container more, which comes or goes each time it is called."""

    def __init__(self) -> None:
        self._made: list[Path] = []

    def __call__(self) -> None:
        """Come where it is not, and go where it is."""
        if self._made:
            self.close()
        else:
            for tree in trees():
                make(tree, f"{PARENT}/{'f' * 64}")
                self._made.append(Path(f"{tree}{PARENT}/{'f' * 64}"))

    def close(self) -> None:
        """Go."""
        while self._made:
            self._made.pop().rmdir()


def measure(
    count: int, rounds: int, *, busy: bool, coming: bool = False, flags: Sequence[str]
) -> Result:
    """Measure one number of containers."""
    with containers(count, busy=busy) as paths, closing(Visitor()) as visitor:
        mine, slab = set(paths), slab_kib()
        scrape = Scrape(flags)
        exporter = scrape.exporter
        kernel_mib = (slab_kib() - slab) / 1024
        files = [file for path, file in exporter.scanner.files() if path in mine]
        with closing(Reference("cat", files)) as cat, closing(Reference("floor", files)) as floor:
            before = visitor if coming else lambda: None
            timed = [_round(scrape, cat, floor, number, busy, before) for number in range(rounds)]
        text, compressed, _ = scrape()
        held = exporter.open_files
        if exporter.scanner.descriptors.limit == held > 0:
            print(
                f"{count} containers: {held} descriptors are held and no more may be; the others' "
                "files are opened in each scan. More takes a hard RLIMIT_NOFILE above "
                "--scan.max-open-files (ulimit -Hn) on this machine.",
                file=sys.stderr,
            )
        exporter.close()
    medians = [
        [statistics.median(column) for column in zip(*rows, strict=True)]
        for rows in zip(*timed, strict=True)
    ]
    stages_ms, (cat_ms, floor_ms), (by_cat, by_floor) = medians
    return Result(
        count,
        f"{'busy' if busy else 'idle'}{', one comes or goes' if coming else ''}",
        len(files),
        held,
        stages_ms,
        cat_ms,
        floor_ms,
        by_cat,
        by_floor,
        sum(not line.startswith(b"#") for line in text.splitlines()),
        len(text),
        len(compressed),
        memory_pages()[1] * resource.getpagesize() / (1 << 20),
        kernel_mib,
    )


def _round(
    scrape: "Scrape",
    cat: Reference,
    floor: Reference,
    number: int,
    busy: bool,
    before: Callable[[], None],
) -> tuple[list[float], tuple[float, float], tuple[float, float]]:
    """Each stage of one scrape, the references, and the scrape as a ratio to each; in ms."""
    marks: list[float] = []
    references = dict.fromkeys((cat, floor), 0.0)
    turns = [cat, floor, None]
    for turn in turns[number % 3 :] + turns[: number % 3]:
        if busy:
            time.sleep(1.1)
        if turn is None:
            before()
            marks = scrape()[2]
        else:
            references[turn] = turn.milliseconds()
    whole = sum(marks)
    return (
        marks,
        (references[cat], references[floor]),
        (whole / references[cat], whole / references[floor]),
    )


class Scrape:
    """Scrapes this host as the server does, but for the sockets.

    Args:
        flags: cgexporter's own.
    """

    def __init__(self, flags: Sequence[str]) -> None:
        server.collect_seldom()
        self.exporter = Exporter(cli.settings(cli.parser().parse_args(flags)))
        self.exporter.watch()
        self._gzip = Gzip()
        for _ in range(WARM_UP):
            self()

    def __call__(self) -> tuple[bytes, bytes, list[float]]:
        """One scrape; returns the page, compressed too, and the CPU time of each stage in ms."""
        marks = [cpu_ms()]
        found = self.exporter.scanner.find()
        marks.append(cpu_ms())
        snapshot = self.exporter.scanner.read(found)
        marks.append(cpu_ms())
        view = self.exporter.correlate(snapshot)
        marks.append(cpu_ms())
        page = parts(self.exporter, view, Format.TEXT)
        marks.append(cpu_ms())
        compressed = self._gzip.compress(page)
        marks.append(cpu_ms())
        self.exporter.catch_up()
        marks.append(cpu_ms())
        return b"".join(page), compressed, [b - a for a, b in pairwise(marks)]


HEADER = (
    f"| Containers | Files each | Held | {' | '.join(STAGES)} | Scrape | µs each "
    "| by *cat* | by *floor* | Samples | Page kB | gzip kB | Resident MiB | Kernel MiB |"
)


def row(result: Result) -> str:
    """One line of the table; times in ms of CPU."""
    cells = [
        f"{result.count:,} {result.kind}",
        f"{result.files / result.count:.0f}",
        f"{result.held:,}",
        *(f"{ms:.1f}" for ms in result.stages_ms),
        f"{result.total_ms:.1f}",
        f"{1000 * result.total_ms / result.count:.0f}",
        f"{result.by_cat:.2f}",
        f"{result.by_floor:.2f}",
        f"{result.samples:,}",
        f"{result.size / 1000:,.0f}",
        f"{result.compressed / 1000:,.0f}",
        f"{result.resident_mib:.0f}",
        f"{result.kernel_mib:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def growth(few: Result, many: Result) -> str:
    """What a container costs among many, against what one costs among few."""
    ratio = many.total_ms / many.count / (few.total_ms / few.count)
    return (
        f"A container costs {ratio:.2f} times as much among {many.count:,} as among {few.count:,}."
    )


def main() -> None:
    """Print the table."""
    flags = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    flags.add_argument("--counts", type=int, nargs="+", default=[100, 500, 1000])
    flags.add_argument("--rounds", type=int, default=9)
    flags.add_argument("--busy", action="store_true", help="only busy containers")
    flags.add_argument("--idle", action="store_true", help="only idle containers")
    flags.add_argument(
        "--coming", action="store_true", help="one more comes or goes before each scrape"
    )
    flags.add_argument(
        "--every-collector", action="store_true", help="also those that are off by default"
    )
    mine, others = flags.parse_known_args()
    if mine.every_collector:
        others += [f"--collector.{name}" for name in COLLECTORS]
    print(HEADER)
    print("|" + "---|" * (HEADER.count("|") - 1))
    for busy in (False, True):
        if (busy and mine.idle) or (not busy and mine.busy):
            continue
        results = []
        for count in mine.counts:
            results.append(measure(count, mine.rounds, busy=busy, coming=mine.coming, flags=others))
            print(row(results[-1]), flush=True)
        if len(results) > 1:
            print(f"\n{growth(results[0], results[-1])}\n", flush=True)


if __name__ == "__main__":
    main()
