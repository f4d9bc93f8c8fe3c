"""What the kernel tells between scans spares reading, and never a change."""

import logging
import mmap
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cgexporter import files, inotify, walker
from cgexporter.hierarchies import Hierarchies, Hierarchy
from cgexporter.inotify import Inotify, Notices, Unwatched
from cgexporter.scan import Scanner

Replace = Callable[..., None]
ONE, TWO = "/docker/" + "a1" * 32, "/docker/" + "b2" * 32

real_open = os.open


class Host:
    """A v2 host of plain files, and a scanner that heeds what the kernel tells."""

    def __init__(self, directory: Path, max_open_files: int) -> None:
        self.top = directory / "cg"
        self.top.mkdir()
        for path in ("", "/docker", ONE, TWO):
            self.make(path)
        tree = Hierarchy(str(self.top), "/", frozenset(), unified=True)
        self.scanner = Scanner(
            Hierarchies(tree, {}, f"{directory}/proc"), max_open_files=max_open_files
        )

    def make(self, path: str) -> None:
        """Make a cgroup."""
        directory = Path(f"{self.top}{path}")
        directory.mkdir(exist_ok=True)
        (directory / "cgroup.procs").write_text("")
        self.write(path, "memory.current", "4096\n")
        self.write(path, "memory.max", "8192\n")

    def write(self, path: str, file: str, content: str) -> None:
        """Write over what is there in one system call, as one writes to the kernel's files."""
        fd = os.open(f"{self.top}{path}/{file}", os.O_WRONLY | os.O_CREAT, 0o644)
        os.write(fd, content.encode())
        os.close(fd)

    def limits(self) -> dict[str, float | None]:
        """The memory limit of each cgroup in a new scan."""
        return {
            path: cgroup.memory.max_bytes if cgroup.memory else None
            for path, cgroup in self.scanner.scan().cgroups.items()
        }

    def settle(self) -> None:
        """Scan until files and directories are looked at again in each 64th scan only."""
        for _ in range(70):
            self.scanner.scan()


@pytest.fixture(params=[0, 1000], ids=lambda bound: f"{bound} open files")
def host(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Host]:
    """A host whose scanner has settled."""
    host = Host(tmp_path, request.param)
    host.scanner.heed_notices()
    host.settle()
    yield host
    host.scanner.close()


