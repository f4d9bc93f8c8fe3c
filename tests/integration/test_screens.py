"""The screens in docs/LOCAL.md are what a terminal shows; `--update-docs` takes them anew."""

import re
import shlex
from pathlib import Path

import pytest

from tests.integration.support import program
from tests.tools.terminal import recording, terminal

# A marker, and the screen that stands below it.
_SCREEN = re.compile(
    r"<!-- (screen|top) (\d+)x(\d+)(?:: (.*?))? -->\n(?:\n```text\n.*?\n```\n)?", re.DOTALL
)


def screen(tmux: str, repository: Path, match: re.Match[str]) -> str:
    """What a command draws."""
    kind, columns, lines, words = match.groups()
    shop = recording(repository)
    with terminal(tmux, int(columns), int(lines)) as window:
        if kind == "top":
            window.run("top", "--from", shop, "--interval", "200ms")
            return window.settled("END OF THE RECORDING")
        window.run(*shlex.split(words), "--from", shop)
        shown = window.settled("status 0")
    return shown.partition("\nstatus 0")[0]


def test_screens(request: pytest.FixtureRequest, repository: Path) -> None:
    """Each screen in the document is drawn so today."""
    document = repository / "docs/LOCAL.md"
    tmux = program("tmux", "tmux")

    def drawn(match: re.Match[str]) -> str:
        marker = match[0].partition("\n")[0]
        return f"{marker}\n\n```text\n{screen(tmux, repository, match)}\n```\n"

    text = document.read_text()
    assert len(_SCREEN.findall(text)) >= 5
    again = _SCREEN.sub(drawn, text)
    if request.config.getoption("--update-docs"):
        document.write_text(again)
    assert again == document.read_text()
