"""What namespaces and their networks cost in a scan, and how the first sweep spreads.

    python3 bench/namespaces.py [--containers 300] [--processes 5000] [--rounds 200]

Makes real cgroups, namespaces and processes on this host (as root). Each round correlates one
snapshot with exporters that differ in what they collect, one after the other, so that noise hits
all; the table has medians. Ratios are to *cat*, a C program that opens, reads and closes
the same files.
"""

import argparse
import statistics
import time
from collections.abc import Sequence
from contextlib import closing

from containers import containers
from references import Reference

from cgexporter.correlate.view import View
from cgexporter.exporter import Exporter, Settings
from cgexporter.model import Snapshot
from cgexporter.publish import Format

_FILES = ("dev", "snmp", "netstat", "sockstat", "sockstat6", "snmp6")


def exporter(*collectors: str) -> Exporter:
    """An exporter that collects this and nothing else."""
    return Exporter(Settings(collectors=frozenset(collectors)))


def correlated(work: Exporter, snapshot: Snapshot) -> tuple[float, View]:
    """CPU milliseconds of correlating a snapshot, and what came of it."""
    began = time.thread_time()
    view = work.correlate(snapshot)
    return (time.thread_time() - began) * 1000, view


def cat_ms(files: Sequence[str]) -> float:
    """CPU time of one pass of the reference over files."""
    with closing(Reference("cat", files)) as cat:
        return statistics.median(cat.milliseconds() for _ in range(9))


def first_sweep(snapshot: Snapshot) -> None:
    """How long each scan takes until every process was looked at once."""
    work = exporter("namespaces")
    work.correlate(snapshot)  # whose containers' first processes are read in any case
    delays = []
    while not work.sweep.complete:
        began = time.perf_counter()
        work.sweep.step(len(snapshot.cgroups))
        delays.append((time.perf_counter() - began) * 1000)
    count = len(list(work.sweep.processes))
    longest = max(delays)
    print(f"first sweep: {count} processes in {len(delays)} scans, {longest:.1f} ms of one at most")
    work.close()


def steady(snapshot: Snapshot, rounds: int, containers: int, pids: Sequence[int]) -> None:
    """What a scan costs when nothing changes."""
    kinds = {
        "plain": exporter(),
        "namespaces": exporter("namespaces"),
        "network": exporter("network"),
        "network, transport": exporter("network", "transport"),
    }
    times: dict[str, list[float]] = {name: [] for name in kinds}
    render: list[float] = []
    while not kinds["namespaces"].sweep.complete:
        kinds["namespaces"].correlate(snapshot)
    for number in range(rounds):
        for name, each in kinds.items():
            cpu, view = correlated(each, snapshot)
            if number >= rounds // 10:
                times[name].append(cpu)
            if name == "namespaces":
                began = time.thread_time()
                each.render(view, Format.TEXT)
                render.append((time.thread_time() - began) * 1000)
    median = {name: statistics.median(its) for name, its in times.items()}
    plain = median.pop("plain")
    cats = {
        "network": cat_ms([f"/proc/{pid}/net/dev" for pid in pids]),
        "network, transport": cat_ms([f"/proc/{pid}/net/{f}" for pid in pids for f in _FILES]),
    }
    print(f"\n| collects | ms a scan of {containers} | ms per 100 | of cat |")
    print("|---|---|---|---|")
    for name, whole in median.items():
        cost = whole - plain
        ratio = f"{cost / cats[name]:.2f}" if name in cats else "-"
        print(f"| {name} | {cost:.2f} | {cost * 100 / containers:.2f} | {ratio} |")
    print(f"\nand {statistics.median(render):.2f} ms to render the families of namespaces")
    seconds = kinds["namespaces"].sweep.pass_seconds
    print(f"a whole pass took {seconds:.2f} s of these rounds")
    for each in kinds.values():
        each.close()


def main() -> None:
    """Measure and print."""
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--containers", type=int, default=300)
    flags.add_argument("--processes", type=int, default=5000)
    flags.add_argument("--rounds", type=int, default=200)
    wanted = flags.parse_args()
    each = max(1, wanted.processes // wanted.containers)
    with containers(wanted.containers, crowd=each) as paths:
        plain = exporter()
        snapshot = plain.scanner.scan()
        first_sweep(snapshot)
        view = plain.correlate(snapshot)
        pids = [c.process.pid for c in view.containers if c.process and c.cgroup.path in set(paths)]
        steady(snapshot, wanted.rounds, wanted.containers, pids)
        plain.close()


if __name__ == "__main__":
    main()
