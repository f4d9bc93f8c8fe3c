"""Files of runtimes are read below one root, through no link, to a bound."""

import os
from pathlib import Path

import pytest

from cgexporter.kernel import Missing
from cgexporter.names.door import Door
from cgexporter.names.pick import VALUE


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root, with a secret beside it."""
    (tmp_path / "secret").write_text('{"a": "secret"}')
    root = tmp_path / "root"
    (root / "run/c").mkdir(parents=True)
    (root / "run/c/state.json").write_text('{"a": "b"}')
    return root


def test_content_is_zeroed(root: Path) -> None:
    """Nothing of a file stays in its buffer."""
    with Door(str(root)).read("/run/c/state.json", 100) as data:
        assert isinstance(data, bytearray)
        assert bytes(data) == b'{"a": "b"}'
    assert set(data) == {0}


@pytest.mark.parametrize("target", ["{out}/secret", "../../../secret", "/etc/passwd", "state.json"])
def test_links_are_not_followed(root: Path, tmp_path: Path, target: str) -> None:
    """A link is refused wherever it points, also as a directory on the way."""
    (root / "run/link").symlink_to(target.format(out=tmp_path))
    (root / "run/d").symlink_to(tmp_path)
    door = Door(str(root))
    for path in ("/run/link", "/run/d/secret", "/../secret", "/run/../../secret"):
        assert door.pick(path, {"a": VALUE}) is None
        assert door.listed(path) == frozenset()
    assert "symbolic link" in door.problems["/run/link"]


def test_only_regular_files(root: Path) -> None:
    """A FIFO does not make us wait, and a directory or socket is not read."""
    os.mkfifo(root / "run/fifo")
    (root / "run/dir").mkdir()
    door = Door(str(root))
    for name in ("fifo", "dir"):
        with door.read(f"/run/{name}", 100) as data:
            assert data is Missing.UNSUPPORTED
        assert door.problems[f"/run/{name}"] == "not a regular file"


def test_size_is_bounded(root: Path) -> None:
    """A larger file is not read at all."""
    with Door(str(root)).read("/run/c/state.json", 9) as data:
        assert data is Missing.UNSUPPORTED


def test_absent_and_malformed(root: Path) -> None:
    """An absent file is no problem; one of another form is, and says where."""
    (root / "run/c/bad").write_text("{")
    door = Door(str(root))
    assert door.pick("/run/c/none", {}) is None
    assert door.pick("/" + "x" * 300, {}) is None
    assert not door.problems
    assert door.pick("/run/c/bad", {"a": VALUE}) is None
    assert door.problems == {"/run/c/bad": "not JSON at byte 1"}


def test_no_descriptor_is_held(root: Path) -> None:
    """A held directory would make a runtime's unmount fail with EBUSY."""
    before = os.listdir("/proc/self/fd")
    door = Door(str(root))
    door.pick("/run/c/state.json", {"a": VALUE})
    door.listed("/run")
    door.stamp("/run/c/state.json")
    door.owner("/run/c")
    door.link("/run", "c")
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_denied_is_remembered(root: Path) -> None:
    """What may not be read is told, so that the step that allows it can be named."""
    (root / "run/c").chmod(0o700)
    for above in (root, *root.parents):
        above.chmod(above.stat().st_mode | 0o111)
    door = Door(str(root))
    os.seteuid(65534)
    try:
        assert door.pick("/run/c/state.json", {"a": VALUE}) is None
    finally:
        os.seteuid(0)
    assert door.denied == {"/run/c/state.json"}
