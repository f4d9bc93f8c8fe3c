"""Scanning trees: what stays the same, what vanishes, and what cannot be read."""

import errno
import itertools
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from cgexporter import scan
from cgexporter.correlate.identity import owns_below, rank
from cgexporter.hierarchies import Hierarchies, Hierarchy
from cgexporter.kernel import Missing
from cgexporter.model import SECTIONS, FileSupport, Mode
from cgexporter.model.cpu import Cpu
from cgexporter.model.memory import Memory
from cgexporter.model.tasks import Pids
from cgexporter.scan import Scanner, ScanTimeoutError
from cgexporter.walker import EVERY

Lay = Callable[[Mapping[str, str]], Path]
Count = Callable[[], int]
Make = Callable[..., Scanner]
Replace = Callable[..., None]

ID = "a1" * 32
CONTAINER = f"/docker/{ID}"

real_pread, real_readlink = os.pread, os.readlink


def cgroup(path: str, **files: str) -> dict[str, str]:
    """Files of one v2 cgroup; "_" in a name stands for "."."""
    names = {"cgroup.procs": "", "cpu.stat": "usage_usec 1\n", "memory.current": "4096\n"}
    names |= {name.replace("_", "."): content for name, content in files.items()}
    return {f"cg{path.rstrip('/')}/{name}": content for name, content in names.items()}


@pytest.fixture
def ahead(request: pytest.FixtureRequest) -> bool:
    """Whether held files are read ahead: see `both_ways`."""
    return bool(getattr(request, "param", False))


# Held files are read one by one, or all ahead by io_submit.
both_ways = pytest.mark.parametrize(
    "ahead", [False, True], ids=["one by one", "ahead"], indirect=True
)


@pytest.fixture
def scanner(tmp_path: Path, ahead: bool) -> Iterator[Make]:
    """Make scanners of the v2 tree in the temporary directory; they are closed in the end."""
    made: list[Scanner] = []
    tree = Hierarchy(f"{tmp_path}/cg", "/", frozenset(), unified=True)

    def make(
        hierarchies: Hierarchies | None = None,
        max_cgroups: int = 1000,
        max_below: int = 1000,
        max_open_files: int = 0,
        room: int | None = None,
    ) -> Scanner:
        made.append(
            Scanner(
                hierarchies or Hierarchies(tree, {}, f"{tmp_path}/proc"),
                rank=rank,
                owns_below=owns_below,
                max_cgroups=max_cgroups,
                max_below=max_below,
                max_open_files=max_open_files,
                room=room,
            )
        )
        if ahead:
            made[-1].read_ahead()
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture(params=[0, 3, 1000], ids=lambda bound: f"{bound} open files")
def open_files(request: pytest.FixtureRequest) -> int:
    """Bounds on held descriptors: none, too few, plenty."""
    return int(request.param)


def inject(replace_calls: Replace, where: str, number: int) -> None:
    """Make reading fail of files below a directory; 0 ends that."""

    def pread(fd: int, size: int, offset: int) -> bytes:
        if number and f"{where}/" in real_readlink(f"/proc/self/fd/{fd}") + "/":
            raise OSError(number, os.strerror(number))
        return real_pread(fd, size, offset)

    replace_calls(pread=pread)


@both_ways
def test_cgroups_and_sections(lay: Lay, scanner: Make, tmp_path: Path, open_files: int) -> None:
    """Each cgroup has its sections, in order of path; what is not offered is absent."""
    lay(
        {
            **cgroup("/"),
            **cgroup("/b.slice", cpu_max="150000 100000\n"),
            **cgroup("/b.slice/x.service", pids_max="max\n", pids_current="3\n"),
            **cgroup("/a.slice", memory_max="8192\n"),
            "proc/partitions": "major minor  #blocks  name\n\n 254 0 1 vda\n",
        }
    )
    snapshot = scanner(max_open_files=open_files).scan()
    assert list(snapshot.cgroups) == ["/", "/a.slice", "/b.slice", "/b.slice/x.service"]
    assert snapshot.mode is Mode.UNIFIED
    assert snapshot.devices == {"254:0": "vda"}
    assert (snapshot.parse_errors, snapshot.skipped, snapshot.dropped) == ({}, 0, 0)
    b = snapshot.cgroups["/b.slice"]
    assert (b.path, b.leaf, b.inode) == ("/b.slice", False, (tmp_path / "cg/b.slice").stat().st_ino)
    assert b.cpu == Cpu(usage_seconds=1e-06, limit_cores=1.5, period_seconds=0.1)
    assert b.memory == Memory(current_bytes=4096)
    assert b.pids == Pids()
    assert snapshot.cgroups["/a.slice"].memory == Memory(current_bytes=4096, max_bytes=8192)
    x = snapshot.cgroups["/b.slice/x.service"]
    assert x.leaf
    assert x.pids == Pids(current=3, max=float("inf"))


