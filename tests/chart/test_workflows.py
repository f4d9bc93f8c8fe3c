"""The Dockerfile and GitHub's workflows to those who judge them. None has run on GitHub yet."""

import re
import shutil
from pathlib import Path

import pytest

from tests.tools.toolbox import done, go_program, linters, run, unavailable

pytestmark = pytest.mark.timeout(1500)


def test_hadolint(repository: Path) -> None:
    """Hadolint finds nothing in the Dockerfile."""
    done(linters() / "hadolint", repository / "Dockerfile")


def test_actionlint(repository: Path) -> None:
    """Workflows are what GitHub understands, and their commands what a shell does."""
    workflows = sorted((repository / ".github/workflows").iterdir())
    if shutil.which("shellcheck") is None:
        unavailable("shellcheck is not installed (Debian package shellcheck)")
    done(go_program("actionlint"), "-pyflakes=", *workflows, cwd=repository)


def test_zizmor(repository: Path, tmp_path: Path) -> None:
    """No workflow can be made to do what it should not, as far as zizmor sees offline."""
    folder = repository / ".github"
    config = ("--config", folder / "zizmor.yml")
    command = (linters() / "zizmor", "--offline", "--persona=pedantic", *config)
    done(*command, folder / "workflows")
    careless = tmp_path / "test.yml"
    text = (folder / "workflows/test.yml").read_text()
    careless.write_text(text.replace("run: .ci/run", "run: echo ${{ github.head_ref }}"))
    assert run(*command, careless).returncode


def test_actions_are_pinned(repository: Path) -> None:
    """Each action is named by commit, the same one everywhere, with its version beside it."""
    seen: dict[str, str] = {}
    for workflow in (repository / ".github/workflows").iterdir():
        for line in re.findall(r"uses: (.*)", workflow.read_text()):
            pin = re.fullmatch(r"([\w.-]+/[\w./-]+)@([0-9a-f]{40} # v\d+(?:\.\d+)*)", line)
            assert pin, line
            assert seen.setdefault(pin[1], pin[2]) == pin[2], line
    assert len(seen) > 5
