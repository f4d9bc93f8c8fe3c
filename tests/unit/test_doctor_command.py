"""`cgexporter doctor`: its output and exit statuses, over captured hosts."""

import json
import random
import re
from pathlib import Path

import pytest

from cgexporter import findings
from cgexporter.cli import main
from cgexporter.commands.doctor import COLLECTORS, grammar
from cgexporter.metrics import METRICS


def _where(fixtures: Path, tree: str) -> list[str]:
    root = fixtures / tree
    return [f"--path.cgroupfs={root}/sys/fs/cgroup", f"--path.procfs={root}/proc"]


def test_text_and_json_say_the_same(fixtures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both formats have every finding, with its limit and what to change."""
    words = ["doctor", "--interval=0.1", *_where(fixtures, "v2-6.1-kubernetes")]
    assert main(words) == 0
    text = capsys.readouterr().out
    assert main([*words, "--format=json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["findings"]
    for finding in document["findings"]:
        assert finding["cause"] in text
        assert finding["change"] in text
        assert all(line in text for line in finding["evidence"])
    assert (
        f"{len(document['findings'])} finding; looked at {document['containers']} containers"
        in text
    )


def test_silence(fixtures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where nothing is wrong, that is what is said."""
    words = ["doctor", "--interval=0.1", "--fail-on=note"]
    assert main([*words, *_where(fixtures, "hybrid-6.18-docker-cgroupfs")]) == 0
    assert capsys.readouterr().out.startswith("Nothing found; looked at 1 container for ")


def test_whatever_findings_look_at_is_read() -> None:
    """A field whose collector is off would keep a finding silent for ever."""
    sources = "".join(file.read_text() for file in Path(findings.__path__[0]).glob("*.py"))
    looked_at = {
        f"{section}.{name}"
        for section, name in re.findall(r"\.(?:number|grown)\(\"(\w+)\", \"(\w+)\"", sources)
    }
    off = {row.field: row.collector for row in METRICS if row.collector not in COLLECTORS}
    assert {"memory.swap_current_bytes", "pressure.io_stalled_seconds"} <= looked_at
    assert not looked_at & off.keys()


@pytest.mark.parametrize(("harm", "status"), [("note", 3), ("critical", 0)])
def test_status(fixtures: Path, harm: str, status: int) -> None:
    """With --fail-on, findings of that harm or more change the exit status."""
    words = ["doctor", "--interval=0.1", f"--fail-on={harm}"]
    assert main([*words, *_where(fixtures, "v2-6.1-kubernetes")]) == status


@pytest.mark.parametrize(
    ("words", "status", "complaint"),
    [
        (["--interval=0"], 2, "no time from 100ms"),
        (["--interval=nan"], 2, "no time from 100ms"),
        (["--interval=x"], 2, "no time from 100ms"),
        (["--fail-on=all"], 2, "invalid choice"),
        (["--format=prom"], 2, "invalid choice"),
        (["--once"], 2, "unrecognized"),
        (["--path.procfs=/no/such"], 1, "no"),
    ],
)
def test_bad_usage(
    words: list[str], status: int, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is not understood is said in one line, with the documented exit status."""
    try:
        ended = main(["doctor", *words])
    except SystemExit as exit_:
        ended = int(exit_.code or 0)
    assert ended == status
    error = capsys.readouterr().err
    assert complaint in error
    assert error.count("\n") == 1


def test_arguments_fuzzed(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever is on the command line, it is understood or refused in one line."""
    choose = random.Random(8)
    flags = ["--interval", "--format", "--fail-on", "--path.procfs", "--identity.socket", "-", "x"]
    values = ["", "0", "1", "1e999", "-1", "json", "note", "\x1b[31m", "docker=", "="]
    statuses = []
    for _ in range(1000):
        words = [
            f"{choose.choice(flags)}{choose.choice(('', '=', ' '))}{choose.choice(values)}"
            for _ in range(choose.randint(0, 3))
        ]
        try:
            grammar().parse_args(words)
            statuses.append(0)
        except SystemExit as ended:
            statuses.append(int(ended.code or 0))
        assert capsys.readouterr().err.count("\n") == (1 if statuses[-1] else 0)
    assert set(statuses) == {0, 2}
