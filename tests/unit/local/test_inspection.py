"""Which container a word means, and what is told of it, in recordings of captured hosts."""

import json
from pathlib import Path

import pytest

from cgexporter.cli import main

_POD = "6379596c-6187-4328-83db-f6b7731d4741"


def told(
    capsys: pytest.CaptureFixture[str], fixtures: Path, tree: str, word: str
) -> list[dict[str, object]]:
    """What `inspect --format json` says."""
    root = fixtures / tree
    paths = ["--path.cgroupfs", f"{root}/sys/fs/cgroup", "--path.procfs", f"{root}/proc"]
    words = ["inspect", word, "--format", "json", "--interval", "100ms", *paths]
    status = main([*words, "--no-identity.logs", "--no-identity.state"])
    out = capsys.readouterr()
    if status:
        assert not out.out
        assert out.err.count("\n") == 1
        raise LookupError(out.err)
    found: list[dict[str, object]] = json.loads(out.out)["containers"]
    return found


@pytest.mark.parametrize(
    "word",
    [
        "f8cc91c7aae2",
        "f8cc",
        "f8cc91c7aae2dc1d5f91b95ac67360cd534668c626a5a004a7a536b7ef1d716d",
        _POD,
    ],
)
def test_names(word: str, capsys: pytest.CaptureFixture[str], fixtures: Path) -> None:
    """An ID, its first digits and the pod mean the same container."""
    (found,) = told(capsys, fixtures, "v2-6.1-kubernetes", word)
    assert found["id"] == "f8cc91c7aae2"


def test_a_process(capsys: pytest.CaptureFixture[str], fixtures: Path) -> None:
    """A PID means the container that the process is in."""
    (found,) = told(capsys, fixtures, "v2-6.1-systemd", "1226")
    assert found["id"] == "847ddf70a7e5"
    assert found["oci_runtime"] == "crun"
    files = {limit["kind"]: limit["file"] for limit in found["limits"]}  # type: ignore[attr-defined]
    for kind, name in (("cpu", "cpu.max"), ("memory", "memory.max"), ("pids", "pids.max")):
        assert files[kind].endswith(f"/libpod-{found['container_id']}.scope/container/{name}")
        assert Path(files[kind]).exists()


def test_an_ancestors_limit(capsys: pytest.CaptureFixture[str], fixtures: Path) -> None:
    """The file that sets the limit is named, also where it is of a cgroup above."""
    for tree in ("v2-6.1-kubernetes", "hybrid-6.1-systemd", "v1-6.1-docker"):
        root = fixtures / tree
        found = json.loads((fixtures.parent / f"golden/{tree}.json").read_text())["containers"]
        for container in found:
            (one,) = told(capsys, fixtures, tree, container["cgroup"])
            effective = container["effective"]
            for limit in one["limits"]:  # type: ignore[attr-defined]
                kind, file = limit["kind"], limit.get("file")
                by = effective.get(f"{kind}_limit_by")
                assert (file is None) == (by in (None, "machine"))
                if file is not None:
                    assert Path(file).is_relative_to(root)
                    assert Path(file).read_text().strip() not in ("max", "-1")
                    assert (
                        limit["effective"]
                        == effective[
                            {"cpu": "cpu_limit_cores", "memory": "memory_limit_bytes"}.get(
                                kind, "pids_limit"
                            )
                        ]
                    )


def test_ancestors_come_from_the_root(capsys: pytest.CaptureFixture[str], fixtures: Path) -> None:
    """All cgroups above are told, the root first."""
    (found,) = told(capsys, fixtures, "v2-6.1-kubernetes", _POD)
    paths = [each["cgroup"] for each in found["ancestors"]]  # type: ignore[attr-defined]
    assert paths[:2] == ["/", "/kubepods.slice"]
    assert str(found["cgroup"]).startswith(paths[-1])


@pytest.mark.parametrize(
    ("word", "why"),
    [
        ("nobody", "no container, pod or process in a container is 'nobody'; there are "),
        ("", "no container"),
        ("999999999999999999999", "no container"),
        ("\x1b[31m", "no container"),
        ("f8cc91c7aae2x", "no container"),
    ],
)
def test_nobody(word: str, why: str, capsys: pytest.CaptureFixture[str], fixtures: Path) -> None:
    """A word that means none is answered with those there are."""
    with pytest.raises(LookupError, match=why) as caught:
        told(capsys, fixtures, "v2-6.1-kubernetes", word)
    assert "\x1b" not in str(caught.value)


def test_ambiguous(capsys: pytest.CaptureFixture[str], fixtures: Path) -> None:
    """A word that means several is answered with their cgroups, each of which means one."""
    with pytest.raises(LookupError, match="is 2 containers: ") as caught:
        told(capsys, fixtures, "v2-6.1-kubepods-runc", "a" * 64)
    for path in str(caught.value).partition("containers: ")[2].strip().split(", "):
        (found,) = told(capsys, fixtures, "v2-6.1-kubepods-runc", path)
        assert found["cgroup"] == path
