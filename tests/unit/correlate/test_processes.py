"""What the first process of a cgroup tells of it."""

import errno
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgexporter.correlate.processes import KINDS, Links, Process, first_process, read_process
from cgexporter.hierarchies import Hierarchies, Hierarchy, find
from cgexporter.parse.namespaces import IdRange

Lay = Callable[[Mapping[str, str]], Path]
Count = Callable[[], int]
Replace = Callable[..., None]

HOST = {kind: 4_026_531_835 + number for number, kind in enumerate(KINDS)}
OWN = {kind: 4_026_532_200 + number for number, kind in enumerate(KINDS)}


@pytest.fixture
def procfs(fixtures: Path) -> str:
    """The captured /proc of a v2 host."""
    return f"{fixtures}/v2-6.1-systemd/proc"


def stat_of(pid: int, started: int = 50, name: str = "sh") -> str:
    """Content of /proc/PID/stat, up to the field that is read."""
    return f"{pid} ({name}) S{' 0' * 18} {started} 0 0\n"


def files_of(pid: int, nested: str = "", score: int = 0) -> dict[str, str]:
    """Files of one process in a hand-made /proc."""
    return {
        f"proc/{pid}/stat": stat_of(pid),
        f"proc/{pid}/status": f"Name:\tsh\nNSpid:\t{pid}{nested}\n",
        f"proc/{pid}/oom_score_adj": f"{score}\n",
        f"proc/{pid}/ns/net": "->net:[4026531840]",
    }


def test_container(procfs: str) -> None:
    """A container's first process has namespaces of its own, and shares user and time."""
    namespaces = {
        "cgroup": 4_026_532_308,
        "ipc": 4_026_532_249,
        "mnt": 4_026_532_247,
        "net": 4_026_532_251,
        "pid": 4_026_532_250,
        "time": 4_026_531_834,
        "user": 4_026_531_837,
        "uts": 4_026_532_248,
    }
    everyone = (IdRange(0, 0, 4_294_967_295),)
    assert read_process(procfs, 621) == Process(
        pid=621,
        started=3948,
        levels=2,
        namespaces=namespaces,
        denied=False,
        init=True,
        links=Links(tuple(namespaces.values()), None, denied=False),
        uid_map=everyone,
        gid_map=everyone,
        oom_score_adj=0,
    )


def test_service(procfs: str) -> None:
    """A service lives in the host's namespaces."""
    service = read_process(procfs, 562)
    assert service is not None
    assert not service.nested
    assert service.namespaces["pid"] == 4_026_531_836
    assert service.namespaces["mnt"] == 4_026_531_841


def test_sandbox(fixtures: Path) -> None:
    """The sandbox of a pod has the score that kubelet gives it."""
    sandbox = read_process(f"{fixtures}/v2-6.1-kubernetes/proc", 1712)
    assert sandbox is not None
    assert sandbox.oom_score_adj == -998


def test_dead_process(procfs: str, lay: Lay) -> None:
    """A process that has exited, before or while it is read, is none."""
    assert read_process(procfs, 99_999) is None
    root = lay({"proc/7/oom_score_adj": "0\n"})  # its status and stat are gone
    assert read_process(f"{root}/proc", 7) is None


def test_without_details(lay: Lay) -> None:
    """What a process does not tell is absent: an old kernel, a file that is missing."""
    root = lay({"proc/7/stat": stat_of(7), "proc/7/status": "Name:\tsh\n"})
    assert read_process(f"{root}/proc", 7) == Process(7, 50)
    root = lay({"proc/8/stat": stat_of(8, 51)})
    assert read_process(f"{root}/proc", 8) == Process(8, 51)


def test_denied(lay: Lay, replace_calls: Replace) -> None:
    """Without ptrace access the namespaces are not known, and that is said; the rest is."""
    root = lay(files_of(7, "\t1", -998))

    def readlink(path: str, *, dir_fd: int | None = None) -> str:
        raise OSError(errno.EACCES, "denied", path)

    replace_calls(readlink=readlink)
    assert read_process(f"{root}/proc", 7) == Process(
        7,
        50,
        levels=2,
        denied=True,
        oom_score_adj=-998,
        links=Links((None,) * len(KINDS), None, denied=True),
        init=True,
    )


def test_dies_while_read(lay: Lay, replace_calls: Replace, count_descriptors: Count) -> None:
    """A process that dies in the middle is gone, and leaves no descriptor."""
    root = lay(files_of(7, "\t1"))

    def readlink(path: str, *, dir_fd: int | None = None) -> str:
        for file in ("stat", "status", "oom_score_adj"):
            (root / "proc/7" / file).unlink(missing_ok=True)
        raise OSError(errno.ENOENT, "gone", path)

    replace_calls(readlink=readlink)
    before = count_descriptors()
    assert read_process(f"{root}/proc", 7) is None
    assert count_descriptors() == before