def test_time(lay: Lay, scanner: Make) -> None:
    """A snapshot says when it began and how long it took."""
    lay(cgroup("/"))
    before, begin = time.time(), time.monotonic()
    snapshot = scanner().scan()
    assert before <= snapshot.started <= time.time()
    assert 0 < snapshot.duration_seconds <= time.monotonic() - begin


def test_sections_that_are_wanted(lay: Lay, scanner: Make, tmp_path: Path) -> None:
    """Only the files of the chosen sections are read."""
    lay(cgroup("/"))
    tree = Hierarchy(f"{tmp_path}/cg", "/", frozenset(), unified=True)
    only_memory = Scanner(Hierarchies(tree, {}, f"{tmp_path}/proc"), sections=["memory"])
    snapshot = only_memory.scan()
    root = snapshot.cgroups["/"]
    assert root.memory is not None
    assert all(getattr(root, name) is None for name in SECTIONS if name != "memory")
    assert all(name.startswith("memory.") for name in snapshot.files)


@both_ways
def test_unchanged_is_the_same_object(lay: Lay, scanner: Make, open_files: int) -> None:
    """What did not change is the same object; what did is a new one, and only that."""
    lay({**cgroup("/"), **cgroup("/a"), **cgroup("/b")})
    look = scanner(max_open_files=open_files).scan
    first = look().cgroups
    second = look().cgroups
    assert all(second[path] is first[path] for path in first)
    lay({"cg/a/memory.current": "8192\n"})
    third = look().cgroups
    assert third["/a"] is not first["/a"]
    assert third["/a"].memory == Memory(current_bytes=8192)
    for name in SECTIONS:
        if name != "memory":
            assert getattr(third["/a"], name) is getattr(first["/a"], name), name
    assert third["/b"] is first["/b"]
    assert first["/a"].memory == Memory(current_bytes=4096)  # a snapshot never changes
    assert look().cgroups["/a"] is third["/a"]


@both_ways
def test_same_value_again(lay: Lay, scanner: Make) -> None:
    """A file that was written with the same bytes is unchanged."""
    lay(cgroup("/"))
    look = scanner().scan
    first = look().cgroups["/"]
    lay(cgroup("/"))
    assert look().cgroups["/"] is first


@both_ways
def test_file_that_appears(lay: Lay, scanner: Make, open_files: int) -> None:
    """A controller that is switched on is seen, and off again too."""
    lay(cgroup("/"))
    look = scanner(max_open_files=open_files).scan
    assert look().cgroups["/"].pids == Pids()
    place = lay({"cg/pids.current": "5\n"}) / "cg/pids.current"
    assert look().cgroups["/"].pids == Pids(current=5)
    if not open_files:  # a held descriptor of a plain file outlives its name
        place.unlink()
        assert look().cgroups["/"].pids == Pids()


@both_ways
def test_leaf_that_gets_a_child(lay: Lay, scanner: Make) -> None:
    """Whether a cgroup has children is looked at anew in each scan."""
    lay({**cgroup("/"), **cgroup("/a")})
    look = scanner().scan
    assert look().cgroups["/a"].leaf
    lay(cgroup("/a/b"))
    assert not look().cgroups["/a"].leaf


@both_ways
def test_parse_error(
    lay: Lay, scanner: Make, caplog: pytest.LogCaptureFixture, open_files: int
) -> None:
    """A file without its format is None, counted, logged once, and costs nothing else."""
    lay({**cgroup("/"), **cgroup("/a"), **cgroup("/b"), **cgroup("/c")})
    look = scanner(max_open_files=open_files).scan
    look()
    lay(
        {
            "cg/a/memory.current": "odd\n",
            "cg/b/memory.current": "strange\n",
            "cg/b/memory.max": "max\n",
            "cg/c/cpu.stat": "usage_usec 1\nuser_usec\n",
        }
    )
    for _ in range(2):
        caplog.clear()
        snapshot = look()
        assert snapshot.parse_errors == {"memory.current": 2, "cpu.stat": 1}
        assert snapshot.cgroups["/a"].memory == Memory()
        assert snapshot.cgroups["/a"].cpu == Cpu(usage_seconds=1e-06)
        assert snapshot.cgroups["/b"].memory is not None
        assert snapshot.cgroups["/b"].memory.current_bytes is None
        assert snapshot.cgroups["/c"].cpu == Cpu()
        assert snapshot.cgroups["/c"].memory == Memory(current_bytes=4096)
        assert snapshot.cgroups["/"].memory == Memory(current_bytes=4096)
        assert snapshot.skipped == 0
        assert sorted(record.getMessage() for record in caplog.records) == [
            "cpu.stat in cgroup '/c': line 2: expected KEY VAL, found b'user_usec'",
            "memory.current in cgroup '/a': expected a decimal number, found 'odd'",
        ]
    lay({"cg/a/memory.current": "1\n", "cg/b/memory.current": "2\n", "cg/c/cpu.stat": ""})
    snapshot = look()
    assert snapshot.parse_errors == {}
    assert snapshot.cgroups["/a"].memory == Memory(current_bytes=1)


