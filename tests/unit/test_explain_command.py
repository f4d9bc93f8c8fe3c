"""`cgexporter explain`: its output, and bad input of every kind."""

import io
import json
import random
import sys
from pathlib import Path

import pytest
import yaml

from cgexporter.cli import main
from tests.tools.enforced import DOCKER
from tests.tools.kubelet_pods import PODS, manifest

_TRIES = 10_000
_DEPLOYMENT = """\
kind: Deployment
metadata: {name: cart, namespace: shop}
spec: {template: {spec: {containers: [{name: app, resources: {limits: {cpu: 500m}}}]}}}
"""


@pytest.fixture
def deployment(tmp_path: Path) -> str:
    """The name of a file with a manifest."""
    file = tmp_path / "deployment.yaml"
    file.write_text(_DEPLOYMENT)
    return str(file)


def test_text(deployment: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Text has a line for each file, one after the other."""
    assert main(["explain", "-f", deployment]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Deployment shop/cart\n")
    assert "    v2  cpu.max = 50000 100000\n" in out
    assert "        cpu.cfs_quota_us = 50000\n" in out


def test_formats_say_the_same(deployment: str, capsys: pytest.CaptureFixture[str]) -> None:
    """JSON and YAML hold one document, with every file."""
    for words in (["-f", deployment], ["docker", "run", "--cpus", "0.5", "x"]):
        found = []
        for form, load in (("json", json.loads), ("yaml", yaml.safe_load)):
            assert main(["explain", "--format", form, *words]) == 0
            found.append(load(capsys.readouterr().out))
        assert found[0] == found[1]
        settings = found[0]["explanations"][0]["cgroups"][-1]["settings"]
        files = [line["file"] for one in settings for line in one["v2"]]
        assert "cpu.max" in files


def test_stdin(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """- reads the manifest from stdin."""
    stdin = io.TextIOWrapper(io.BytesIO(_DEPLOYMENT.encode()))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert main(["explain", "-f", "-", "--node.memory", "16Gi"]) == 0
    assert "oom_score_adj = 999" in capsys.readouterr().out


def _end(words: list[str]) -> int:
    """Run it; anything but an exit status is a traceback."""
    try:
        return main(words)
    except SystemExit as ended:
        return int(ended.code or 0)


@pytest.mark.parametrize(
    ("words", "status", "complaint"),
    [
        ([], 2, "explain what?"),
        (["-f", "x", "docker", "run"], 2, "explain what?"),
        (["--node.memory", "1Gi", "docker", "run"], 2, "goes with -f"),
        (["--node.memory", "x", "-f", "x"], 2, "no quantity"),
        (["--format", "prom", "docker", "run"], 2, "invalid choice"),
        (["podman", "run"], 1, "begin with `docker run`"),
        (["docker", "run", "--memory", "1m"], 1, "--memory: 1m is less than"),
        (["docker", "run", "--memory", "\x1b[31m"], 1, "--memory"),
        (["-f", "/no/such"], 1, "/no/such: No such file"),
        (["-f", "/"], 1, "/: Is a directory"),
        (["-f", "\x00"], 1, "null byte"),
        (["-f", "/dev/null"], 1, "/dev/null: no pod and no template of pods, nothing"),
        (["-f", "/dev/zero"], 1, "more than 4 MiB"),
    ],
)
def test_bad_usage(
    words: list[str], status: int, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is not understood is said in one line, with the documented exit status."""
    assert _end(["explain", *words]) == status
    error = capsys.readouterr().err
    assert complaint in error
    assert error.count("\n") == 1
    assert "\x1b" not in error


_ODD = (
    "",
    "-",
    "--",
    "=",
    "0",
    "-1",
    "1e9",
    "9" * 30,
    "\x00",
    "\x1b[0m",
    "\udcff",
    "\u017f",
    "\u0661",
    "{}",
)


def _mutated(choose: random.Random, text: str) -> str:
    """Some text with a few changes of all kinds."""
    for _ in range(choose.randint(1, 4)):
        place = choose.randrange(len(text) + 1)
        match choose.randrange(5):
            case 0:
                text = text[:place] + choose.choice(_ODD) + text[place:]
            case 1:
                text = text[:place] + text[place + choose.randint(1, 12) :]
            case 2:
                text = text[:place] + chr(choose.randrange(0x250)) + text[place:]
            case 3:
                text = text[:place] + text[: choose.randint(0, 40)] + text[place:]
            case _:
                text = text[:place] + choose.choice("\n :{}[]&*!|>'\"#%@`,.") + text[place:]
    return text


def test_options_fuzzed(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever is on the command line, it ends with a status and at most one line."""
    choose = random.Random(20241124)
    lines = [line.replace("{disk}", "/dev/vda").replace("{parent}", "/p") for line in DOCKER]
    statuses = set()
    for _ in range(_TRIES // 2):
        words = _mutated(choose, choose.choice(lines)).split(" ")
        status = _end(["explain", "--format=json", "docker", "run", *words])
        error = capsys.readouterr().err
        assert error.count("\n") == (1 if status else 0), error
        statuses.add(status)
    assert statuses == {0, 1}


def test_manifests_fuzzed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever a manifest holds, it ends with a status and at most one line."""
    choose = random.Random(4211420)
    texts = [manifest(name, "lab:1") for name in PODS] + [_DEPLOYMENT]
    statuses = set()
    for _ in range(_TRIES // 2):
        data = _mutated(choose, choose.choice(texts)).encode("utf-8", "surrogateescape")
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        status = _end(["explain", "--format=json", "-f", "-"])
        error = capsys.readouterr().err
        assert error.count("\n") == (1 if status else 0), error
        statuses.add(status)
    assert statuses == {0, 1}
