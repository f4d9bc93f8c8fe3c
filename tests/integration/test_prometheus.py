"""A real Prometheus, its tools and its client library take what the server gives."""

import gzip
import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from tests.integration import seen
from tests.integration.processes import Server
from tests.integration.prometheus import Prometheus
from tests.integration.runc import Container, Runc
from tests.integration.support import PATIENCE_SECONDS, eventually, program

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
# What Prometheus 2 sends: scrape/scrape.go of its source.
PROMETHEUS_ACCEPTS = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)

Parse = Callable[[str], Iterable[Metric]]
# Labels of series about containers, pods and cgroups.
OTHERS = {"id", "uid", "cgroup"}
PARSE_TEXT: Parse = text_string_to_metric_families
PARSE_OPENMETRICS: Parse = openmetrics.text_string_to_metric_families


@pytest.fixture(scope="module")
def throttled(runc: Runc) -> Container:
    """A container that wants more CPU time than it may have."""
    cpu = {"quota": 20_000, "period": 100_000}
    return runc.run("throttled", "while :; do :; done", resources={"cpu": cpu})


@pytest.fixture
def prometheus(server: Server, tmp_path: Path) -> Iterator[Prometheus]:
    """A Prometheus that scrapes the server."""
    running = Prometheus(program("prometheus", "prometheus"), tmp_path, server.port)
    try:
        running.wait_until_ready()
        yield running
    finally:
        running.stop()


def test_prometheus_sees_throttling(
    throttled: Container, server: Server, prometheus: Prometheus
) -> None:
    """Prometheus scrapes without an error, and its rate of throttled time is above 0."""
    eventually(lambda: prometheus.query("up == 1"), "up == 1")
    (container_id,) = seen.ids(seen.samples(server.get("/metrics").text), [throttled.pid])
    own = f'{{id="{container_id}"}}'
    counter = f"cgexporter_container_cpu_throttled_seconds_total{own}"
    found = eventually(lambda: prometheus.query(f"rate({counter}[1m]) > 0"), f"a rate of {counter}")
    (series,) = found
    assert series["metric"]["id"] == container_id
    (limit,) = prometheus.query(f"cgexporter_container_cpu_limit_cores{own}")
    assert limit["value"][1] == "0.2"
    eventually(lambda: prometheus.target()["lastError"] == "", "a scrape without an error")


def test_prometheus_learns_types(prometheus: Prometheus) -> None:
    """Prometheus knows type, unit and help of a family."""
    (metadata,) = eventually(
        lambda: prometheus.metadata("cgexporter_slice_memory_current_bytes"), "metadata"
    )
    assert (metadata["type"], metadata["unit"]) == ("gauge", "bytes")
    assert metadata["help"].startswith("Memory charged to the cgroup")


def test_promtool_has_nothing_to_say(throttled: Container, server: Server) -> None:
    """``promtool check metrics`` finds no fault with names, units and help."""
    checked = subprocess.run(
        [program("promtool", "prometheus"), "check", "metrics"],
        input=server.get("/metrics").body,
        check=False,
        capture_output=True,
        timeout=PATIENCE_SECONDS,
    )
    assert (checked.stdout, checked.stderr, checked.returncode) == (b"", b"", 0)


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
@pytest.mark.parametrize(
    ("accept", "content_type", "parse"),
    [
        ("text/plain;version=0.0.4", TEXT, PARSE_TEXT),
        ("*/*", TEXT, PARSE_TEXT),
        ("application/openmetrics-text;version=1.0.0", OPENMETRICS, PARSE_OPENMETRICS),
        (PROMETHEUS_ACCEPTS, OPENMETRICS, PARSE_OPENMETRICS),
    ],
    ids=["text", "any", "openmetrics", "prometheus"],
)
def test_client_library_reads_it(
    throttled: Container,
    server: Server,
    accept: str,
    content_type: str,
    parse: Parse,
    encoding: str,
) -> None:
    """A client gets the format and the coding it asks for, and prometheus-client reads it."""
    answer = server.get("/metrics", {"Accept": accept, "Accept-Encoding": encoding})
    assert answer.status == 200
    assert answer.headers["content-type"] == content_type
    assert answer.headers["content-length"] == str(len(answer.body))
    assert answer.headers.get("content-encoding", "identity") == encoding
    body = gzip.decompress(answer.body) if encoding == "gzip" else answer.body
    families = {family.name: family for family in parse(body.decode())}
    assert families["cgexporter_scan_success"].samples[0].value == 1
    throttling = families["cgexporter_container_cpu_throttled_seconds"]
    assert throttling.type == "counter"
    assert {s.name for s in throttling.samples} == {throttling.name + "_total"}
    assert any(sample.value > 0 for sample in throttling.samples)


def test_formats_have_the_same_series(throttled: Container, server: Server) -> None:
    """Text and OpenMetrics have the same series of a container, and of the exporter."""
    as_text = server.get("/metrics", {"Accept": TEXT}).text
    as_openmetrics = server.get("/metrics", {"Accept": OPENMETRICS}).text
    (container_id,) = seen.ids(seen.samples(as_text), [throttled.pid])

    def series(families: Iterable[Metric]) -> set[tuple[str, ...]]:
        return {
            (line.name, *(f"{name}={value}" for name, value in sorted(line.labels.items())))
            for family in families
            for line in family.samples
            # Other containers may come and go between the two scrapes.
            if line.labels.get("id") == container_id or not line.labels.keys() & OTHERS
        }

    text = series(PARSE_TEXT(as_text))
    assert len(text) > 50
    assert text == series(PARSE_OPENMETRICS(as_openmetrics))