@both_ways
def test_parse_error_keeps_other_sections(lay: Lay, scanner: Make) -> None:
    """The sections of a cgroup with a bad file stay the same objects."""
    lay({**cgroup("/"), "cg/cpu.max": "100000\n"})
    look = scanner().scan
    first, second = look().cgroups["/"], look().cgroups["/"]
    assert first.cpu == second.cpu == Cpu(usage_seconds=1e-06)
    assert second.memory is first.memory


def test_number_beyond_every_counter(lay: Lay, scanner: Make) -> None:
    """A number of more than 64 bits is no counter, and costs the others nothing."""
    lay({**cgroup("/", cpu_stat=f"usage_usec 1{'0' * 400}\n"), **cgroup("/a")})
    snapshot = scanner().scan()
    assert list(snapshot.cgroups) == ["/", "/a"]
    assert snapshot.parse_errors == {"cpu.stat": 1}


@pytest.mark.parametrize("number", [errno.EIO, errno.EMFILE, errno.ENOMEM])
def test_unreadable_cgroup(
    lay: Lay,
    scanner: Make,
    replace_calls: Replace,
    caplog: pytest.LogCaptureFixture,
    count_descriptors: Count,
    open_files: int,
    number: int,
) -> None:
    """A cgroup whose files cannot be read is left out, counted, logged; the others stay."""
    lay({**cgroup("/"), **cgroup("/a"), **cgroup("/b")})
    before = count_descriptors()
    made = scanner(max_open_files=open_files)
    assert len(made.scan().cgroups) == 3
    lay({"cg/b/memory.current": "8192\n"})
    inject(replace_calls, "cg/a", number)
    caplog.clear()
    for scans in (1, 2):
        snapshot = made.scan()
        assert list(snapshot.cgroups) == ["/", "/b"]
        assert snapshot.skipped == 1
        assert snapshot.cgroups["/b"].memory == Memory(current_bytes=8192)
        assert len([r for r in caplog.records if "'/a' skipped" in r.getMessage()]) == scans
    inject(replace_calls, "cg/a", 0)
    assert list(made.scan().cgroups) == ["/", "/a", "/b"]
    made.close()
    assert count_descriptors() == before
    assert made.descriptors.held == 0


def test_reading_that_breaks_off(
    lay: Lay, scanner: Make, replace_calls: Replace, open_files: int
) -> None:
    """What was read before a file failed is not lost for the next scan."""
    lay(cgroup("/a", pids_current="1\n", cpu_max="max 100000\n"))
    made = scanner(max_open_files=open_files)
    for _ in range(3):
        made.scan()
    lists = ("cgroup.procs", "cgroup.threads")  # read by read(2)
    files = [file for _, file in made.files() if "/cg/a/" in file and not file.endswith(lists)]
    lay(cgroup("/a", memory_current="8192\n", pids_current="2\n", cpu_max="50000 100000\n"))
    for file in files:
        inject(replace_calls, file, errno.EIO)
        assert "/a" not in made.scan().cgroups
    inject(replace_calls, "", 0)
    found = made.scan().cgroups["/a"]
    assert found.cpu is not None
    assert (found.memory, found.pids) == (Memory(current_bytes=8192), Pids(current=2))
    assert found.cpu.limit_cores == 0.5


def test_room_for_others(lay: Lay, scanner: Make) -> None:
    """What others open is taken from the files that are held, which are read on without."""
    lay({**cgroup("/a"), **cgroup("/b"), **cgroup("/c")})
    made = scanner(max_open_files=1000, room=7)
    made.scan()
    every = made.descriptors.held
    assert every == 6
    for others, least, most in ((1, 6, 6), (2, 4, 5), (4, 2, 3), (100, 0, 0)):
        made.others = lambda others=others: others  # type: ignore[misc]
        lay({f"cg/{name}/memory.current": f"{others}\n" for name in "abc"})
        snapshot = made.scan()
        assert least <= made.descriptors.held <= most
        assert {c.memory for c in snapshot.cgroups.values()} == {Memory(current_bytes=others)}


