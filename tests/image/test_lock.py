"""The image's locks; `python3 dev.py lock` resolves them anew."""

import re
import tomllib
from pathlib import Path

import pytest

from tests.image.built import LOCKS
from tests.tools.toolbox import linters, run

pytestmark = pytest.mark.timeout(1500)

HEADER = "# Written by `python3 dev.py lock`: what is in the image, with hashes.\n"
COMMAND = (
    *("--python-version=3.13", "--python-platform=linux", "--generate-hashes", "--no-header"),
    *("--quiet", "--no-annotate", "--native-tls", "--no-emit-index-url", "--no-emit-find-links"),
)


def test_locks_are_of_pyproject(
    request: pytest.FixtureRequest, repository: Path, tmp_path: Path
) -> None:
    """Each lock satisfies pyproject.toml, whole and with nothing beside it."""
    project = tomllib.loads((repository / "pyproject.toml").read_text())
    asked = (project["build-system"]["requires"], project["project"]["dependencies"])
    for lock, requirements in zip(LOCKS, asked, strict=True):
        # An output that is there keeps its versions as long as they satisfy what is asked.
        output = tmp_path / lock.name
        if not request.config.getoption("--update-docs"):
            output.write_text(lock.read_text())
        result = run(
            *(linters() / "uv", "pip", "compile", "-", "--output-file", output, *COMMAND),
            text="\n".join(requirements),
        )
        assert result.returncode == 0, result.stderr
        content = HEADER + output.read_text().removeprefix(HEADER)
        if request.config.getoption("--update-docs"):
            lock.write_text(content)
        assert content == lock.read_text()


def test_every_line_has_hashes() -> None:
    """Nothing is installed that is not known to the last bit."""
    for lock in LOCKS:
        text = lock.read_text()
        pins = re.split(r"^(?=[a-z0-9])", text.removeprefix(HEADER), flags=re.MULTILINE)[1:]
        assert pins
        for pin in pins:
            assert re.match(
                r"[a-z0-9-]+==\S+ \\\n(    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+$", pin
            )
