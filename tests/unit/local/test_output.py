"""How commands end where their output cannot go."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tools.terminal import recording


def ended(*words: str, **options: object) -> tuple[int, str]:
    """Exit status, and what is on stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "cgexporter", *words],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        **options,  # type: ignore[call-overload]
    )
    return done.returncode, done.stderr


def test_a_full_disk(repository: Path) -> None:
    """That there is no space left is one line, and exit status 1."""
    with open("/dev/full", "w") as full:
        for words in (("--once",), ("inspect", "shop-api"), ("namespaces",)):
            status, said = ended(*words, "--from", recording(repository), stdout=full)
            assert (status, said) == (1, "cgexporter: No space left on device\n")


def test_no_such_directory(tmp_path: Path) -> None:
    """A recording for a directory that is not there is refused before the host is read."""
    status, said = ended("record", f"{tmp_path}/none/host.tar.xz")
    assert (status, said) == (1, f"cgexporter: {tmp_path}/none: there is no such directory\n")


def test_a_pipe_that_is_closed(repository: Path) -> None:
    """`head` may go when it has seen enough."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        status, said = ended("--once", "--from", recording(repository), stdout=writing)
    finally:
        os.close(writing)
    assert (status, said) == (0, "")


@pytest.mark.parametrize("form", ["table", "tree"])
def test_an_encoding_without_letters(form: str, repository: Path) -> None:
    """Where stdout takes ASCII alone, what is not ASCII is replaced."""
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    words = ("--once", "--format", form, "--from", recording(repository))
    assert ended(*words, stdout=subprocess.DEVNULL, env=environment) == (0, "")
