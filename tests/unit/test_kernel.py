"""The door to kernel files: errnos, held descriptors, and walking trees that change."""

import errno
import os
import resource
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgexporter import kernel
from cgexporter.descriptors import Descriptors, raise_limit
from cgexporter.files import Directories, Directory, File, Outcomes, Top
from cgexporter.kernel import Content, Missing
from cgexporter.walker import EVERY, Walker, is_due, next_due, turn_of

Lay = Callable[[Mapping[str, str]], Path]
Count = Callable[[], int]
Replace = Callable[..., None]

REASONS = [
    (errno.ENODEV, Missing.GONE),
    (errno.ESRCH, Missing.GONE),
    (errno.EOPNOTSUPP, Missing.UNSUPPORTED),
    (errno.EACCES, Missing.DENIED),
    (errno.EPERM, Missing.DENIED),
]
NO_REASONS = [errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINVAL]
CALLS = ["open", "read"]
TOPS: list[Top] = []  # of one test, to be closed

real_open, real_read, real_pread, real_readlink = os.open, os.read, os.pread, os.readlink
real_stat, real_scandir = os.stat, os.scandir


def name_behind(fd: int) -> str:
    """The last part of the path that a descriptor stands for."""
    return real_readlink(f"/proc/self/fd/{fd}").rpartition("/")[2]


