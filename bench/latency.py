"""Latency of scrapes over HTTP, with another client scraping, and how long the loop is blocked.

    python3 bench/latency.py [--containers 500] [--scrapes 300] [--busy] [FLAGS…]

The server runs in this process, which measures how late its event loop wakes up from short
sleeps; clients are processes of their own: one scrapes again and again, one each second, one
asks for /-/healthy all the time. FLAGS are cgexporter's own.
"""

import argparse
import asyncio
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

from containers import containers
from scrape import WARM_UP

from cgexporter import cli, server
from cgexporter.exporter import Exporter

HEADERS = {"Accept-Encoding": "gzip", "X-Prometheus-Scrape-Timeout-Seconds": "10"}


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which this share of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def client(port: int, path: str, count: int, pause: float) -> list[float]:
    """Ask `count` times over one connection; returns milliseconds of each."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    took = []
    for _ in range(count):
        before = time.perf_counter()
        connection.request("GET", path, headers=HEADERS)
        response = connection.getresponse()
        response.read()
        assert response.status == 200, response.status
        took.append((time.perf_counter() - before) * 1000)
        time.sleep(pause)
    return took


async def _watch_loop(lags: list[float]) -> None:
    while True:
        before = time.perf_counter()
        await asyncio.sleep(0.005)
        lags.append((time.perf_counter() - before) * 1000 - 5)


async def _run(exporter: Exporter, scrapes: int) -> dict[str, list[float]]:
    lags: list[float] = []
    results: dict[str, list[float]] = {"event loop late": lags}
    ports: asyncio.Queue[int] = asyncio.Queue()
    serving = asyncio.create_task(
        server.serve(
            exporter,
            server.Web(addresses=[("127.0.0.1", 0)]),
            lambda addresses: ports.put_nowait(addresses[0][1]),
        )
    )
    port = await ports.get()

    async def start(path: str, count: int, pause: float) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, __file__, "--client", str(port), path, str(count), str(pause)),
            stdout=subprocess.PIPE,
        )

    await (await start("/metrics", WARM_UP, 0)).communicate()
    # To start a process blocks the loop, which a server never does.
    clients = {
        "scrape": await start("/metrics", scrapes, 0.1),
        "scrape each second": await start("/metrics", max(2, scrapes // 8), 1.0),
        "/-/healthy": await start("/-/healthy", scrapes * 5, 0.02),
    }
    watching = asyncio.create_task(_watch_loop(lags))
    for name, process in clients.items():
        output, _ = await process.communicate()
        results[name] = json.loads(output)
    watching.cancel()
    os.kill(os.getpid(), signal.SIGTERM)
    await serving
    return results


def main() -> None:
    """Print the table, or be one of the clients."""
    if sys.argv[1:2] == ["--client"]:
        port, path, count, pause = sys.argv[2:]
        print(json.dumps(client(int(port), path, int(count), float(pause))))
        return
    flags = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    flags.add_argument("--containers", type=int, default=500)
    flags.add_argument("--scrapes", type=int, default=300)
    flags.add_argument("--busy", action="store_true", help="containers that do something")
    mine, others = flags.parse_known_args()
    with containers(mine.containers, busy=mine.busy):
        exporter = Exporter(cli.settings(cli.parser().parse_args(others)))
        results = asyncio.run(_run(exporter, mine.scrapes))
    print(f"| {mine.containers} containers, ms | p50 | p99 | most | times |\n|---|---|---|---|---|")
    for name, took in sorted(results.items()):
        cells = (percentile(took, 0.5), percentile(took, 0.99), max(took))
        print(f"| {name} | {' | '.join(f'{ms:.1f}' for ms in cells)} | {len(took):,} |")


if __name__ == "__main__":
    main()