def test_this_process() -> None:
    """The kernel's own files are understood: this process has one namespace of each kind."""
    this = read_process("/proc", os.getpid())
    assert this is not None
    assert this.pid == os.getpid()
    assert this.namespaces.keys() <= set(KINDS)
    assert this.namespaces["pid"] == os.stat("/proc/self/ns/pid").st_ino
    assert not this.denied
    score = Path("/proc/self/oom_score_adj").read_text()
    assert this.oom_score_adj == int(score)


@pytest.mark.parametrize(
    "odd",
    [
        {"proc/7/status": "NSpid:\tx\n"},
        {"proc/7/oom_score_adj": "x\n"},
        {"proc/7/stat": "7 (sh) S 0\n"},
        {"proc/7/stat": "7 (sh) S" + " x" * 30},
        {"proc/7/ns/net": "->net"},
    ],
)
def test_odd_process(lay: Lay, odd: Mapping[str, str], caplog: pytest.LogCaptureFixture) -> None:
    """A process whose files cannot be understood is left out, with a warning that says which."""
    root = lay({**files_of(7), **odd})
    assert read_process(f"{root}/proc", 7) is None
    (logged,) = caplog.records
    assert logged.getMessage().startswith("process 7 is left out: ")


@pytest.mark.parametrize("name", [b"\rNSpid:\t7\t1", b"\rNSpid:\tx"])
def test_name_with_a_carriage_return(lay: Lay, name: bytes) -> None:
    r"""Anyone may call a process so, by prctl(PR_SET_NAME): the kernel writes "\r" as it is."""
    root = lay(files_of(7))
    (root / "proc/7/status").write_bytes(b"Name:\t" + name + b"\nNSpid:\t7\n")
    process = read_process(f"{root}/proc", 7)
    assert process is not None
    assert not process.nested


def process(namespaces: Mapping[str, int], *, levels: int = 0) -> Process:
    """A process in these namespaces."""
    return Process(7, 50, levels, namespaces)


def without(*kinds: str) -> dict[str, int]:
    """The host's namespaces, but own ones of these kinds."""
    return HOST | {kind: OWN[kind] for kind in kinds}


@pytest.mark.parametrize(
    ("own", "isolated"),
    [
        ((), False),
        (("mnt",), False),  # PrivateTmp= and most of systemd's sandboxing
        (("net",), False),  # PrivateNetwork= without a mount namespace, ip netns exec
        (("mnt", "time"), False),
        (("time",), False),
        (("net", "uts", "ipc"), False),  # no root file system of its own
        (("mnt", "net"), True),
        (("mnt", "uts"), True),
        (("mnt", "cgroup"), True),
        (KINDS, True),
    ],
)
def test_isolation_by_namespaces(own: tuple[str, ...], isolated: bool) -> None:
    """A mount namespace and one more kind of its own make a container, less does not."""
    assert process(without(*own)).is_isolated_from(process(HOST)) is isolated


def test_isolation_by_pid_namespace() -> None:
    """A nested PID namespace is enough, also where no namespace may be read."""
    assert process({}, levels=2).is_isolated_from(None)
    assert process({}, levels=2).is_isolated_from(process({}))


def test_isolation_unknown() -> None:
    """What is not known proves nothing."""
    assert not process(OWN).is_isolated_from(None)
    assert not process(OWN).is_isolated_from(process({}))
    assert not process({}).is_isolated_from(process(HOST))
    assert not process({"mnt": 1}).is_isolated_from(process(HOST))


@given(st.sets(st.sampled_from(KINDS)), st.sets(st.sampled_from(KINDS)))
def test_isolation_grows_with_knowledge(own: set[str], readable: set[str]) -> None:
    """Whoever is isolated by some kinds is so by all."""
    seen = {kind: inode for kind, inode in without(*own).items() if kind in readable}
    if process(seen).is_isolated_from(process(HOST)):
        assert process(without(*own)).is_isolated_from(process(HOST))


@pytest.fixture
def captured(fixtures: Path) -> Hierarchies:
    """The captured v2 host."""
    return find(f"{fixtures}/v2-6.1-systemd/sys/fs/cgroup", f"{fixtures}/v2-6.1-systemd/proc")


P_CPU = "/machine.slice/libpod-847ddf70a7e5b69c7dce14dc5f34797280636047514589bab0110f8e15efe13b"


def test_first_process_below(captured: Hierarchies) -> None:
    """Podman with crun runs a container's processes in a cgroup below the container's."""
    found = first_process(captured, f"{P_CPU}.scope", lambda _path, _below: True)
    assert found is not None
    assert found.pid == 1226
    assert first_process(captured, f"{P_CPU}.scope", None) is None
    assert first_process(captured, f"{P_CPU}.scope", lambda _path, _below: False) is None


def test_first_process_of_the_cgroup_itself(captured: Hierarchies) -> None:
    """Of a cgroup with processes of its own the first is taken."""
    found = first_process(captured, "/default/c-fs", None)
    assert found is not None
    assert found.pid == 1783


def test_cgroup_that_is_gone(captured: Hierarchies) -> None:
    """A cgroup that is not there has no process."""
    assert first_process(captured, "/none", None) is None
    assert first_process(captured, "/none", lambda _path, _below: True) is None


