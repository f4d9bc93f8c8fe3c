"""Recordings of the laboratory's hosts → JSON and the whole page of metrics, byte for byte."""

import lzma
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cgexporter.exporter import Settings
from cgexporter.publish import Format
from cgexporter.recording.archive import read
from cgexporter.recording.host import replayed
from tests.golden.test_golden import GOLDEN, compare, swept
from tests.lab.states import RECORDED

_RECORDINGS = GOLDEN.parent / "data/lab"
_MAX_BYTES = 300_000


def _file(name: str) -> Path:
    return _RECORDINGS / f"{name}.tar.xz"


@pytest.mark.parametrize("name", RECORDED)
def test_golden(name: str, request: pytest.FixtureRequest) -> None:
    """What a host with real engines or a kubelet shows does not change unnoticed."""
    words = ("--once", "--format", "json", "--from", str(_file(name)))
    said = subprocess.run(
        [sys.executable, "-m", "cgexporter", *words], capture_output=True, text=True, check=True
    )
    compare(request, f"lab/{name}.json", said.stdout)
    with _file(name).open("rb") as file, replayed(read(file)) as host:
        exporter = swept(
            Settings(cgroupfs=host.cgroupfs, procfs=host.procfs, resolver=host.resolver)
        )
        page = exporter.render(exporter.name(exporter.look()), Format.TEXT)
        exporter.close()
    compare(request, f"lab/{name}.prom", page)


@pytest.mark.parametrize("name", RECORDED)
def test_nothing_private(name: str) -> None:
    """A recording is small, and has nothing of what runs there but its numbers and names."""
    packed = _file(name).read_bytes()
    assert len(packed) < _MAX_BYTES
    content = lzma.decompress(packed)
    members = re.findall(rb"(?<=/)proc/\d+/\w+", content)
    assert len(members) > 50
    assert not [one for one in members if one.endswith((b"/environ", b"/cmdline"))]
    # All containers have the one in their environment, and most the other as their command.
    for secret in (b"PATH=/", b"sleep 1000000", b"sleep\x001000000", b"PRIVATE KEY"):
        assert secret not in content