@pytest.fixture
def not_due(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing has its turn to be looked at again."""
    monkeypatch.setattr(walker, "is_due", lambda *_: False)
    monkeypatch.setattr(files, "next_due", lambda *_: sys.maxsize)
    host.settle()  # each file had its last turn


@pytest.fixture
def opened(replace_calls: Replace) -> list[str]:
    """Names of files as they are opened."""
    names: list[str] = []

    def opening(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        names.append(path)
        return real_open(path, flags, mode, dir_fd=dir_fd)

    replace_calls(open=opening)
    return names


def test_a_limit_that_is_written_is_in_the_next_scan(host: Host) -> None:
    """Whatever is written, and however often, the next scan has it."""
    for limit in range(1001, 1041):
        host.write(ONE, "memory.max", f"{limit}\n")
        assert host.limits() == {"/": 8192, "/docker": 8192, ONE: limit, TWO: 8192}


@pytest.mark.usefixtures("not_due")
def test_a_limit_that_nobody_writes_is_not_read(host: Host, opened: list[str]) -> None:
    """Limits are neither held open nor opened again while nobody writes to the directory."""
    held = host.scanner.descriptors.held
    assert held in (0, 4)  # memory.current of each
    host.limits()
    assert "memory.max" not in opened
    host.write(ONE, "memory.max", "1001\n")
    host.limits()
    assert opened.count("memory.max") == 1
    assert host.scanner.descriptors.held == held


def test_counters_are_read_in_each_scan(host: Host) -> None:
    """Nobody tells of a counter."""
    host.write(ONE, "memory.current", "5120\n")
    memory = host.scanner.scan().cgroups[ONE].memory
    assert memory is not None
    assert memory.current_bytes == 5120


@pytest.mark.usefixtures("not_due")
def test_what_the_kernel_counts_is_no_write(host: Host, opened: list[str]) -> None:
    """The kernel says of each event that its file was modified: limits are not read for that."""
    host.write(ONE, "memory.events", "oom_kill 1\n")
    host.limits()
    opened.clear()
    host.write(ONE, "memory.events", "oom_kill 2\n")
    host.limits()
    assert "memory.max" not in opened


@pytest.mark.usefixtures("not_due")
def test_the_tree_is_listed_where_something_was_made(host: Host, replace_calls: Replace) -> None:
    """New, removed and renamed cgroups are in the next scan; else nothing is listed."""
    listed: list[str] = []
    real_scandir, real_listdir = os.scandir, os.listdir

    def scandir(path: str) -> object:
        listed.append(path)
        return real_scandir(path)

    def listdir(path: str) -> list[str]:
        listed.append(path)
        return real_listdir(path)

    replace_calls(scandir=scandir, listdir=listdir)
    host.limits()
    assert listed == []
    host.make("/new")
    host.make(f"{ONE}/below")  # of what was a leaf
    assert host.limits().keys() == {"/", "/docker", ONE, TWO, "/new", f"{ONE}/below"}
    os.rename(f"{host.top}/new", f"{host.top}/newer")
    assert "/newer" in host.limits()
    shutil.rmtree(host.top / "newer")
    assert "/newer" not in host.limits()


def test_a_cgroup_made_again_is_watched_again(host: Host) -> None:
    """Another directory under the same name is read, and its limits are heeded."""
    for limit in (1001, 1002, 1003):
        # Not removed, for other file systems than the kernel's give an inode's number again.
        os.rename(f"{host.top}{ONE}", f"{host.top}.{limit}")
        host.make(ONE)
        host.write(ONE, "memory.max", f"{limit}\n")
        assert host.limits()[ONE] == limit
        host.settle()
        host.write(ONE, "memory.max", f"{limit + 7}\n")
        assert host.limits()[ONE] == limit + 7


def test_no_watch_outlives_its_cgroup(host: Host) -> None:
    """A thousand cgroups that came and went leave nothing behind."""
    notices = host.scanner.notices
    assert notices is not None
    before = len(notices)
    assert before == 4
    for number in range(100):
        host.make(f"/docker/{number:064x}")
        host.limits()
        shutil.rmtree(f"{host.top}/docker/{number:064x}")
    host.limits()
    assert len(notices) == before


@pytest.mark.parametrize("why", [Unwatched.OUT_OF_WATCHES, Unwatched.DENIED])
def test_what_cannot_be_watched_is_read(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    why: Unwatched,
) -> None:
    """Without watches each scan reads everything, and says once why."""
    monkeypatch.setattr(Inotify, "add", lambda *_: why)
    host = Host(tmp_path, 0)
    host.scanner.heed_notices()
    with caplog.at_level(logging.INFO):
        host.settle()
        host.write(ONE, "memory.max", "1001\n")
        host.make("/new")
        assert host.limits()[ONE] == 1001
        assert "/new" in host.limits()
    assert sum(why.value in message for message in caplog.messages) == 1
    host.scanner.close()


def test_lost_notifications(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an overflow everything is read."""
    overflow = inotify._HEADER.pack(-1, inotify.OVERFLOW, 0, 0)
    told = iter([overflow])
    monkeypatch.setattr(Inotify, "take", lambda _: next(told, b""))
    host.write(ONE, "memory.max", "1001\n")
    host.make("/new")
    limits = host.limits()
    assert limits[ONE] == 1001
    assert "/new" in limits


def test_a_flood_is_not_looked_through(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever writes all the time costs the others one reading of everything, no more."""
    one = inotify._HEADER.pack(1 << 30, inotify.MODIFY, 0, 0)
    monkeypatch.setattr(Inotify, "take", lambda _: one * 4096)  # for ever
    host.write(ONE, "memory.max", "1001\n")
    assert host.limits()[ONE] == 1001


def test_value_that_comes_again(tmp_path: Path) -> None:
    """What was read once by itself, for a limit was written, is not what was read ahead last."""
    host = Host(tmp_path, 1000)
    host.scanner.heed_notices()
    host.scanner.read_ahead()
    host.settle()

    def current(value: int) -> float | None:
        """What is seen once the kernel counts this; nothing tells of it."""
        place = tmp_path / f"cg{ONE}/memory.current"
        with place.open("r+b") as file, mmap.mmap(file.fileno(), 0) as content:
            content[:4] = b"%d" % value
        memory = host.scanner.scan().cgroups[ONE].memory
        return memory.current_bytes if memory else None

    for number in range(70):
        assert current(1111) == 1111
        host.write(ONE, "memory.max", f"{1000 + number}\n")
        assert current(2222) == 2222
        assert current(1111) == 1111
    host.scanner.close()


def test_nothing_is_kept_of_what_is_only_listed(tmp_path: Path) -> None:
    """Where nobody reads a file, what is written is no news, however much comes and goes there."""
    notices = Notices(100)
    listed, both = tmp_path / "listed", tmp_path / "both"
    for place in (listed, both):
        place.mkdir()
    watch = notices.watch(str(listed))
    reader, lister = notices.watch(str(both), reads=True), notices.watch(str(both))
    assert watch is not None
    assert reader is not None
    assert reader is lister
    for number in range(50):
        reader.written = watch.relisted = reader.relisted = False
        for place in (listed, both):
            (place / f"{number}").mkdir()
        (listed / "memory.max").write_text("1")
        notices.look()
        assert not notices.told()
        assert watch.relisted
        assert reader.relisted
        (both / "memory.max").write_text("1")
        notices.look()
        assert notices.told()
        assert reader.written
        assert len(notices._written) == 1
    notices.drop(reader, reads=True)
    (both / "memory.max").write_text("2")
    notices.look()
    assert not notices.told()
    notices.close()


@pytest.mark.parametrize("ahead", [False, True])
def test_nothing_is_kept_of_who_is_gone(tmp_path: Path, ahead: bool) -> None:
    """What was told of cgroups that came and went is forgotten with them."""
    host = Host(tmp_path, 1000)
    host.scanner.heed_notices()
    if ahead:
        host.scanner.read_ahead()
    host.settle()
    notices = host.scanner.notices
    assert notices is not None
    for number in range(100):
        path = f"/docker/{number:064x}"
        host.make(path)
        assert path in host.limits()
        host.write(path, "memory.max", "1001\n")
        shutil.rmtree(f"{host.top}{path}")
        assert path not in host.limits()
    host.limits()
    assert not notices.told()
    assert len(notices._written) + len(notices._doubted) == 0
    host.scanner.close()


def test_changes_that_nothing_tells_of(
    host: Host, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where a limit changed and nothing told of it, nothing is believed from then on."""
    monkeypatch.setattr(Inotify, "take", lambda _: b"")
    host.write(ONE, "memory.max", "1001\n")
    found = [host.limits()[ONE] for _ in range(65)]
    assert found[-1] == 1001  # it is read each 64th time in any case
    assert caplog.messages == ["limits change and nothing tells of it: they are read in each scan"]
    host.write(ONE, "memory.max", "1002\n")
    assert host.limits()[ONE] == 1002


def test_a_write_while_the_scan_runs_is_no_surprise(
    host: Host, replace_calls: Replace, caplog: pytest.LogCaptureFixture
) -> None:
    """What is told a moment late is told all the same."""
    wrote: list[str] = []

    def opening(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if path == "memory.max" and not wrote:
            wrote.append(path)
            for each in (ONE, TWO, "/docker", "/"):
                with open(f"{host.top}{each}/memory.max", "r+") as file:
                    file.write("1001")
        return real_open(path, flags, mode, dir_fd=dir_fd)

    replace_calls(open=opening)
    for _ in range(70):
        host.limits()
    assert wrote
    assert caplog.messages == []


def test_who_waits_to_be_watched_is_soon(
    tmp_path: Path, replace_calls: Replace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes some scans where there is much to watch, and not until all is looked at again."""
    monkeypatch.setattr(inotify.Notices, "_SECONDS_A_SCAN", 1e-9)  # one directory a scan
    host = Host(tmp_path, 0)
    host.scanner.heed_notices()
    read: set[str] = set()

    def opening(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        read.add(path.removeprefix("./"))
        return real_open(path, flags, mode, dir_fd=dir_fd)

    for _ in range(10):  # four directories, watched to be listed and to be read
        host.limits()
    replace_calls(open=opening)
    assert host.limits()[ONE] == 8192
    assert f"{ONE[1:]}/memory.current" in read
    assert f"{ONE[1:]}/memory.max" not in read
    host.write(ONE, "memory.max", "1001\n")
    assert host.limits()[ONE] == 1001
    host.scanner.close()


def test_watching_is_spread_over_scans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once watching took its time of a scan, the rest is left to later ones."""
    monkeypatch.setattr(inotify.Notices, "_SECONDS_A_SCAN", 0.0)
    notices = inotify.Notices(10)
    assert notices.watch(str(tmp_path)) is None
    monkeypatch.setattr(inotify.Notices, "_SECONDS_A_SCAN", 1e-9)
    notices.look()
    (tmp_path / "other").mkdir()
    assert notices.watch(str(tmp_path)) is not None
    assert notices.watch(str(tmp_path / "other")) is None
    notices.look()
    assert notices.watch(str(tmp_path / "other")) is not None
    notices.close()