def test_unreadable_from_the_start(
    lay: Lay, scanner: Make, replace_calls: Replace, open_files: int
) -> None:
    """The same for a cgroup that fails at its first reading."""
    lay({**cgroup("/"), **cgroup("/a")})
    inject(replace_calls, "cg/a", errno.EIO)
    made = scanner(max_open_files=open_files)
    assert list(made.scan().cgroups) == ["/"]
    inject(replace_calls, "cg/a", 0)
    assert made.scan().cgroups["/a"].memory == Memory(current_bytes=4096)


def watched_for_long(scanner: Make, name: str, content: str, lay: Lay) -> tuple[Scanner, Path]:
    """A scanner that looks seldom for what is missing, and was last given a file of this name."""
    lay(cgroup("/"))
    made = scanner(max_open_files=1000)
    for _ in range(2 * EVERY):
        made.scan()
    place = lay({f"cg/{name}": content}) / f"cg/{name}"
    path = "/" + name.rpartition("/")[0]
    for _ in range(EVERY):
        made.scan()
        if made._watched[path].directories.late:
            return made, place
    raise AssertionError("its turn never came")


@pytest.mark.parametrize("ahead", [True], indirect=True)
@pytest.mark.parametrize("is_idle", [True, False])
def test_what_seldom_changes_is_read_between_scans(lay: Lay, scanner: Make, is_idle: bool) -> None:
    """A file that appears late is read when no scan is under way, or else in the next one."""
    made, _ = watched_for_long(scanner, "pids.current", "5\n", lay)
    if is_idle:
        made.catch_up()
        held = made.descriptors.held
    assert made.scan().cgroups["/"].pids == Pids(current=5)
    if is_idle:
        assert made.descriptors.held == held


@pytest.mark.parametrize("ahead", [True], indirect=True)
def test_what_cannot_be_read_between_scans(
    lay: Lay, scanner: Make, replace_calls: Replace, caplog: pytest.LogCaptureFixture
) -> None:
    """The next scan says why; the one after it reads what can be read again."""
    made, place = watched_for_long(scanner, "pids.current", "5\n", lay)

    def pread(fd: int, size: int, offset: int) -> bytes:
        if os.readlink(f"/proc/self/fd/{fd}") == str(place):
            raise OSError(errno.EIO, "broken")
        return real_pread(fd, size, offset)

    replace_calls(pread=pread)
    made.catch_up()
    assert not caplog.messages
    assert made.scan().skipped == 1
    assert "broken" in caplog.text
    replace_calls(pread=real_pread)
    assert made.scan().cgroups["/"].pids == Pids(current=5)


@pytest.mark.parametrize("ahead", [True], indirect=True)
def test_gone_between_scans(lay: Lay, scanner: Make) -> None:
    """Of a cgroup that is forgotten before it was caught up with nothing is opened again."""
    lay(cgroup("/a"))
    made, _ = watched_for_long(scanner, "a/pids.current", "5\n", lay)
    made._forget("/a")
    held = made.descriptors.held
    made.catch_up()
    assert made.descriptors.held == held


def test_unreadable_directory(lay: Lay, scanner: Make, replace_calls: Replace) -> None:
    """A directory that cannot be listed costs only what is below it."""
    lay({**cgroup("/"), **cgroup("/a"), **cgroup("/a/x"), **cgroup("/b")})

    def stat(path: str, *, dir_fd: int | None = None) -> os.stat_result:
        if path.endswith("cg/a"):
            raise OSError(errno.EIO, "broken", path)
        return os.stat(path, dir_fd=dir_fd)

    replace_calls(stat=stat)
    snapshot = scanner().scan()
    assert list(snapshot.cgroups) == ["/", "/b"]
    assert snapshot.skipped == 1


@pytest.mark.parametrize("number", [errno.ENODEV, errno.ESRCH])
def test_removed_while_read(
    lay: Lay,
    scanner: Make,
    replace_calls: Replace,
    caplog: pytest.LogCaptureFixture,
    open_files: int,
    number: int,
) -> None:
    """A cgroup that is removed between listing and reading leaves silently."""
    lay({**cgroup("/"), **cgroup("/a"), **cgroup("/b")})
    made = scanner(max_open_files=open_files)
    made.scan()
    inject(replace_calls, "cg/a", number)
    snapshot = made.scan()
    assert list(snapshot.cgroups) == ["/", "/b"]
    assert (snapshot.skipped, snapshot.parse_errors) == (0, {})
    assert caplog.records == []


