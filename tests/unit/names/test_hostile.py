"""Names are hostile: any bytes, links to anywhere, forged paths."""

import json
import os
import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as text_format

from cgexporter.names import door
from cgexporter.own import page
from cgexporter.publish import Format
from tests.tools.hosts import Host, docker, hex_id

# In the names of cgroups, files and labels: whatever a kernel or runtime lets through.
_NAMES = st.text(
    st.characters(codec=None, exclude_characters="/\0", exclude_categories=()), min_size=1
).filter(lambda name: name not in (".", "..") and len(os.fsencode(_clean(name))) < 200)
_LINKS = ("/etc/passwd", "../../../../outside/secret", "state.json", "/", "..", "/proc/self/mem")


def _clean(name: str) -> str:
    """A name that the file system takes: bytes that are not UTF-8 as single surrogates."""
    return name.encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Where each file and directory that is opened for names really is."""
    places: list[str] = []
    real = os.open

    def open_(path: str, flags: int, *more: int, dir_fd: int | None = None) -> int:
        fd = real(path, flags, *more, dir_fd=dir_fd)
        places.append(os.readlink(f"/proc/self/fd/{fd}"))
        return fd

    class Traced:
        """os, with an open that tells."""

        def __getattr__(self, name: str) -> object:
            return open_ if name == "open" else getattr(os, name)

    monkeypatch.setattr(door, "os", Traced())
    return places


def _check(host: Host, opened: list[str]) -> dict[str, str]:
    """Scan; both formats are valid, and nothing outside the root was opened.

    Returns:
        Names of containers by cgroup.
    """
    opened.clear()
    exporter = host.exporter(labels=frozenset({"team"}))
    view = exporter.name(exporter.look())
    for form, parse in ((Format.TEXT, text_format), (Format.OPENMETRICS, openmetrics)):
        families = list(parse(page(exporter, view, form).decode()))
        series = [
            (sample.name, *sorted(sample.labels.items()))
            for family in families
            for sample in family.samples
        ]
        assert len(set(series)) == len(series)
    exporter.close()
    assert opened
    root = str(host.root)
    assert not [place for place in opened if place != root and not place.startswith(root + "/")]
    return {c.cgroup.path: c.name for c in view.found if c.name is not None}


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(names=st.lists(_NAMES, min_size=5, max_size=5), values=st.lists(st.text(), min_size=3))
def test_any_names(opened: list[str], names: list[str], values: list[str]) -> None:
    """1,000 names (200 times 5) of cgroups, containers, labels, files and links do no harm."""
    with tempfile.TemporaryDirectory() as directory:
        _any_names(Host(Path(directory)), opened, names, values)


def _any_names(host: Host, opened: list[str], names: list[str], values: list[str]) -> None:
    cgroup, id_, log, label, link = (_clean(name) for name in names)
    host.cgroup(docker("good"))
    host.docker(hex_id("good"), "good")
    for path in (f"/{cgroup}", f"/runc-{id_}.scope", f"/lxc.payload.{cgroup}", docker("odd")):
        host.cgroup(path)
    host.runc("/run/runc", id_, f"/runc-{id_}.scope")
    host.docker(hex_id("odd"), values[0], Labels={"team": values[1], label: values[2]})
    logs = host.root / "var/log/containers"
    logs.mkdir(parents=True)
    (logs / f"{log[:100]}_{hex_id('odd')}.log").symlink_to("/etc/passwd")
    (host.root / "run/runc" / f"{link[:40]}x").symlink_to("/etc")
    named = _check(host, opened)
    assert named[docker("good")] == "good"


@pytest.mark.parametrize("seen", [False, True], ids=["no processes", "processes"])
def test_forged_trees(tmp_path: Path, opened: list[str], *, seen: bool) -> None:
    """1,000 forged cgroups and files take nobody's name, and no link leads outside.

    Where processes are seen, each container keeps its samples: none that was forged in it counts.
    """
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text(json.dumps({"ID": hex_id("t0"), "Name": "/stolen"}))
    host = Host(tmp_path)
    choose = random.Random(5)
    true = {}
    for number in range(40):
        path = docker(f"t{number}")
        host.cgroup(path, 100 + number if seen else None)
        if seen:
            host.process(100 + number)
        host.docker(hex_id(f"t{number}"), f"true-{number}")
        true[path] = f"true-{number}"
    user = "/user.slice/user-1000.slice/user@1000.service"
    for number in range(1000):
        claimed = choose.randrange(40)
        inside = docker(f"t{choose.randrange(40)}")
        forged = choose.choice(
            (
                f"{inside}/docker-{hex_id(f't{claimed}')}.scope",
                f"{inside}/deep-{number}/docker/{hex_id(f't{claimed}')}",
                f"{inside}/kubepods/podx{number}/{hex_id(f't{claimed}')}",
                f"{user}/docker-{hex_id(f't{claimed}')}.scope",
                f"{user}/{number}.slice/docker-{hex_id(f't{claimed}')}.scope",
            )
        )
        mine = seen and forged.startswith(inside) and number % 3 > 0
        host.cgroup(forged, 1000 + number if mine else None)
        if mine:
            host.process(1000 + number)
        link = host.root / "run/runc" / f"forged-{number}"
        link.parent.mkdir(parents=True, exist_ok=True)
        target = choose.choice(_LINKS)
        if number % 2:
            link.symlink_to(target)
        else:
            link.mkdir()
            (link / "state.json").symlink_to(target)
    _disown(host.cgroupfs / user.lstrip("/"))
    named = _check(host, opened)
    assert {path: name for path, name in named.items() if path in true} == true
    assert set(named) == set(true)
    if seen:
        exporter = host.exporter()
        view = exporter.look()
        exporter.close()
        assert not view.holders
        assert {c.cgroup.path for c in view.containers} >= set(true)
        assert all(c.cgroup.path in true or user in c.cgroup.path for c in view.found)
        assert view.unproven > 400


def test_a_user_names_his_own_containers_only(tmp_path: Path, opened: list[str]) -> None:
    """State below a user's runtime directory counts in that user's tree and nowhere else."""
    if os.geteuid() != 0:
        pytest.skip("needs root to give files to another user")
    host = Host(tmp_path)
    user = "/user.slice/user-1000.slice/user@1000.service"
    own = f"{user}/user.slice/libpod-{hex_id('own')}.scope"
    host.cgroup(own)
    host.cgroup(docker("web"))
    host.docker(hex_id("web"), "web")
    for id_, cgroup in ((hex_id("web"), docker("web")), ("mine", docker("web")), ("own", own)):
        host.runc("/run/user/1000/runc", id_, cgroup)
    _disown(host.root / "run/user/1000")
    _disown(host.cgroupfs / user.lstrip("/"))
    named = _check(host, opened)
    assert named == {docker("web"): "web", own: "own"}
    (host.root / "run/user/1000/runc/own/state.json").unlink()
    assert _check(host, opened) == {docker("web"): "web"}


def _disown(directory: Path) -> None:
    """Give a tree to uid 1000, where we may; otherwise it stays as trusted as the rest."""
    if os.geteuid() == 0:
        for path in (directory, *directory.rglob("*")):
            os.chown(path, 1000, 1000, follow_symlinks=False)
