"""Captured tree → recording → the same page and document, byte for byte."""

import io
import json
from pathlib import Path

import pytest

from cgexporter.exporter import Settings
from cgexporter.local.json import document
from cgexporter.publish import Format
from cgexporter.recording.archive import read, write
from cgexporter.recording.host import replayed
from cgexporter.recording.make import record
from tests.golden.test_golden import GOLDEN, TREES, swept


@pytest.mark.parametrize("tree", TREES)
def test_recording_shows_what_the_host_showed(tree: str, fixtures: Path) -> None:
    """A recorded host gives the golden output without its files, and is the same bytes again."""
    root = fixtures / tree
    settings = Settings(cgroupfs=f"{root}/sys/fs/cgroup/", procfs=f"{root}/proc/")
    recording, _ = record(settings, 1, lambda: None)
    first, second = io.BytesIO(), io.BytesIO()
    write(recording, first)
    again = read(io.BytesIO(first.getvalue()))
    write(again, second)
    assert first.getvalue() == second.getvalue()
    assert len(first.getvalue()) < 100_000
    with replayed(again) as host:
        exporter = swept(
            Settings(cgroupfs=host.cgroupfs, procfs=host.procfs, resolver=host.resolver)
        )
        view = exporter.name(exporter.look())
        page = exporter.render(view, Format.TEXT)
        data = json.loads(document(view))
        assert data.pop("time") == recording.scans[0].started
        exporter.close()
    assert page == (GOLDEN / f"{tree}.prom").read_text()
    assert json.dumps(data, indent=1) + "\n" == (GOLDEN / f"{tree}.json").read_text()
