"""`cgexporter namespaces` over captured hosts, and the flags of networks."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from cgexporter.cli import main, parser, settings

Run = Callable[..., str]


@pytest.fixture
def run(fixtures: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command over a captured host."""

    def command(tree: str, *flags: str) -> str:
        root = fixtures / tree
        where = [f"--path.cgroupfs={root}/sys/fs/cgroup", f"--path.procfs={root}/proc"]
        assert main(["namespaces", *where, *flags]) == 0
        return capsys.readouterr().out

    return command


def test_table(run: Run) -> None:
    """A pod's containers share ipc, net and uts; one pod lives in the host's PID namespace."""
    lines = [line.split() for line in run("v2-6.1-kubernetes").splitlines()]
    rows = {words[0]: words[2:] for words in lines if len(words) == 11}
    own = ["own", "pod", "own", "pod", "own", "host", "host", "pod", "0"]
    assert rows["e225add29cab"] == own
    assert rows["093e339ca1b4"] == [*own[:4], "host", *own[5:]]


def test_json(run: Run) -> None:
    """JSON has each container with its inodes, and the pods with what all of them is in."""
    document = json.loads(run("v2-6.1-kubernetes", "--format", "json"))
    (one,) = [m for m in document["containers"] if m["name"] == "e225add29cab"]
    (sandbox,) = [m for m in document["sandboxes"] if m["pod"] == one["pod"]]
    (pod,) = [m for m in document["pods"] if m["name"] == one["pod"]]
    for kind in ("ipc", "net", "uts"):
        inode = one["namespaces"][kind]["inode"]
        assert sandbox["namespaces"][kind]["inode"] == inode
        assert pod["namespaces"][kind]["inode"] == inode
    assert "mnt" not in pod["namespaces"]
    assert one["namespaces"]["user"] == {
        "inode": document["host"]["user"],
        "host": True,
        "pod": False,
        "containers": [],
    }


def test_tree(run: Run) -> None:
    """The tree has a branch for each kind, and who is in each namespace."""
    text = run("v2-6.1-kubernetes", "--format", "tree")
    assert [line for line in text.splitlines() if line.isalpha()] == [
        *("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")
    ]
    assert "e225add29cab" in text


def test_a_captured_host_is_not_counted(run: Run) -> None:
    """Of a tree that has some processes only, it is not known how many namespaces there are."""
    assert json.loads(run("v2-6.1-kubernetes", "--format", "json"))["counts"] == {}


@pytest.mark.parametrize(
    ("arguments", "status", "complaint"),
    [
        (["namespaces", "--format=yaml"], 2, "invalid choice"),
        (["namespaces", "--once"], 2, "unrecognized arguments"),
        (["--network.interface-include=("], 2, "no regular expression"),
        (["--namespaces.sweep-ms=0"], 2, "not a number above 0"),
        (["--namespaces.sweep-ms=x"], 2, "not a number above 0"),
    ],
)
def test_bad_usage(
    arguments: list[str], status: int, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is not understood is said in one line."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == status
    error = capsys.readouterr().err
    assert complaint in error
    assert error.count("\n") == 1


def test_no_host(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where no host is, the command fails with one line."""
    assert main(["namespaces", f"--path.procfs={tmp_path}/none"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("flags", "include", "exclude"),
    [
        ([], ".*", "lo|veth.*"),
        (["--network.interface-include=lo"], "lo", ""),
        (["--network.interface-exclude=x"], ".*", "x"),
        (["--network.interface-include=a.*", "--network.interface-exclude=ab"], "a.*", "ab"),
    ],
)
def test_patterns(flags: list[str], include: str, exclude: str) -> None:
    """A pattern of what to include takes away the default of what not to."""
    network = settings(parser().parse_args(flags)).network
    assert (network.include, network.exclude) == (include, exclude)