class Faults:
    """Makes system calls on files of one name fail, and counts the calls on each."""

    def __init__(self, replace_calls: Replace) -> None:
        self.opened: list[str] = []
        self.errnos: dict[tuple[str, str], int] = {}
        replace_calls(open=self._open, read=self._read, pread=self._pread, readlink=self._readlink)

    def inject(self, call: str, name: str, number: int) -> None:
        """From now on this call fails on files of this name; 0 ends that."""
        self.errnos[call, name] = number

    def _fail(self, call: str, name: str) -> None:
        if number := self.errnos.get((call, name)):
            raise OSError(number, os.strerror(number), name)

    def _open(self, path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        name = path.rpartition("/")[2]
        self.opened.append(name)
        self._fail("open", name)
        return real_open(path, flags, mode, dir_fd=dir_fd)

    def _read(self, fd: int, size: int) -> bytes:
        self._fail("read", name_behind(fd))
        return real_read(fd, size)

    def _pread(self, fd: int, size: int, offset: int) -> bytes:
        self._fail("pread", name_behind(fd))
        return real_pread(fd, size, offset)

    def _readlink(self, path: str, *, dir_fd: int | None = None) -> str:
        self._fail("readlink", path.rpartition("/")[2])
        return real_readlink(path, dir_fd=dir_fd)


@pytest.fixture
def faults(replace_calls: Replace) -> Faults:
    """System calls that can be made to fail."""
    return Faults(replace_calls)


@pytest.fixture
def cgroup(lay: Lay) -> Path:
    """A cgroup with three files."""
    return lay(
        {"cg/cgroup.procs": "1\n", "cg/cpu.stat": "usage_usec 5\n", "cg/memory.max": "max\n"}
    )


@pytest.fixture
def cgroup_fd(cgroup: Path) -> Iterator[int]:
    """The open directory of that cgroup."""
    fd = real_open(cgroup / "cg", os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


@pytest.fixture(autouse=True)
def no_descriptor_leaks(count_descriptors: Count, cgroup_fd: int) -> Iterator[None]:
    """Whatever a test does, in the end every descriptor is closed again."""
    before = count_descriptors()
    yield
    while TOPS:
        TOPS.pop().close()
    assert count_descriptors() == before


def watch(path: Path, *names: str) -> Directory:
    """Files of one cgroup, to be read again and again."""
    TOPS.append(Top(str(path.parent)))
    files = [File(name) for name in names]
    return Directory(TOPS[-1], path.name, real_stat(path).st_ino, files, Outcomes())


def contents(directory: Directory) -> dict[str, Content]:
    """What a directory's files said last."""
    return {file.name: file.content for file in directory.files}


_SEEN: dict[File, Content] = {}


def settle(directory: Directory) -> None:
    """Take note of every change, as a scan does."""
    _SEEN.update((file, file.content) for file in directory.files)


def changed(directory: Directory) -> set[str]:
    """Names of the files whose content is new."""
    return {file.name for file in directory.files if file.content is not _SEEN.get(file)}


def test_read_file(cgroup_fd: int) -> None:
    """A file is read relative to its directory, whole."""
    assert kernel.read_file(cgroup_fd, "cpu.stat") == b"usage_usec 5\n"


def test_read_file_in_many_reads(cgroup: Path, cgroup_fd: int, faults: Faults) -> None:
    """The kernel ends a read() of cgroup.procs between two lines: all of them are read."""
    content = "".join(f"{pid}\n" for pid in range(30_000))
    (cgroup / "cg/cgroup.procs").write_text(content)
    assert kernel.read_file(cgroup_fd, "cgroup.procs") == content.encode()


def test_absent_or_gone(cgroup: Path, cgroup_fd: int) -> None:
    """ENOENT means "not offered here" while the cgroup lives, and "gone" when it does not."""
    assert kernel.read_file(cgroup_fd, "irq.pressure") is Missing.ABSENT
    (cgroup / "cg/cgroup.procs").unlink()
    assert kernel.read_file(cgroup_fd, "irq.pressure") is Missing.GONE
    assert kernel.read_file(cgroup_fd, "cgroup.procs") is Missing.GONE
    assert kernel.read_file(cgroup_fd, "irq.pressure", alive="cpu.stat") is Missing.ABSENT


def test_removed_directory(cgroup: Path) -> None:
    """A cgroup that is removed while its directory is open is gone."""
    with kernel.directory(str(cgroup / "cg")) as fd:
        assert isinstance(fd, int)
        for file in (cgroup / "cg").iterdir():
            file.unlink()
        (cgroup / "cg").rmdir()
        assert kernel.read_file(fd, "cpu.stat") is Missing.GONE
        assert kernel.read_link(fd, "ns/net") is Missing.GONE


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(("number", "missing"), REASONS)
def test_reasons(
    cgroup: Path, cgroup_fd: int, faults: Faults, call: str, number: int, missing: Missing
) -> None:
    """Each of these errnos is a reason and no error, on open as on read."""
    faults.inject(call, "cpu.stat", number)
    assert kernel.read_file(cgroup_fd, "cpu.stat") is missing
    assert kernel.read_path(str(cgroup / "cg/cpu.stat")) is missing


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("number", NO_REASONS)
def test_errors_propagate(
    cgroup: Path, cgroup_fd: int, faults: Faults, call: str, number: int
) -> None:
    """Every other errno reaches the scan, with the descriptor closed."""
    faults.inject(call, "cpu.stat", number)
    with pytest.raises(OSError, match=r"cpu\.stat") as caught:
        kernel.read_file(cgroup_fd, "cpu.stat")
    assert caught.value.errno == number
    with pytest.raises(OSError, match=r"cpu\.stat") as caught:
        kernel.read_path(str(cgroup / "cg/cpu.stat"))
    assert caught.value.errno == number


def test_read_path(cgroup: Path) -> None:
    """A file of no cgroup is there or absent; nothing tells that it is gone."""
    assert kernel.read_path(str(cgroup / "cg/memory.max")) == b"max\n"
    assert kernel.read_path(str(cgroup / "partitions")) is Missing.ABSENT
    assert kernel.read_path(str(cgroup / "cg/memory.max/x")) is Missing.ABSENT


def test_read_link(lay: Lay, faults: Faults) -> None:
    """A namespace is a link; without ptrace access it is denied, of a dead process gone."""
    path = lay({"7/stat": "7 (sh)", "7/ns/net": "->net:[4026531840]"}) / "7"
    with kernel.directory(str(path)) as fd:
        assert isinstance(fd, int)
        assert kernel.read_link(fd, "ns/net") == "net:[4026531840]"
        assert kernel.read_link(fd, "ns/time") is Missing.ABSENT
        for number in (errno.EACCES, errno.EPERM):
            faults.inject("readlink", "net", number)
            assert kernel.read_link(fd, "ns/net") is Missing.DENIED
        faults.inject("readlink", "net", errno.ESRCH)
        assert kernel.read_link(fd, "ns/net") is Missing.ABSENT
        (path / "stat").unlink()
        assert kernel.read_link(fd, "ns/net") is Missing.GONE
        faults.inject("readlink", "net", errno.EIO)
        with pytest.raises(OSError, match="net"):
            kernel.read_link(fd, "ns/net")


def test_directory(cgroup: Path, faults: Faults) -> None:
    """A directory is open for the time of the block, also when the block fails."""

    def fail_inside() -> None:
        with kernel.directory(str(cgroup / "cg")) as fd:
            assert isinstance(fd, int)
            raise KeyError

    with pytest.raises(KeyError):
        fail_inside()
    with kernel.directory(str(cgroup / "none")) as fd:
        assert fd is Missing.GONE
    with kernel.directory(str(cgroup / "cg/cpu.stat")) as fd:
        assert fd is Missing.GONE
    for number, missing in REASONS:
        faults.inject("open", "cg", number)
        with kernel.directory(str(cgroup / "cg")) as fd:
            assert fd is missing


@pytest.mark.parametrize("number", NO_REASONS)
def test_directory_errors_propagate(cgroup: Path, faults: Faults, number: int) -> None:
    """Out of descriptors is no reason to take a cgroup for gone."""
    faults.inject("open", "cg", number)
    opening: AbstractContextManager[int | Missing] = kernel.directory(str(cgroup / "cg"))
    with pytest.raises(OSError, match="cg") as caught, opening:
        pass
    assert caught.value.errno == number


def test_status(cgroup: Path, replace_calls: Replace) -> None:
    """What is behind a path, links followed."""
    (cgroup / "link").symlink_to("cg")
    found = kernel.status(str(cgroup / "link"))
    assert not isinstance(found, Missing)
    assert found.st_ino == real_stat(cgroup / "cg").st_ino
    assert kernel.status(str(cgroup / "none")) is Missing.ABSENT
    assert kernel.status(str(cgroup / "cg/cpu.stat/x")) is Missing.ABSENT

    def denied(path: str) -> os.stat_result:
        raise PermissionError(errno.EACCES, "denied", path)

    replace_calls(stat=denied)
    assert kernel.status(str(cgroup)) is Missing.DENIED


def test_due() -> None:
    """What seldom changes is looked for often at first, and never given up."""
    due = [count for count in range(130) if is_due(count)]
    assert due == [0, 1, 2, 4, 8, 16, 32, 64, 128]


@pytest.mark.parametrize("distance", [1, 2, 17, 24, 64, 4096])
def test_turns_lie_evenly(distance: int) -> None:
    """Cgroups made one after the other are not looked at again in the same scan."""
    turns = [turn_of(99_991 + distance * number) for number in range(640)]
    for scan in range(64, 192):
        assert 5 <= sum(is_due(scan, turn) for turn in turns) <= 15


@given(st.integers(0, 300), st.integers(0, EVERY - 1))
def test_next_due(count: int, turn: int) -> None:
    """It is the first number after another that is due."""
    following = next_due(count, turn)
    assert is_due(following, turn)
    assert not any(is_due(between, turn) for between in range(count + 1, following))


def test_held_files_are_not_opened_again(cgroup: Path, faults: Faults) -> None:
    """A file is opened once and read again through its descriptor."""
    descriptors = Descriptors(10)
    directory = watch(cgroup / "cg", "cpu.stat", "memory.max")
    assert directory.refresh(descriptors)
    assert descriptors.held == 2
    assert contents(directory) == {"cpu.stat": b"usage_usec 5\n", "memory.max": b"max\n"}
    faults.opened.clear()
    (cgroup / "cg/cpu.stat").write_text("usage_usec 600\n")
    for _ in range(40):
        assert directory.refresh(descriptors)
    assert faults.opened == []
    assert contents(directory)["cpu.stat"] == b"usage_usec 600\n"
    directory.close(descriptors)
    assert descriptors.held == 0


def test_changed(cgroup: Path) -> None:
    """Only a file whose bytes are new has changed."""
    descriptors = Descriptors(1)  # one file held, one not
    directory = watch(cgroup / "cg", "cpu.stat", "memory.max", "irq.pressure")
    assert directory.refresh(descriptors)
    assert changed(directory) == {"cpu.stat", "memory.max", "irq.pressure"}
    settle(directory)
    assert directory.refresh(descriptors)
    assert changed(directory) == set()
    for name in ("cpu.stat", "memory.max"):
        settle(directory)
        (cgroup / "cg" / name).write_text("7\n")
        assert directory.refresh(descriptors)
        assert changed(directory) == {name}
        assert directory.refresh(descriptors)
        assert changed(directory) == {name}  # until somebody took note
    directory.close(descriptors)


@pytest.mark.parametrize("bound", [0, 1, 2, 3, 10])
def test_bound_on_descriptors(cgroup: Path, faults: Faults, bound: int) -> None:
    """No more descriptors are held than allowed, and the contents are the same with any bound."""
    descriptors = Descriptors(bound)
    (cgroup / "cg/pids.current").write_text("1\n")
    names = ("pids.current", "cpu.stat", "memory.max")
    directory = watch(cgroup / "cg", *names)
    for number in range(5):
        (cgroup / "cg/cpu.stat").write_text(f"usage_usec {number}\n")
        faults.opened.clear()
        assert directory.refresh(descriptors)
        assert descriptors.held == min(bound, 3)
        assert contents(directory) == {
            "pids.current": b"1\n",
            "cpu.stat": f"usage_usec {number}\n".encode(),
            "memory.max": b"max\n",
        }
        opened = len([name for name in faults.opened if name in names])
        assert opened == (3 if number == 0 else max(0, 3 - bound))
    directory.close(descriptors)
    assert descriptors.held == 0


def test_lists_are_read_to_their_end(cgroup: Path) -> None:
    """A list may be longer than one read(): it is read anew each time, and not held."""
    descriptors = Descriptors(10)
    directory = watch(cgroup / "cg", "cgroup.threads")
    for count in (3, 30_000):
        content = "".join(f"{pid}\n" for pid in range(count))
        (cgroup / "cg/cgroup.threads").write_text(content)
        assert directory.refresh(descriptors)
        assert contents(directory) == {"cgroup.threads": content.encode()}
        assert descriptors.held == 0


@pytest.mark.parametrize("bound", [0, 1, 10])
def test_files_that_are_not_held(cgroup: Path, faults: Faults, bound: int) -> None:
    """Read by their paths, they say what held ones do, and no directory is opened for it."""
    descriptors = Descriptors(bound)
    names = ("cpu.stat", "cgroup.threads", "memory.max")
    (cgroup / "cg/cgroup.threads").touch()
    directory = watch(cgroup / "cg", *names, "io.stat")
    directories = Directories([directory])
    for _ in range(3):
        assert directories.refresh(descriptors) is not None
    pids = "".join(f"{pid}\n" for pid in range(30_000))
    for name, new in (("memory.max", "7\n"), ("cpu.stat", "x" * 9000), ("cgroup.threads", pids)):
        (cgroup / "cg" / name).write_text(new)
        faults.opened.clear()
        directories._reads = 3  # no turn to look for what is missing
        assert directories.refresh(descriptors) == [f for f in directory.files if f.name == name]
        assert contents(directory)[name] == new.encode()
        assert "cg" not in faults.opened
        assert directories.refresh(descriptors) == []
    directories.let_go(descriptors)
    assert descriptors.held == 0
    (cgroup / "cg/cpu.stat").write_text("2\n")
    assert directories.refresh(descriptors) == [directory.files[0]]
    directories.close(descriptors)


def test_other_cgroup_under_the_path_of_one_that_is_not_held(cgroup: Path) -> None:
    """It is never taken for the first one, also where only some of its files are read."""
    directories = Directories([watch(cgroup / "cg", "cpu.stat", "memory.max")])
    for _ in range(3):
        assert directories.refresh(Descriptors(0)) is not None
    (cgroup / "cg").rename(cgroup / "old")
    (cgroup / "cg").mkdir()
    for name in ("cgroup.procs", "cpu.stat", "memory.max"):
        (cgroup / "cg" / name).write_text("9\n")
    assert directories.refresh(Descriptors(0)) is None


def test_absent_files_are_looked_for_again(cgroup: Path, faults: Faults) -> None:
    """A controller may be switched on later: absent files are tried on schedule."""
    descriptors = Descriptors(10)
    directory = watch(cgroup / "cg", "cpu.stat", "io.stat")
    directories = Directories([directory])
    tried = []
    for read in range(128):
        faults.opened.clear()
        assert directories.refresh(descriptors) is not None
        if "io.stat" in faults.opened:
            tried.append(read)
    assert tried[:-1] == [0, 1, 2, 4, 8, 16, 32]
    assert 64 <= tried[-1] < 128, "each directory has its turn in another scan"
    assert contents(directory)["io.stat"] is Missing.ABSENT
    settle(directory)
    (cgroup / "cg/io.stat").write_text("8:0 rbytes=1\n")
    for read in range(128, tried[-1] + 65):
        assert contents(directory)["io.stat"] is Missing.ABSENT, read
        assert directories.refresh(descriptors) is not None
    assert contents(directory)["io.stat"] == b"8:0 rbytes=1\n"
    assert changed(directory) == {"io.stat"}
    directory.close(descriptors)


@pytest.mark.parametrize("bound", [0, 10])
@pytest.mark.parametrize("call", ["open", "pread"])
@pytest.mark.parametrize(("number", "missing"), REASONS)
def test_reasons_at_the_first_reading(
    cgroup: Path, faults: Faults, bound: int, call: str, number: int, missing: Missing
) -> None:
    """A reason at the first reading of a file is its content, or ends the cgroup."""
    descriptors = Descriptors(bound)
    directory = watch(cgroup / "cg", "cpu.stat", "memory.max")
    faults.inject(call, "cpu.stat", number)
    for _ in range(3):
        assert directory.refresh(descriptors) is (missing is not Missing.GONE)
        assert descriptors.held <= bound
    if missing is not Missing.GONE:
        assert contents(directory) == {"cpu.stat": missing, "memory.max": b"max\n"}
        faults.inject(call, "cpu.stat", 0)
        assert directory.refresh(descriptors)
        assert contents(directory)["cpu.stat"] == b"usage_usec 5\n"
    directory.close(descriptors)
    assert descriptors.held == 0


@pytest.mark.parametrize(("number", "missing"), REASONS)
def test_reasons_of_a_held_file(
    cgroup: Path, faults: Faults, number: int, missing: Missing
) -> None:
    """ENODEV on a held descriptor is how a removed cgroup says goodbye; others are content."""
    descriptors = Descriptors(10)
    directory = watch(cgroup / "cg", "memory.max", "cpu.stat")
    assert directory.refresh(descriptors)
    settle(directory)
    faults.inject("pread", "cpu.stat", number)
    assert directory.refresh(descriptors) is (missing is not Missing.GONE)
    if missing is not Missing.GONE:
        assert contents(directory) == {"cpu.stat": missing, "memory.max": b"max\n"}
        assert changed(directory) == {"cpu.stat"}
        faults.inject("pread", "cpu.stat", 0)
        assert directory.refresh(descriptors)
        assert contents(directory)["cpu.stat"] == b"usage_usec 5\n"
    directory.close(descriptors)


@pytest.mark.parametrize("bound", [0, 1, 10])
@pytest.mark.parametrize("call", ["open", "pread"])
@pytest.mark.parametrize("number", NO_REASONS)
def test_errors_of_watched_files(
    cgroup: Path, faults: Faults, bound: int, call: str, number: int
) -> None:
    """Any other errno reaches the scan, at first and later, costs no descriptor and passes."""
    descriptors = Descriptors(bound)
    directory = watch(cgroup / "cg", "memory.max", "cpu.stat", "cgroup.procs")
    for _ in range(3):
        faults.inject(call, "cpu.stat", number)
        if call == "pread" or directory.files[1].fd < 0:
            with pytest.raises(OSError, match=r"cpu\.stat") as caught:
                directory.refresh(descriptors)
            assert caught.value.errno == number
        assert descriptors.held == sum(file.fd >= 0 for file in directory.files) <= bound
        faults.inject(call, "cpu.stat", 0)
        assert directory.refresh(descriptors)
        assert contents(directory) == {
            "cgroup.procs": b"1\n",
            "cpu.stat": b"usage_usec 5\n",
            "memory.max": b"max\n",
        }
    directory.close(descriptors)
    assert descriptors.held == 0


@pytest.mark.parametrize("number", NO_REASONS)
def test_errors_of_the_directory(cgroup: Path, faults: Faults, number: int) -> None:
    """Out of descriptors for the directory is an error, and no death of the cgroup."""
    directory = watch(cgroup / "cg", "cpu.stat")
    faults.inject("open", "cg", number)
    with pytest.raises(OSError, match="cg"):
        directory.refresh(Descriptors(0))


@pytest.mark.parametrize("bound", [0, 10])
@pytest.mark.parametrize("length", [0, 1, 4095, 4096, 4097, 8191, 8192, 8193, 100_000])
def test_any_length(cgroup: Path, bound: int, length: int) -> None:
    """A file larger than the buffer is returned whole, at the first reading and later."""
    descriptors = Descriptors(bound)
    directory = watch(cgroup / "cg", "memory.stat")
    content = b""
    for size in (length, 10, length, length + 1):
        content = os.urandom(size)
        (cgroup / "cg/memory.stat").write_bytes(content)
        assert directory.refresh(descriptors)
        assert contents(directory)["memory.stat"] == content
    directory.close(descriptors)


@pytest.mark.parametrize("bound", [0, 10])
def test_no_torn_content(cgroup: Path, replace_calls: Replace, bound: int) -> None:
    """The kernel prints a file anew for each read(): no content is put together from two."""
    printed = 0

    def pread(fd: int, size: int, offset: int) -> bytes:
        nonlocal printed
        printed += 1
        return (b"%c" % (printed % 256) * 20_000)[offset : offset + size]

    replace_calls(pread=pread)
    descriptors = Descriptors(bound)
    directory = watch(cgroup / "cg", "memory.stat")
    (cgroup / "cg/memory.stat").touch()
    for _ in range(4):
        assert directory.refresh(descriptors)
        content = contents(directory)["memory.stat"]
        assert isinstance(content, bytes)
        assert len(content) == 20_000
        assert len(set(content)) == 1
    directory.close(descriptors)


def test_a_large_file_is_read_at_once_later(cgroup: Path, replace_calls: Replace) -> None:
    """A held file that outgrew its buffer gets a larger one, and is read in one read() again."""
    (cgroup / "cg/memory.stat").write_bytes(b"x" * 10_000)
    descriptors = Descriptors(1)
    directory = watch(cgroup / "cg", "memory.stat")
    directory.refresh(descriptors)
    directory.refresh(descriptors)
    sizes = []

    def pread(fd: int, size: int, offset: int) -> bytes:
        sizes.append(size)
        return real_pread(fd, size, offset)

    replace_calls(pread=pread)
    assert directory.refresh(descriptors)
    assert len(sizes) == 1
    directory.close(descriptors)


@pytest.mark.parametrize("names", [("cpu.stat",), ("cgroup.procs",), ("none",)])
def test_same_path_other_cgroup(cgroup: Path, names: tuple[str, ...]) -> None:
    """A cgroup that was removed and made again is another one: the first is gone.

    The old directory is moved away and not removed, so that its inode is not given again.
    """
    directory = watch(cgroup / "cg", *names)
    assert directory.refresh(Descriptors(0))
    (cgroup / "cg").rename(cgroup / "old")
    (cgroup / "cg").mkdir()
    for name in ("cgroup.procs", "cpu.stat"):
        (cgroup / "cg" / name).write_text("9\n")
    assert not directory.refresh(Descriptors(0))
    assert watch(cgroup / "cg", *names).refresh(Descriptors(0))


def test_removed_cgroup(cgroup: Path) -> None:
    """A cgroup whose directory is not there, or is none, is gone."""
    directory = watch(cgroup / "cg", "cpu.stat")
    assert directory.refresh(Descriptors(0))
    (cgroup / "cg").rename(cgroup / "old")
    assert not directory.refresh(Descriptors(0))
    (cgroup / "cg").write_text("")
    assert not directory.refresh(Descriptors(0))


def test_cgroup_that_dies_while_read(cgroup: Path) -> None:
    """Files that are no more, cgroup.procs among them, say that the cgroup is gone."""
    directory = watch(cgroup / "cg", "cpu.stat", "memory.max")
    for file in (cgroup / "cg").iterdir():
        file.unlink()
    assert not directory.refresh(Descriptors(0))


def cgroups(root: Path) -> dict[str, bool]:
    """What a walk finds: leaf or not, by path, in its order."""
    return {path: leaf for path, _, leaf in Walker(str(root)).walk()}


@pytest.fixture
def tree(lay: Lay) -> Path:
    """Five cgroups with files, and links, which are none."""
    return lay(
        {
            "t/cgroup.procs": "",
            "t/a/cgroup.procs": "",
            "t/a/b/cgroup.procs": "",
            "t/a/b/c/": "",
            "t/d/cpu.stat": "",
            "t/link": "->a",
            "t/d/up": "->..",
        }
    ) / "t"  # fmt: skip


LEAVES = {"/": False, "/a": False, "/a/b": False, "/a/b/c": True, "/d": True}


def test_walk(tree: Path) -> None:
    """Every directory is found, parents before children, with its inode; links are not followed."""
    assert cgroups(tree) == LEAVES
    found = list(cgroups(tree))
    assert found[0] == "/"
    assert all(found.index(p) > found.index(p.rpartition("/")[0] or "/") for p in found[1:])
    for path, inode, _ in Walker(str(tree)).walk():
        assert inode == real_stat(f"{tree}{path}").st_ino


def test_walk_lists_no_leaf(tree: Path, replace_calls: Replace) -> None:
    """A link count of 2 says that there is nothing to list."""
    listed: list[str] = []

    def scandir(path: str) -> "os._ScandirIterator[str]":
        listed.append(path.removeprefix(str(tree)))
        return real_scandir(path)

    replace_calls(scandir=scandir)
    assert cgroups(tree) == LEAVES
    assert sorted(listed) == ["", "/a", "/a/b"]


def test_walk_without_link_counts(tree: Path, replace_calls: Replace) -> None:
    """Where the file system counts no links (btrfs) every directory is listed."""

    def stat(path: str) -> os.stat_result:
        status = tuple(real_stat(path))
        return os.stat_result((*status[:3], 1, *status[4:]))

    replace_calls(stat=stat)
    assert cgroups(tree) == LEAVES


@pytest.mark.parametrize("allowed", range(4))
def test_walk_allowance(tree: Path, allowed: int) -> None:
    """No more children of a cgroup are visited than allowed; the others are counted."""
    asked: list[tuple[str, int]] = []

    def allow(below: str, children: int) -> int:
        asked.append((below, children))
        return min(children, allowed if below == "/" else 1)

    walker = Walker(str(tree))
    for _ in range(2):
        asked.clear()
        found = [path for path, _, _ in walker.walk(allow)]
        assert asked[0] == ("/", 2)
        assert dict(asked).keys() <= {"/", "/a", "/a/b"}  # who has no children is not asked for
        assert sum(path.count("/") == 1 and path != "/" for path in found) == min(2, allowed)
        assert walker.left_out == max(0, 2 - allowed)
        assert all((p.rpartition("/")[0] or "/") in found for p in found)


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ENODEV, errno.EACCES, errno.EPERM])
@pytest.mark.parametrize("call", ["stat", "scandir"])
def test_walk_leaves_out_what_vanishes(
    tree: Path, replace_calls: Replace, call: str, number: int
) -> None:
    """A directory that is removed or forbidden while it is visited costs only itself."""

    def stat(path: str) -> os.stat_result:
        if path.endswith("/b"):
            raise OSError(number, "no", path)
        return real_stat(path)

    def scandir(path: str) -> "os._ScandirIterator[str]":
        if path.endswith("/b"):
            raise OSError(number, "no", path)
        return real_scandir(path)

    replace_calls(**{call: {"stat": stat, "scandir": scandir}[call]})
    walker = Walker(str(tree))
    assert [path for path, _, _ in walker.walk()] == [*cgroups(tree)]
    assert cgroups(tree) == {"/": False, "/a": False, "/d": True}
    assert walker.errors == []


