"""Whatever is typed behind a command, there is an answer or one line, and never a traceback."""

import argparse
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from cgexporter.cli import main, parser
from cgexporter.commands import COMMANDS, command
from tests.unit.recording.test_archive import packed, recording

_VALUES = (
    *("", "-", "--", "-1", "0", "1", "2s", "500ms", "99999999999999999999", "nan", "inf", "1e9"),
    *("web", "web*", "name=web", "name!=", "=", "[", "cpu", "json", "table", "tree", "prom"),
    *("a b", "\x1b[31m", "\n", "é", "\udcff", "\0", "/", "/dev/null", ".", "..", "%s", "{}"),
    *("bash", "runc=/x", "docker=/x", "https://x:1", "cpu=pod", "(", ":", ":70000", "[::1]:1"),
)
# They serve, or scan for long: not what is looked for here.
_NOT_ASKED = ("--interval", "--identity.api", "--identity.kubelet", "--identity.socket")


def words_of(grammar: argparse.ArgumentParser) -> list[str]:
    """The flags that a grammar has."""
    return [f for action in grammar._actions for f in action.option_strings if f not in _NOT_ASKED]


def lines(tries: int, seed: int) -> Iterator[list[str]]:
    """Command lines of flags and values as they come."""
    chance = random.Random(seed)
    flags = {name: words_of(command(name).grammar()) for name in COMMANDS}
    main_flags = words_of(parser())
    for _ in range(tries):
        name = chance.choice((*COMMANDS, "", "", "unknown"))
        known = flags.get(name, main_flags)
        words = []
        for _ in range(chance.randrange(6)):
            word = chance.choice(known) if chance.random() < 0.5 else chance.choice(_VALUES)
            if chance.random() < 0.2:
                word = f"{word}={chance.choice(_VALUES)}"
            words.append(word)
        yield ["--once" if name in ("", "unknown") else name, *words]


def test_ten_thousand_command_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit status 0, 1 or 2 as documented; 1 and 2 come with one line on stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("time.sleep", lambda _: None)
    file = tmp_path / "host.tar.xz"
    file.write_bytes(packed(recording()))
    # Nothing is read of this host: what `record` reads is not there.
    nothing = ["--path.procfs", str(tmp_path / "none"), "--path.cgroupfs", str(tmp_path / "none")]
    seen = {0: 0, 1: 0, 2: 0}
    for line in lines(10_000, seed=9):
        end = [] if line[0] in ("completion", "manual") else nothing
        if end and line[0] != "record":
            end = ["--log.level", "error", "--from", str(file)]
        try:
            status = main([*line, *end])
        except SystemExit as exc:
            status = exc.code if isinstance(exc.code, int) else 99
        told = capsys.readouterr()
        assert status in seen, line
        seen[status] += 1
        if status:
            assert told.err.startswith("cgexporter"), line
            assert told.err.rstrip("\n").count("\n") == 0, (line, told.err)
            assert not told.out, line
    assert min(seen.values()) > 100, seen