@both_ways
def test_appear_and_vanish(
    lay: Lay, scanner: Make, tmp_path: Path, count_descriptors: Count, open_files: int
) -> None:
    """Cgroups come and go between scans, and take their descriptors with them."""
    lay(cgroup("/"))
    before = count_descriptors()
    made = scanner(max_open_files=open_files)
    for _ in range(4):  # from the fourth on files are opened from the top of the tree
        made.scan()
    held = made.descriptors.held
    for number in range(5):
        lay(cgroup("/a", memory_current=f"{number}\n"))
        lay(cgroup("/a/b"))
        cgroups = made.scan().cgroups
        assert list(cgroups) == ["/", "/a", "/a/b"]
        assert cgroups["/a"].memory == Memory(current_bytes=number)
        (tmp_path / "cg/a").rename(tmp_path / f"gone{number}")
        assert list(made.scan().cgroups) == ["/"]
        assert made.descriptors.held == held
        assert count_descriptors() == before + held + 1  # the top


@both_ways
def test_other_inode(lay: Lay, scanner: Make, tmp_path: Path, open_files: int) -> None:
    """A cgroup that was made again between two scans is read through its own files."""
    lay({**cgroup("/"), **cgroup("/a", memory_current="1\n")})
    made = scanner(max_open_files=open_files)
    first = made.scan().cgroups["/a"]
    (tmp_path / "cg/a").rename(tmp_path / "old")
    lay(cgroup("/a", memory_current="2\n"))
    second = made.scan().cgroups["/a"]
    assert second.inode != first.inode
    assert second.memory == Memory(current_bytes=2)


def test_missing_files(lay: Lay, scanner: Make, replace_calls: Replace) -> None:
    """What became of each file is counted over all cgroups, by reason."""
    lay({**cgroup("/"), **cgroup("/a", cpu_pressure=""), **cgroup("/b", cpu_pressure="")})
    inject(replace_calls, "cg/a", errno.EACCES)
    files = scanner().scan().files
    assert files["memory.current"] == FileSupport(2, {Missing.DENIED: 1})
    assert files["cpu.pressure"] == FileSupport(1, {Missing.ABSENT: 1, Missing.DENIED: 1})
    assert files["pids.max"] == FileSupport(0, {Missing.ABSENT: 3})
    assert list(files) == sorted(files)


@both_ways
def test_missing_files_of_cgroups_that_are_gone(lay: Lay, scanner: Make, tmp_path: Path) -> None:
    """Only the cgroups of this scan are counted."""
    lay({**cgroup("/"), **cgroup("/a")})
    made = scanner()
    assert made.scan().files["memory.current"] == FileSupport(2)
    (tmp_path / "cg/a").rename(tmp_path / "old")
    assert made.scan().files["memory.current"] == FileSupport(1)


def ticking() -> Callable[[], float]:
    """A clock that runs a second each time somebody looks at it."""
    return partial(next, itertools.count(1.0))


@both_ways
def test_deadline(
    lay: Lay, scanner: Make, monkeypatch: pytest.MonkeyPatch, open_files: int
) -> None:
    """A scan past its deadline ends with an error; the next one is as good as any."""
    lay({path: text for n in range(9) for path, text in cgroup(f"/{n}").items()})
    lay(cgroup("/"))
    made = scanner(max_open_files=open_files)
    with pytest.raises(ScanTimeoutError, match="stopped after 0 of 10"):
        made.scan(deadline=time.monotonic() - 1)
    monkeypatch.setattr(scan, "time", SimpleNamespace(time=time.time, monotonic=ticking()))
    with pytest.raises(ScanTimeoutError, match="stopped after 4 of 10"):
        made.scan(deadline=5)
    first = made.scan(deadline=1000)
    assert len(first.cgroups) == 10
    monkeypatch.setattr(scan, "time", SimpleNamespace(time=time.time, monotonic=ticking()))
    with pytest.raises(ScanTimeoutError, match="stopped after 2 of 10"):
        made.scan(deadline=3)
    lay({"cg/5/memory.current": "1\n"})
    second = made.scan().cgroups
    assert second["/5"].memory == Memory(current_bytes=1)
    assert all(second[path] is each for path, each in first.cgroups.items() if path != "/5")


