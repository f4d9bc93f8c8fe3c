"""What documents show as the output of an example is what the example prints."""

import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest

from cgexporter.cli import main

_EXAMPLE = re.compile(
    r"<!-- run -->\n```sh\n(?P<command>.*?)```\n\n<!-- output -->\n```text\n(?P<output>.*?)```\n",
    re.DOTALL,
)


@pytest.mark.parametrize("name", ["EXPLAIN.md"])
def test_printed_output(
    name: str, request: pytest.FixtureRequest, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each output that is shown is what its command prints; `dev.py docs` writes it."""
    monkeypatch.chdir(repository)
    document = repository / "docs" / name

    def printed(example: re.Match[str]) -> str:
        output = io.StringIO()
        words = shlex.split(example["command"].replace("\\\n", " "))
        with contextlib.redirect_stdout(output):
            assert main(words[1:]) == 0
        start, end = (place - example.start() for place in example.span("output"))
        return f"{example[0][:start]}{output.getvalue()}{example[0][end:]}"

    text = document.read_text()
    made, count = _EXAMPLE.subn(printed, text)
    if request.config.getoption("--update-docs"):
        document.write_text(made)
    assert made == text
    assert count
