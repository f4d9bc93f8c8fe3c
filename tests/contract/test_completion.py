"""Completion and manual page: printed from the grammars, and taken by those who read them."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from cgexporter.cli import main
from cgexporter.commands import COMMANDS


def tool(name: str, package: str) -> str:
    """An installed program; in CI it must be there."""
    found = shutil.which(name)
    if found is None:
        reason = f"{name} is missing (Debian package {package}): python3 dev.py tools"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def script(shell: str, directory: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """The completion script of a shell."""
    assert main(["completion", shell]) == 0
    file = directory / f"completion.{shell}"
    file.write_text(capsys.readouterr().out)
    return file


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["ins"], ["inspect"]),
        ([""], list(COMMANDS)),
        (["--once", "--format", "t"], ["table", "tree"]),
        (["namespaces", "--format", "t"], ["table", "tree"]),
        (["inspect", "--format", "t"], ["table"]),
        (["--collector.memory_s"], ["--collector.memory_stat", "--collector.memory_swap"]),
        (["completion", ""], ["bash", "fish", "zsh", "-h", "--help"]),
        (["top", "--so"], ["--sort"]),
        (["--once", "--from", "a-f"], ["a-file"]),
        (["record", "a-f"], ["a-file"]),
    ],
)
def test_bash(
    words: list[str], wanted: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bash completes commands, flags, choices and files."""
    file = script("bash", tmp_path, capsys)
    (tmp_path / "a-file").touch()
    line = " ".join(f"'{word}'" for word in ["cgexporter", *words])
    ask = (
        f"source {file}; COMP_WORDS=({line}); COMP_CWORD={len(words)}; _cgexporter; "
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        [tool("bash", "bash"), "--norc", "-uc", ask],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert not done.stderr
    assert sorted(done.stdout.split()) == sorted(wanted)


def test_fish(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Fish completes commands, flags and choices, and tells what each is."""
    file = script("fish", tmp_path, capsys)

    def complete(line: str) -> dict[str, str]:
        done = subprocess.run(
            [tool("fish", "fish"), "--no-config", "-c", f"source {file}; complete -C '{line}'"],
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LC_ALL": "C.UTF-8"},
            capture_output=True,
            text=True,
            check=True,
        )
        return dict(line.partition("\t")[::2] for line in done.stdout.splitlines())

    assert complete("cgexporter ") == COMMANDS
    assert complete("cgexporter namespaces --format ").keys() == {"table", "tree", "json"}
    assert "scan" in complete("cgexporter top --inter")["--interval"]
    assert "--once" in complete("cgexporter --on")
    assert "--once" not in complete("cgexporter top --on")


def test_zsh(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Zsh takes the script, and offers what it says."""
    file = script("zsh", tmp_path, capsys)
    # Of what _arguments and _describe would be asked, without a terminal.
    ask = (
        f'_arguments() {{ print -rl -- "$@" }}; _describe() {{ print -rl -- ${{(P)2}} }}; '
        f"words=(cgexporter inspect x); CURRENT=3; source {file}; "
        f"words=(cgexporter ''); CURRENT=2; _cgexporter"
    )
    done = subprocess.run(
        [tool("zsh", "zsh"), "-fc", ask], capture_output=True, text=True, check=True
    )
    assert not done.stderr
    assert "*--format[for people (default), or JSON]:table|json:(table json)" in done.stdout
    assert "inspect:print everything that is known about one container" in done.stdout


def test_manual(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The manual page is without fault, and has every command and flag."""
    assert main(["manual"]) == 0
    page = tmp_path / "cgexporter.1"
    page.write_text(capsys.readouterr().out)
    mandoc = tool("mandoc", "mandoc")
    lint = subprocess.run([mandoc, "-Tlint", page], capture_output=True, text=True, check=False)
    # The page is no part of the base system, whose pages mandoc looks for.
    found = [line for line in lint.stdout.splitlines() if "referenced manual" not in line]
    assert found == []
    shown = subprocess.run(
        [mandoc, "-Tascii", "-Owidth=200", page], capture_output=True, text=True, check=True
    ).stdout
    # Bold is a letter, a backspace and the letter again.
    text = "".join(c for n, c in enumerate(shown) if c != "\b" and shown[n + 1 : n + 2] != "\b")
    for word in (*COMMANDS, "--once", "--web.listen-address", "--from", "--scans", "EXIT STATUS"):
        assert word in text