def unified(root: Path) -> Hierarchies:
    """A hand-made v2 host."""
    tree = Hierarchy(f"{root}/cg", "/", frozenset(), unified=True)
    return Hierarchies(tree, {}, f"{root}/proc")


def test_which_cgroups_are_asked(lay: Lay) -> None:
    """The paths below the cgroup are offered one by one, the cgroup itself is not."""
    root = lay({f"cg/a{below}/cgroup.procs": "" for below in ("", "/b", "/b/c")})
    asked: list[tuple[str, str]] = []

    def belongs(path: str, below: str) -> bool:
        asked.append((path, below))
        return True

    assert first_process(unified(root), "/a", belongs) is None
    assert asked == [("/a", "/a/b"), ("/a", "/a/b/c")]


def test_root_cgroup(lay: Lay) -> None:
    """The root's path is no prefix to write twice."""
    root = lay({"cg/cgroup.procs": "7\n", **files_of(7)})
    found = first_process(unified(root), "/", None)
    assert found is not None
    assert found.pid == 7


def test_first_living_process(lay: Lay) -> None:
    """Dead and invisible processes are passed over."""
    root = lay({"cg/a/cgroup.procs": "0\n5\n0\n7\n8\n", **files_of(7), **files_of(8)})
    found = first_process(unified(root), "/a", None)
    assert found is not None
    assert found.pid == 7


def test_no_visible_process(lay: Lay) -> None:
    """Across a PID namespace there is none to read."""
    root = lay({"cg/a/cgroup.procs": "0\n0\n", "proc/": ""})
    assert first_process(unified(root), "/a", None) is None


def test_odd_list_of_processes(lay: Lay, caplog: pytest.LogCaptureFixture) -> None:
    """A cgroup.procs that cannot be understood is passed over, and that is said."""
    root = lay({"cg/a/cgroup.procs": "x\n", "cg/a/b/cgroup.procs": "7\n", **files_of(7)})
    found = first_process(unified(root), "/a", lambda _path, _below: True)
    assert found is not None
    assert found.pid == 7
    (logged,) = caplog.records
    assert "cgroup.procs of cgroup '/a'" in logged.getMessage()


def test_how_many_cgroups_are_asked(lay: Lay) -> None:
    """A container with many cgroups costs no more than some of them."""
    root = lay({f"cg/a/{number}/x/cgroup.procs": "" for number in range(60)})
    asked: list[str] = []

    def belongs(_path: str, below: str) -> bool:
        asked.append(below)
        return True

    assert first_process(unified(root), "/a", belongs) is None
    assert 0 < len(asked) <= 32


def test_how_deep_cgroups_are_asked(lay: Lay) -> None:
    """Nor does one with cgroups in cgroups in cgroups: nothing bounds the time of this search."""
    numbers = range(6)
    root = lay({f"cg/a/{x}/{y}/{z}/{w}/": "" for x in numbers for y in numbers for z in numbers
                for w in numbers})  # fmt: skip
    asked: list[str] = []

    def belongs(_path: str, below: str) -> bool:
        asked.append(below)
        return True

    assert first_process(unified(root), "/a", belongs) is None
    assert len(asked) <= 16 + 16 * 16


def test_threaded_cgroup(lay: Lay, replace_calls: Replace) -> None:
    """A threaded cgroup says EOPNOTSUPP for its processes: another is asked."""
    root = lay({"cg/a/cgroup.procs": "7\n", "cg/a/b/cgroup.procs": "8\n"})
    lay({**files_of(7), **files_of(8)})
    real_read = os.read
    first = True

    def read(fd: int, size: int) -> bytes:
        nonlocal first
        if first:
            first = False
            raise OSError(errno.EOPNOTSUPP, "threaded")
        return real_read(fd, size)

    replace_calls(read=read)
    found = first_process(unified(root), "/a", lambda _path, _below: True)
    assert found is not None
    assert found.pid == 8


def test_path_of_one_hierarchy(lay: Lay) -> None:
    """A path is looked for in every hierarchy; each may have it or not."""
    root = lay({"cpu/cgroup.procs": "", "memory/a/cgroup.procs": "7\n", **files_of(7)})
    trees = {
        name: Hierarchy(f"{root}/{name}", "/", frozenset({name}), unified=False)
        for name in ("cpu", "memory")
    }
    found = first_process(Hierarchies(None, trees, f"{root}/proc"), "/a", None)
    assert found is not None
    assert found.pid == 7


def test_exits_while_read(lay: Lay, replace_calls: Replace) -> None:
    """The kernel says EINVAL for the ID maps of a process that exits: that fails nothing."""
    root = lay({**files_of(7), "proc/7/uid_map": "0 0 1\n"})
    real = os.open

    def open_(path: str, flags: int, *, dir_fd: int | None = None) -> int:
        if path == "uid_map":
            raise OSError(errno.EINVAL, "exits", path)
        return real(path, flags, dir_fd=dir_fd)

    replace_calls(open=open_)
    process = read_process(f"{root}/proc", 7)
    assert process is not None
    assert process.uid_map == ()
