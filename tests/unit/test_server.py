"""What a scrape's headers ask for."""

import asyncio
import math
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgexporter.exporter import Exporter, Settings
from cgexporter.publish import Format
from cgexporter.server import Scrapes, accepts_gzip, negotiate, time_limit_seconds

OPENMETRICS, TEXT = Format.OPENMETRICS, Format.TEXT

# As Prometheus sends it: scrape/scrape.go, acceptHeader().
PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
PROTOBUF_FIRST = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,"
    "application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        (PROMETHEUS_2, OPENMETRICS),
        (PROMETHEUS_3, OPENMETRICS),
        (PROTOBUF_FIRST, OPENMETRICS),
        (BROWSER, TEXT),
        ("", TEXT),
        ("*/*", TEXT),
        ("text/plain", TEXT),
        ("text/plain;version=0.0.4", TEXT),
        ("application/openmetrics-text", OPENMETRICS),
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", OPENMETRICS),
        ("Application/OpenMetrics-Text; Version=1.0.0", OPENMETRICS),
        (" application/openmetrics-text ;\tversion=1.0.0 ", OPENMETRICS),
    ],
)
def test_clients(accept: str, form: Format) -> None:
    """Prometheus gets OpenMetrics; who names nothing that is ours gets the text format."""
    assert negotiate(accept) is form


@pytest.mark.parametrize(
    ("text", "openmetrics", "form"),
    [
        ("q=0.5", "q=0.4", TEXT),
        ("q=0.4", "q=0.5", OPENMETRICS),
        ("q=0.5", "q=0", TEXT),
        ("q=0", "q=0.001", OPENMETRICS),
        ("q=0", "q=0", TEXT),
        ("q=1.0", "q=0.999", TEXT),
        ("q=junk", "q=0.1", OPENMETRICS),
        ("q=0.1", "q=junk", TEXT),
        ("q=", "q=0.1", OPENMETRICS),
        ("q=nan", "q=0.1", OPENMETRICS),
        ("q=0.1", "q=nan", TEXT),
        ("q=-1", "q=0.1", OPENMETRICS),
        ("charset=utf-8;q=0.2", "charset=utf-8;q=0.3", OPENMETRICS),
    ],
)
def test_quality(text: str, openmetrics: str, form: Format) -> None:
    """The larger weight wins, in whatever order; 0 and junk are refusals."""
    offers = f"text/plain;{text}", f"application/openmetrics-text;{openmetrics}"
    assert negotiate(",".join(offers)) is form
    assert negotiate(", ".join(reversed(offers))) is form


def test_first_of_equals() -> None:
    """Of two with the same weight the first wins."""
    assert negotiate("text/plain,application/openmetrics-text") is TEXT
    assert negotiate("application/openmetrics-text,text/plain") is OPENMETRICS


@pytest.mark.parametrize(
    "accept",
    [
        "application/openmetrics-text;version=0.0.1",
        "application/openmetrics-text;version=2.0.0",
        "text/plain;version=1.0.0;escaping=allow-utf-8",
        "application/openmetrics-text;version=0.0.1,text/plain;version=0.0.4;q=0.1",
    ],
)
def test_unknown_versions(accept: str) -> None:
    """A version that is not spoken is as good as no offer."""
    assert negotiate(accept) is TEXT


@given(st.text() | st.lists(st.sampled_from([*"=;,/* q.0", "text/plain", "q=1e999"])).map("".join))
def test_any_accept(accept: str) -> None:
    """Whatever a client sends, it gets one of the two formats."""
    assert negotiate(accept) in Format


@pytest.mark.parametrize(
    ("header", "gzip"),
    [
        ("gzip", True),
        ("GZip", True),
        ("gzip, deflate, br", True),
        ("deflate, gzip;q=0.5", True),
        ("br;q=1.0, gzip;q=0.8, *;q=0.1", True),
        ("*", True),
        ("deflate, *;q=0.1", True),
        ("gzip;q=0.001", True),
        ("", False),
        ("identity", False),
        ("deflate", False),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("gzip ; q = 0", False),
        ("gzip;q=0, *", False),
        ("*;q=0", False),
        ("gzippy", False),
        ("x", False),
    ],
)
def test_accepts_gzip(header: str, gzip: bool) -> None:
    """Gzip is used where it is named, or any coding is taken, and not refused."""
    assert accepts_gzip(header) is gzip


@pytest.mark.parametrize(("header", "gzip"), [("*, gzip;q=0", False), ("*;q=0, gzip", True)])
def test_gzip_is_nearer_than_any(header: str, gzip: bool) -> None:
    """RFC 9110: "*" matches any coding that is not named."""
    assert accepts_gzip(header) is gzip


@given(st.text())
def test_any_accept_encoding(header: str) -> None:
    """Whatever a client sends is understood somehow."""
    assert accepts_gzip(header) in (True, False)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("10", 9.5),
        ("10.0", 9.5),
        ("15", 14.5),
        ("3599", 3598.5),
        ("1", 0.5),
        ("0.5", 0.25),
        ("0.001", 0.0005),
        ("", 9.5),
        ("junk", 9.5),
        ("nan", 9.5),
        ("inf", 9.5),
        ("-inf", 9.5),
        ("-1", 9.5),
        ("0", 9.5),
        ("3600", 9.5),
        ("1e9", 9.5),
        ("10s", 9.5),
        ("1,5", 9.5),
        (" 20 ", 19.5),
    ],
)
def test_time_limit(header: str, seconds: float) -> None:
    """An answer is ready half a second before the client gives up; junk means 10 s."""
    assert time_limit_seconds(header) == seconds


@given(st.text() | st.floats().map(str) | st.integers().map(str))
def test_any_time_limit(header: str) -> None:
    """Whatever a client sends, the limit is a positive time, and less than what was asked for."""
    limit = time_limit_seconds(header)
    assert 0 < limit < 3600
    assert math.isfinite(limit)


@pytest.mark.parametrize("problem", [None, OSError("no more")])
def test_catches_up_when_answered(
    fixtures: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    problem: Exception | None,
) -> None:
    """What can wait is done behind each page, in the scanner's thread; who failed is told of."""
    caught_up: list[str] = []

    def catch_up(exporter: Exporter) -> None:
        caught_up.append(threading.current_thread().name)
        if problem is not None:
            raise problem

    monkeypatch.setattr(Exporter, "catch_up", catch_up)

    async def scrape() -> None:
        host = f"{fixtures}/hybrid-6.1-systemd"
        scrapes = Scrapes(
            Exporter(Settings(cgroupfs=f"{host}/sys/fs/cgroup", procfs=f"{host}/proc"))
        )
        view = await scrapes.fresh(5.0)
        assert not caught_up
        assert b"cgexporter_build_info" in await scrapes.page(view, Format.TEXT, gzip=False)
        await scrapes.close()

    asyncio.run(scrape())
    assert caught_up == ["scan_0"]
    assert ["catching up failed" in record.message for record in caplog.records] == (
        [] if problem is None else [True]
    )