@both_ways
def test_change_seen_by_a_scan_that_timed_out(
    lay: Lay, scanner: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change that was read by an unfinished scan is in the next one."""
    lay({**cgroup("/"), **cgroup("/a"), **cgroup("/b")})
    made = scanner()
    made.scan()
    lay({"cg/memory.current": "1\n", "cg/b/memory.current": "2\n"})
    monkeypatch.setattr(scan, "time", SimpleNamespace(time=time.time, monotonic=ticking()))
    with pytest.raises(ScanTimeoutError, match="after 2 of 3"):
        made.scan(deadline=3)
    cgroups = made.scan().cgroups
    assert cgroups["/"].memory == Memory(current_bytes=1)
    assert cgroups["/b"].memory == Memory(current_bytes=2)


@pytest.mark.parametrize("bound", range(1, 8))
def test_max_cgroups(lay: Lay, scanner: Make, caplog: pytest.LogCaptureFixture, bound: int) -> None:
    """Containers are read first, then pods, then the rest from the top; the dropped are counted."""
    pod = "/kubepods/pod1234"
    paths = ["/", "/docker", CONTAINER, "/kubepods", pod, f"{pod}/{ID}"]
    lay({file: text for path in paths for file, text in cgroup(path).items()})
    by_rank = [CONTAINER, f"{pod}/{ID}", pod, "/", "/docker", "/kubepods"]
    made = scanner(max_cgroups=bound)
    for _ in range(2):
        snapshot = made.scan()
        assert list(snapshot.cgroups) == sorted(by_rank[:bound])
        assert snapshot.dropped == max(0, 6 - bound)
    messages = [record.getMessage() for record in caplog.records]
    if bound >= 6:
        assert messages == []
    else:
        assert messages == [
            f"{6 - bound} cgroups are left out: more than --scan.max-cgroups={bound}"
        ]


def test_max_cgroups_is_said_again(
    lay: Lay, scanner: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """Once the cgroups fit again, the next time too many is news."""
    root = lay({**cgroup("/"), **cgroup("/a")})
    made = scanner(max_cgroups=1)
    for step in range(2):
        assert made.scan().dropped == 1
        assert len(caplog.records) == step + 1
        (root / "cg/a").rename(root / f"old{step}")
        assert made.scan().dropped == 0
        lay(cgroup("/a"))


def test_payload_without_interest(lay: Lay, scanner: Make) -> None:
    """What is inside a container is not read, and no cgroup that was dropped."""
    lay({**cgroup("/"), **cgroup("/docker"), **cgroup(CONTAINER)})
    lay({path: text for n in range(5) for path, text in cgroup(f"{CONTAINER}/{n}").items()})
    snapshot = scanner(max_cgroups=5).scan()
    assert list(snapshot.cgroups) == ["/", "/docker", CONTAINER]
    assert snapshot.dropped == 0
    assert not snapshot.cgroups[CONTAINER].leaf


@pytest.mark.parametrize("tenant", [CONTAINER, "/user.slice/user@1000.service", "/a.scope"])
def test_many_cgroups_hide_no_other(
    lay: Lay, scanner: Make, caplog: pytest.LogCaptureFixture, tenant: str
) -> None:
    """However many cgroups a tenant makes of its own, others are seen, and his are counted."""
    others = [f"/docker/{letter * 64}" for letter in "bcd"]
    lay({**cgroup("/"), **cgroup("/docker"), **cgroup("/z.slice")})
    lay({name: text for path in (*others, tenant) for name, text in cgroup(path).items()})
    lay({f"cg{tenant}/{n}/{m}/cgroup.procs": "" for n in range(20) for m in range(5)})
    made = scanner(max_cgroups=10, max_below=10)
    for _ in range(3):
        snapshot = made.scan()
        assert {*others, tenant, "/", "/z.slice"} <= snapshot.cgroups.keys()
        assert snapshot.dropped >= 10
    assert len(caplog.records) == 1


def test_a_tenant_hides_no_other_tenants_container(lay: Lay, scanner: Make) -> None:
    """A user who makes many cgroups does not keep a scan from another user's containers."""
    containers = [
        f"/user.slice/user@{user}.service/user.slice/libpod-{str(user) * 64}.scope"
        for user in (1, 3)
    ]
    lay({name: text for path in containers for name, text in cgroup(path).items()})
    lay({f"cg/user.slice/user@2.service/{number}/": "" for number in range(50)})
    for path in ("/", "/user.slice", *(f"/user.slice/user@{user}.service" for user in (1, 2, 3))):
        lay(cgroup(path))
    snapshot = scanner(max_cgroups=20, max_below=20).scan()
    assert set(containers) <= snapshot.cgroups.keys()


def test_many_tenants_cost_little(lay: Lay, scanner: Make, replace_calls: Replace) -> None:
    """What a tenant makes is looked at up to the bound, however deep it is."""
    tenants = [f"/docker/{digit * 64}" for digit in "0123456789"]
    lay({**cgroup("/"), **cgroup("/docker")})
    lay({name: text for path in tenants for name, text in cgroup(path).items()})
    lay({f"cg{path}/{n}/{m}/x/": "" for path in tenants for n in range(3) for m in range(3)})
    looks = 0

    def stat(path: str, *, dir_fd: int | None = None) -> os.stat_result:
        nonlocal looks
        looks += dir_fd is None
        return os.stat(path, dir_fd=dir_fd)

    replace_calls(stat=stat)
    snapshot = scanner(max_below=5).scan()
    assert set(tenants) <= snapshot.cgroups.keys()
    assert snapshot.dropped > 0
    assert looks <= 2 + len(tenants) * (1 + 5)


def test_bound_of_nothing(lay: Lay, scanner: Make, caplog: pytest.LogCaptureFixture) -> None:
    """Reading no cgroup at all is reading no cgroup, and is said."""
    lay({**cgroup("/"), **cgroup("/a"), **cgroup(CONTAINER)})
    snapshot = scanner(max_cgroups=0).scan()
    assert snapshot.cgroups == {}
    assert snapshot.dropped >= 3
    assert len(caplog.records) == 1


def test_no_cgroups_at_all(lay: Lay, scanner: Make) -> None:
    """A hierarchy that is no more (unmounted) has no cgroups."""
    lay({"proc/": ""})
    assert scanner().scan().cgroups == {}


@pytest.fixture
def legacy(tmp_path: Path) -> Hierarchies:
    """A hybrid host: cpu and memory on v1, PSI and core files on v2."""
    cpu = Hierarchy(f"{tmp_path}/cpu,cpuacct", "/", frozenset({"cpu", "cpuacct"}), unified=False)
    memory = Hierarchy(f"{tmp_path}/memory", "/", frozenset({"memory"}), unified=False)
    unified = Hierarchy(f"{tmp_path}/unified", "/", frozenset(), unified=True)
    trees = {"cpu": cpu, "cpuacct": cpu, "memory": memory}
    return Hierarchies(unified, trees, f"{tmp_path}/proc")


def hybrid(path: str) -> dict[str, str]:
    """A cgroup of the same path in all three hierarchies."""
    return {
        f"cpu,cpuacct{path}/cgroup.procs": "",
        f"cpu,cpuacct{path}/cpuacct.usage": "1500000000\n",
        f"memory{path}/cgroup.procs": "",
        f"memory{path}/memory.usage_in_bytes": "4096\n",
        f"memory{path}/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
        f"unified{path}/cgroup.procs": "",
        f"unified{path}/cgroup.events": "populated 1\nfrozen 0\n",
    }


@both_ways
def test_merged_by_path(lay: Lay, scanner: Make, legacy: Hierarchies, open_files: int) -> None:
    """One cgroup has its sections from every hierarchy in which its path is."""
    lay({**hybrid(""), **hybrid("/docker"), **hybrid(CONTAINER)})
    made = scanner(legacy, max_open_files=open_files)
    for _ in range(3):
        snapshot = made.scan()
        assert snapshot.mode is Mode.HYBRID
        assert list(snapshot.cgroups) == ["/", "/docker", CONTAINER]
        each = snapshot.cgroups[CONTAINER]
        assert each.cpu == Cpu(usage_seconds=1.5)
        assert each.memory == Memory(current_bytes=4096, events_oom_kill=3, events_local_oom_kill=3)
        assert each.core is not None
        assert each.core.populated == 1
        assert each.leaf
        docker = snapshot.cgroups["/docker"]
        assert docker.memory == Memory(current_bytes=4096, events_local_oom_kill=3)


@both_ways
def test_in_one_hierarchy_only(lay: Lay, scanner: Make, legacy: Hierarchies) -> None:
    """A path that one hierarchy has and another lacks has what there is."""
    lay(
        {
            **hybrid(""),
            "memory/a/cgroup.procs": "",
            "memory/a/memory.usage_in_bytes": "1\n",
            "cpu,cpuacct/b/cgroup.procs": "",
            "memory/c/memory.usage_in_bytes": "1\n",  # no cgroup.procs: it is being removed
        }
    )
    cgroups = scanner(legacy).scan().cgroups
    assert list(cgroups) == ["/", "/a", "/b"]
    assert cgroups["/a"].memory == Memory(current_bytes=1)
    assert cgroups["/a"].cpu is None
    assert cgroups["/b"].cpu == Cpu()
    assert cgroups["/b"].memory is None


@both_ways
def test_vanishes_from_one_hierarchy(
    lay: Lay, scanner: Make, legacy: Hierarchies, tmp_path: Path, open_files: int
) -> None:
    """Where a path is left in one hierarchy alone, the others' sections are gone."""
    lay({**hybrid(""), **hybrid("/a")})
    made = scanner(legacy, max_open_files=open_files)
    assert made.scan().cgroups["/a"].memory is not None
    (tmp_path / "memory/a").rename(tmp_path / "old")
    cgroup = made.scan().cgroups["/a"]
    assert cgroup.memory is None
    assert cgroup.cpu == Cpu(usage_seconds=1.5)


@both_ways
def test_leaf_in_every_hierarchy(lay: Lay, scanner: Make, legacy: Hierarchies) -> None:
    """A cgroup with a child in one hierarchy is no leaf."""
    lay({**hybrid(""), **hybrid("/a"), "cpu,cpuacct/a/b/cgroup.procs": ""})
    made = scanner(legacy)
    for _ in range(2):
        a = made.scan().cgroups["/a"]
        assert not a.leaf
        assert a.memory == Memory(current_bytes=4096, events_local_oom_kill=3)


@both_ways
def test_v1_cgroup_that_gets_a_child(lay: Lay, scanner: Make, legacy: Hierarchies) -> None:
    """What holds of a leaf alone is gone with the first child, though no file has changed."""
    root = lay({**hybrid(""), **hybrid("/a")})
    made = scanner(legacy)
    leaf = Memory(current_bytes=4096, events_oom_kill=3, events_local_oom_kill=3)
    assert made.scan().cgroups["/a"].memory == leaf
    lay({"memory/a/b/cgroup.procs": ""})
    assert made.scan().cgroups["/a"].memory == leaf._replace(events_oom_kill=None)
    (root / "memory/a/b").rename(root / "old")
    assert made.scan().cgroups["/a"].memory == leaf


@pytest.mark.parametrize("tree", ["cpu,cpuacct", "memory", "unified"])
def test_container_in_a_container_of_one_hierarchy(
    lay: Lay, scanner: Make, legacy: Hierarchies, tree: str
) -> None:
    """What the first scan finds, the next ones find."""
    inner = f"{CONTAINER}/docker/{'b2' * 32}"
    lay({**hybrid(""), **hybrid("/docker"), **hybrid(CONTAINER)})
    lay({f"{tree}{inner}/cgroup.procs": ""})
    made = scanner(legacy)
    assert [list(made.scan().cgroups) for _ in range(3)] == [
        ["/", "/docker", CONTAINER, inner] for _ in range(3)
    ]


def test_part_of_a_tree(lay: Lay, scanner: Make, tmp_path: Path) -> None:
    """Where a part of a hierarchy is mounted, paths are the host's."""
    lay({"memory/memory.usage_in_bytes": "1\n", "memory/cgroup.procs": "", "memory/x/": ""})
    lay({"memory/x/cgroup.procs": "", "memory/x/memory.usage_in_bytes": "2\n"})
    tree = Hierarchy(f"{tmp_path}/memory", "/docker/abc", frozenset({"memory"}), unified=False)
    made = scanner(Hierarchies(None, {"memory": tree}, f"{tmp_path}/proc"))
    for _ in range(2):
        cgroups = made.scan().cgroups
        assert {path: c.memory and c.memory.current_bytes for path, c in cgroups.items()} == {
            "/docker/abc": 1,
            "/docker/abc/x": 2,
        }


def test_captured_host(fixtures: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A whole captured host is read without an error or a warning."""
    tree = fixtures / "v2-6.1-systemd"
    unified = Hierarchy(f"{tree}/sys/fs/cgroup", "/", frozenset(), unified=True)
    with caplog.at_level(logging.DEBUG):
        snapshot = Scanner(Hierarchies(unified, {}, f"{tree}/proc"), rank=rank).scan()
    assert caplog.records == []
    assert (snapshot.parse_errors, snapshot.skipped, snapshot.dropped) == ({}, 0, 0)
    path = "/system.slice/docker-8714cc23d00282e75e1f1210381f4a61db12858c635d7dd64f30d314b7c4e6ed"
    cpu = snapshot.cgroups[f"{path}.scope"].cpu
    assert cpu is not None
    assert (cpu.usage_seconds, cpu.limit_cores) == (4.580396, 0.2)
    assert snapshot.devices == {"254:0": "vda", "254:16": "vdb"}