def test_walk_while_children_vanish(tree: Path) -> None:
    """Children that are removed after they were listed are left out."""
    found = []
    for path, _, _ in Walker(str(tree)).walk():
        found.append(path)
        if path == "/":
            (tree / "a/b/c").rmdir()
            (tree / "d/up").unlink()
            (tree / "d/cpu.stat").unlink()
            (tree / "d").rmdir()
    assert sorted(found) == ["/", "/a", "/a/b"]


@pytest.mark.parametrize("number", NO_REASONS)
@pytest.mark.parametrize("call", ["stat", "scandir"])
def test_walk_errors(tree: Path, replace_calls: Replace, call: str, number: int) -> None:
    """An errno without a reason costs what is below; it is there to be said, for one walk."""

    def fail(path: str) -> None:
        if broken and path.endswith("/b"):
            raise OSError(number, "no", path)

    def stat(path: str) -> os.stat_result:
        fail(path)
        return real_stat(path)

    def scandir(path: str) -> "os._ScandirIterator[str]":
        fail(path)
        return real_scandir(path)

    replace_calls(**{call: {"stat": stat, "scandir": scandir}[call]})
    walker = Walker(str(tree))
    broken = True
    assert {path for path, _, _ in walker.walk()} == {"/", "/a", "/d"}
    assert [error.errno for error in walker.errors] == [number]
    broken = False
    assert {path for path, _, _ in walker.walk()} == LEAVES.keys()
    assert walker.errors == []


