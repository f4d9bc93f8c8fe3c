"""systemd units: understood by systemd, and closed as far as the docs say."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.integration.support import program

UNITS = ("cgexporter.service", "cgexporter.socket", "cgexporter-textfile.service")
# Overall exposure of systemd-analyze security, as docs/INSTALL.md says.
EXPOSURE = {"cgexporter.service": 1.5, "cgexporter-textfile.service": 1.0}


@pytest.fixture
def units(repository: Path, tmp_path: Path) -> Path:
    """The units, with a program in place of the one that would be installed."""
    directory = tmp_path / "units"
    shutil.copytree(repository / "packaging/systemd", directory)
    for unit in directory.glob("*.service"):
        unit.write_text(unit.read_text().replace("/usr/local/bin/cgexporter", "/bin/true"))
    return directory


@pytest.mark.parametrize("unit", [*UNITS, "cgexporter-textfile.timer"])
def test_systemd_understands_them(units: Path, unit: str) -> None:
    """``systemd-analyze verify`` has nothing to say."""
    done = subprocess.run(
        [program("systemd-analyze", "systemd"), "verify", "--man=no", units / unit],
        capture_output=True,
        text=True,
        check=False,
    )
    problems = [line for line in done.stderr.splitlines() if "cgexporter" in line]
    assert problems == []


@pytest.mark.parametrize("unit", EXPOSURE)
def test_exposure(units: Path, repository: Path, unit: str) -> None:
    """No unit is more open than the documents say."""
    done = subprocess.run(
        [
            *(program("systemd-analyze", "systemd"), "security", "--offline=true"),
            *("--no-pager", str(units / unit)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert found, done.stderr
    assert float(found[1]) <= EXPOSURE[unit]
    assert f"`{unit}`: {EXPOSURE[unit]}" in (repository / "docs/INSTALL.md").read_text()
