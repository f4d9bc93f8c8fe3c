"""What slow, idle and malformed clients cost a scrape each second.

    python3 bench/slow_clients.py [--seconds 120] [--slow 500] [--idle 200] [--malformed 100000]
                                  [--containers 100] [FLAGS…]

Scrapes each second: first alone, then among the crowd, then after it and after the malformed
requests. All on loopback; FLAGS are cgexporter's own. Exits with 1 where a scrape is not whole,
where the slowest takes over a second (but among malformed requests, which are sent as fast as they
go), or where memory grows by more than 64 MiB.
"""

import argparse
import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from churn import resident_kib, server
from containers import containers

from tests.tools import slow


def _percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Run:
    """Measures one server, phase by phase."""

    def __init__(self, port: int, pid: int) -> None:
        self.port = port
        self.pid = pid
        self.worst = 0.0
        self.broken = 0
        self.before = 0
        self.most = 0

    async def scrapes(self, name: str, seconds: int, timed: bool = True) -> None:
        """Scrape each second, and print the phase's row."""
        took, broken, resident = [], 0, 0
        for _ in range(seconds):
            duration, answer = await slow.scrape(self.port)
            took.append(duration * 1000)
            broken += not slow.is_whole(answer)
            resident = max(resident, resident_kib(self.pid))
            await asyncio.sleep(max(0.0, 1 - duration))
        self.before = self.before or resident
        self.most = max(self.most, resident)
        if timed:
            self.worst = max(self.worst, *took)
        self.broken += broken
        cells = (_percentile(took, 0.5), _percentile(took, 0.99), max(took))
        print(
            f"| {name} | {' | '.join(f'{ms:.1f}' for ms in cells)} | {len(took) - broken} of "
            f"{len(took)} | {resident / 1024:.1f} |",
            flush=True,
        )


async def _measure(run: Run, mine: argparse.Namespace) -> None:
    print("| Phase | p50 ms | p99 ms | most ms | whole | Resident MiB |\n|---|---|---|---|---|---|")
    for _ in range(40):  # what is looked at again in the first scans
        await slow.scrape(run.port)
    await run.scrapes("alone", 10)
    crowd = slow.Crowd(run.port)
    kinds = (slow.drip, slow.drip_later, slow.sip, slow.say_nothing)
    for place, kind in enumerate(kinds):
        crowd.add(kind, (mine.slow + place) // len(kinds))
    crowd.add(slow.idle, mine.idle)
    await asyncio.sleep(2)
    await run.scrapes(f"{mine.slow} slow, {mine.idle} idle", mine.seconds)
    await crowd.close()
    await asyncio.sleep(2)
    await run.scrapes("after them", 10)
    if mine.malformed:
        fuzzing = asyncio.create_task(slow.fuzz(run.port, mine.malformed, seed=1))
        while not fuzzing.done():
            await run.scrapes("among malformed requests", 10, timed=False)
        print(f"{mine.malformed:,} malformed requests, {fuzzing.result():,} answered")
        await run.scrapes("after them", 10)


def main() -> None:
    """Run and print."""
    flags = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    flags.add_argument("--seconds", type=int, default=120)
    flags.add_argument("--slow", type=int, default=500)
    flags.add_argument("--idle", type=int, default=200)
    flags.add_argument("--malformed", type=int, default=100_000)
    flags.add_argument("--containers", type=int, default=100)
    mine, others = flags.parse_known_args()
    with containers(mine.containers):
        process, url = server(others)
        try:
            run = Run(int(url.rpartition(":")[2].partition("/")[0]), process.pid)
            asyncio.run(_measure(run, mine))
            assert process.poll() is None, "the server died"
        finally:
            process.terminate()
            process.wait(20)
    if run.broken or run.worst > 1000 or run.most - run.before > 64 * 1024:
        sys.exit("a scrape was broken or slow, or memory grew")


if __name__ == "__main__":
    main()