def test_walker_trusts_known_leaves(tree: Path, replace_calls: Replace) -> None:
    """A path that is said to be a leaf, and was one, is looked at now and then only."""
    walker = Walker(str(tree))
    looked: list[str] = []

    def stat(path: str) -> os.stat_result:
        looked.append(path.removeprefix(str(tree)))
        return real_stat(path)

    replace_calls(stat=stat)
    walks = []
    for walk in range(70):
        looked.clear()
        assert {path: leaf for path, _, leaf in walker.walk(leaves={"/d", "/a"})} == LEAVES
        assert {"", "/a", "/a/b", "/a/b/c"} <= set(looked)
        walks += [walk] if "/d" in looked else []
    assert walks == [0, 1, 2, 4, 8, 16, 32, 64]
    looked.clear()
    list(walker.walk())
    assert "/d" in looked


def test_walker_looks_below_what_was_no_leaf(tree: Path) -> None:
    """A path that is a leaf elsewhere and has children here is no leaf here."""
    walker = Walker(str(tree))
    for _ in range(10):
        assert {path: leaf for path, _, leaf in walker.walk(leaves={"/a"})} == LEAVES


def test_walker_finds_the_children_of_a_known_leaf(tree: Path) -> None:
    """What a known leaf got meanwhile is found at the next look."""
    walker = Walker(str(tree))
    for _ in range(6):
        list(walker.walk(leaves={"/d"}))
    (tree / "d/new").mkdir()
    found = ["/d/new" in [path for path, _, _ in walker.walk(leaves={"/d"})] for _ in range(6, 20)]
    assert found == [number >= 8 for number in range(6, 20)]


