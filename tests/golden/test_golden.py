"""Captured tree → the whole page of metrics and the JSON document, byte for byte."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from cgexporter.exporter import Exporter, Settings
from cgexporter.local.json import document
from cgexporter.publish import Format

GOLDEN = Path(__file__).resolve().parent
TREES = sorted(p.name for p in (GOLDEN.parent / "fixtures").iterdir() if p.is_dir())


def compare(request: pytest.FixtureRequest, name: str, content: str) -> None:
    """Compare with the golden file, or write it."""
    file = GOLDEN / name
    if request.config.getoption("--update-golden"):
        file.write_text(content)
    assert content == file.read_text()


def swept(settings: Settings) -> Exporter:
    """One that looks at all processes in each scan: else its page depends on the time it had."""
    return Exporter(replace(settings, sweep_through=True))


@pytest.mark.parametrize("tree", TREES)
def test_golden(tree: str, fixtures: Path, request: pytest.FixtureRequest) -> None:
    """What a captured host shows does not change unnoticed, in any way out."""
    root = fixtures / tree
    exporter = swept(Settings(cgroupfs=str(root / "sys/fs/cgroup"), procfs=str(root / "proc")))
    view = exporter.look()
    page = exporter.render(view, Format.TEXT)
    data = json.loads(document(view))
    del data["time"]  # of this moment
    exporter.close()
    compare(request, f"{tree}.prom", page)
    compare(request, f"{tree}.json", json.dumps(data, indent=1) + "\n")
