"""Containers that come and go while the host is scraped again and again."""

import re
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.cgroups import Cgroups
from tests.integration.churn import UNMARKED, Churn, Life, marks
from tests.integration.conftest import Serve
from tests.integration.processes import Connection, Server
from tests.integration.reading import hierarchies
from tests.integration.support import eventually

SCRAPES = 1000

# Prometheus text format 0.0.4, with no more freedom than cgexporter takes.
LINES = re.compile(
    rb"(?:(?:# HELP [a-z_]+ [^\n]+|# TYPE [a-z_]+ (?:counter|gauge)|"
    rb'[a-z_]+(?:\{[a-z_]+="(?:[^"\\\n]|\\[\\"n])*"(?:,[a-z_]+="(?:[^"\\\n]|\\[\\"n])*")*\})?'
    rb" (?:\+Inf|\d+(?:\.\d+)?(?:e[-+]\d+)?))\n)++"
)
IDS = re.compile(r'id="([^"]*)"')
MARKS = re.compile(
    rf'^cgexporter_container_({"|".join(UNMARKED)}){{id="(\w+)"}} (\S+)$', re.MULTILINE
)


class Scrape(NamedTuple):
    """What one scrape said of the containers of the run, by ``id``."""

    start: float
    end: float
    marks: Mapping[str, Mapping[str, float]]


@pytest.fixture
def churn(cgroups: Cgroups) -> Iterator[Churn]:
    """Containers that come and go all the time."""
    churn = Churn(cgroups)
    yield churn
    churn.kill()


def _scrape(connection: Connection, run: str) -> tuple[Scrape, str]:
    start = time.monotonic()
    answer = connection.get("/metrics")
    end = time.monotonic()
    assert answer.status == 200
    assert LINES.fullmatch(answer.body)
    text = answer.text
    assert "\ncgexporter_scan_success 1\n" in text
    found: dict[str, dict[str, float]] = {
        each: {} for each in set(IDS.findall(text)) if each.startswith(run)
    }
    for name, each, value in MARKS.findall(text):
        if each in found:
            found[each][name] = float(value)
    return Scrape(start, end, found), text


def _check(scrape: Scrape, lives: Sequence[Life], offered: Collection[str]) -> int:
    """Hold a scrape against what there was; gives how many containers lived all through it."""
    living: dict[str, list[Life]] = {}
    for life in lives:
        if life.making <= scrape.end and life.removed >= scrape.start:
            living.setdefault(life.id[:12], []).append(life)
    assert scrape.marks.keys() <= living.keys(), "only what was there during the scrape"
    for each, found in scrape.marks.items():
        for name, value in found.items():
            possible = {marks(life.serial)[name] for life in living[each]}
            if any(life.made >= scrape.start for life in living[each]):
                possible.add(UNMARKED[name])
            assert value in possible, "nobody has another's limits"
    throughout = 0
    for each, candidates in living.items():
        for life in candidates:
            if life.made < scrape.start and life.removing > scrape.end:
                expected = {name: marks(life.serial)[name] for name in offered}
                assert scrape.marks.get(each) == expected, "what is there is published"
                throughout += 1
    return throughout


def _kernel_files(server: Server) -> tuple[list[str], int]:
    """Kernel files that a server holds open, and how many other descriptors it has.

    A sweep that goes on in the next scan has /proc open.
    """
    mounts = (*(f"{tree.mount_point}/" for tree in hierarchies()), "/proc/")
    descriptors = [name for name in server.descriptors if name != "/proc"]
    files = [name for name in descriptors if name.startswith(mounts)]
    return files, len(descriptors) - len(files)


@pytest.mark.timeout(1200)  # half a minute on two idle CPUs
def test_churn(cgroups: Cgroups, churn: Churn, serve: Serve) -> None:
    """No scrape fails, no container outlives its cgroup, none gets another's numbers."""
    server = serve()
    connection = Connection(server.port)
    assert connection.get("/metrics").status == 200
    _, others_before = _kernel_files(server)
    churn.start()
    scrapes = []
    for number in range(SCRAPES):
        scrape, text = _scrape(connection, cgroups.run)
        scrapes.append(scrape)
        if number % 50 == 0:
            assert list(text_string_to_metric_families(text))
    lives = churn.stop()
    last, text = _scrape(connection, cgroups.run)
    files, _ = _kernel_files(server)
    connection.close()

    offered = {name for scrape in scrapes for found in scrape.marks.values() for name in found}
    assert {"pids_max", "memory_max_bytes"} <= offered
    throughout = [_check(scrape, lives, offered) for scrape in scrapes]
    # On a busy machine few containers live from before a scrape until after it.
    assert sum(throughout) > SCRAPES // 10, "the checks had something to check"
    assert len(lives) > SCRAPES
    assert not last.marks

    own = {line.partition(" ")[0]: line.partition(" ")[2] for line in text.splitlines()}
    assert own["cgexporter_cgroups_skipped_total"] == "0"
    assert "cgexporter_parse_errors_total" not in text
    assert float(own["cgexporter_open_files"]) == len(files)
    assert len(files) == len(set(files)), "no file is held twice"
    assert not [name for name in files if cgroups.run in name], "no removed file is held"
    # Of a cgroup that is gone the kernel may still tell for half a second; rtnetlink has two
    # sockets.
    eventually(lambda: _kernel_files(server)[1] <= others_before + 2, "no descriptor is left over")