def test_walker_knows_a_new_directory(tree: Path) -> None:
    """A directory that was made again under the name of a leaf is looked at as a new one."""
    walker = Walker(str(tree))
    for _ in range(6):
        before = {path: inode for path, inode, _ in walker.walk(leaves={"/d"})}
    (tree / "d").rename(tree / "old")  # keeps the old inode from being given again
    (tree / "d/new").mkdir(parents=True)
    found = {path: inode for path, inode, _ in walker.walk(leaves={"/d"})}
    assert found["/d"] == real_stat(tree / "d").st_ino != before["/d"]
    assert found["/old"] == before["/d"]
    assert "/d/new" in found


def test_outcomes() -> None:
    """What became of each file, over all cgroups that are watched."""
    outcomes = Outcomes()
    assert outcomes.names == []
    outcomes.add("cpu.max", b"")
    outcomes.add("cpu.max", b"max 100000")
    outcomes.add("cpu.max", Missing.ABSENT)
    outcomes.add("a", Missing.DENIED)
    assert outcomes.names == ["a", "cpu.max"]
    assert outcomes.of("cpu.max") == (2, {Missing.ABSENT: 1})
    assert outcomes.of("a") == (0, {Missing.DENIED: 1})
    outcomes.add("a", Missing.DENIED, -1)
    assert outcomes.names == ["cpu.max"]


