"""What every golden tree publishes, in the eyes of the official parsers."""

import math
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families as parse_text

from cgexporter.exporter import Exporter, Settings
from cgexporter.own import page
from cgexporter.publish import Format

TREES = sorted(p for p in (Path(__file__).resolve().parents[1] / "fixtures").iterdir())
TREES = [tree for tree in TREES if tree.is_dir()]

# The package has no types for this one.
parse_openmetrics: Callable[[str], Iterable[Metric]] = (
    openmetrics_parser.text_string_to_metric_families
)
Sample = tuple[str, tuple[tuple[str, str], ...]]


@pytest.fixture(params=TREES, ids=lambda tree: tree.name)
def pages(request: pytest.FixtureRequest) -> tuple[str, str]:
    """The page of one captured host in both formats."""
    tree: Path = request.param
    exporter = Exporter(Settings(cgroupfs=f"{tree}/sys/fs/cgroup", procfs=f"{tree}/proc"))
    view = exporter.look()
    text = page(exporter, view, Format.TEXT).decode()
    openmetrics = page(exporter, view, Format.OPENMETRICS).decode()
    exporter.close()
    return text, openmetrics


def samples(families: Iterable[Metric]) -> dict[Sample, float]:
    """Samples by name and labels; each once."""
    found: dict[Sample, float] = {}
    for family in families:
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found, f"{key} is published twice"
            found[key] = sample.value
    return found


def test_both_formats_say_the_same(pages: tuple[str, str]) -> None:
    """The official parsers read both formats, and read the same samples, each once."""
    text, openmetrics = pages
    from_text, from_openmetrics = samples(parse_text(text)), samples(parse_openmetrics(openmetrics))
    changing = ("process_", "cgexporter_snapshot_age_seconds")
    for found in (from_text, from_openmetrics):
        for key in [key for key in found if key[0].startswith(changing)]:
            del found[key]
    assert from_text == from_openmetrics
    assert len(from_text) > 100


def test_one_header_a_family(pages: tuple[str, str]) -> None:
    """Each family is announced once, with help and type, and its samples follow it."""
    for text in pages:
        words = [line.split(" ", 3) for line in text.splitlines() if line.startswith("# ")]
        helps = Counter(w[2] for w in words if w[1] == "HELP")
        types = Counter(w[2] for w in words if w[1] == "TYPE")
        assert helps == types
        assert set(helps.values()) == {1}


def test_no_value_is_a_sentinel(pages: tuple[str, str]) -> None:
    """No sample is negative, NaN or the kernel's number for "no limit"."""
    for (name, _), value in samples(parse_text(pages[0])).items():
        assert not math.isnan(value), name
        assert value >= 0, name
        assert value < 2**62 or value == math.inf, name