@pytest.mark.parametrize("bound", [0, 1, 10])
def test_outcomes_of_a_directory(cgroup: Path, faults: Faults, bound: int) -> None:
    """Every change of a file's content is counted, and nothing is left of a closed directory."""
    outcomes = Outcomes()
    names = ("cpu.stat", "memory.max", "irq.pressure")
    inode = real_stat(cgroup / "cg").st_ino
    directory = Directory(Top(str(cgroup)), "cg", inode, map(File, names), outcomes)
    descriptors = Descriptors(bound)
    directory.refresh(descriptors)
    assert [outcomes.of(name) for name in names] == [(1, {}), (1, {}), (0, {Missing.ABSENT: 1})]
    for call in ("open", "pread"):
        faults.inject(call, "cpu.stat", errno.EACCES)
    directory.refresh(descriptors)
    assert outcomes.of("cpu.stat") == (0, {Missing.DENIED: 1})
    for call in ("open", "pread"):
        faults.inject(call, "cpu.stat", 0)
    directory.refresh(descriptors)
    directory.refresh(descriptors)
    assert outcomes.of("cpu.stat") == (1, {})
    directory.close(descriptors)
    assert outcomes.names == []


def test_directories(tree: Path) -> None:
    """The directories in a directory, in order, links left out."""
    assert kernel.directories(str(tree)) == [f"{tree}/a", f"{tree}/d"]
    assert kernel.directories(f"{tree}/a/b/c") == []


def test_walk_without_root(tmp_path: Path) -> None:
    """There is nothing where there is no directory."""
    assert cgroups(tmp_path / "none") == {}


UNLIMITED = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("soft", "hard", "privileged", "wanted", "allowed", "after"),
    [
        (1024, 4096, False, 100, 100, (1024, 4096)),
        (1024, 4096, False, 768, 768, (1024, 4096)),
        (1024, 100_000, False, 50_000, 50_000, (50_256, 100_000)),
        (1024, 4096, False, 50_000, 3_840, (4096, 4096)),
        (1024, 4096, True, 50_000, 50_000, (50_256, 50_256)),
        (UNLIMITED, UNLIMITED, False, 50_000, 50_000, (UNLIMITED, UNLIMITED)),
        (100, 100, False, 50_000, 0, (100, 100)),
    ],
)
def test_descriptor_limit(
    monkeypatch: pytest.MonkeyPatch,
    soft: int,
    hard: int,
    privileged: bool,
    wanted: int,
    allowed: int,
    after: tuple[int, int],
) -> None:
    """The limit is raised as far as needed and allowed; some stay free for the rest."""
    limits = soft, hard

    def getrlimit(kind: int) -> tuple[int, int]:
        assert kind == resource.RLIMIT_NOFILE
        return limits

    def setrlimit(kind: int, new: tuple[int, int]) -> None:
        nonlocal limits
        if new[0] > new[1] or (new[1] > limits[1] and not privileged):
            raise ValueError("not allowed to raise maximum limit")
        limits = new

    monkeypatch.setattr(resource, "getrlimit", getrlimit)
    monkeypatch.setattr(resource, "setrlimit", setrlimit)
    assert raise_limit(wanted) == allowed
    assert limits == after


def test_descriptors() -> None:
    """Claims are granted up to the bound, and again after one is given back."""
    descriptors = Descriptors(2)
    assert [descriptors.take() for _ in range(4)] == [True, True, False, False]
    descriptors.give_back()
    assert [descriptors.take() for _ in range(2)] == [True, False]
    assert descriptors.held == 2


@pytest.mark.parametrize(
    ("wanted", "room", "others", "limit"),
    [(10, 20, 0, 10), (10, 20, 10, 10), (10, 20, 15, 5), (10, 20, 30, 0), (10, None, 3, 7)],
)
def test_room_for_others(wanted: int, room: int | None, others: int, limit: int) -> None:
    """What others have open is taken from the room, and from what is wanted only beyond it."""
    descriptors = Descriptors(wanted, room)
    descriptors.leave(others)
    assert descriptors.limit == limit
