r"""procfs files: mounts, PIDs in nested namespaces, scores, devices."""

from collections.abc import Callable
from typing import TypeVar

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cgexporter.parse.formats import ParseError
from cgexporter.parse.proc import (
    Mount,
    name_of,
    parse_boot_time,
    parse_cgroup_mounts,
    parse_namespace_link,
    parse_nested_pids,
    parse_partitions,
    parse_score,
    parse_start_time,
)

Fixture = Callable[[str], bytes]
T = TypeVar("T")

CGROUP2 = "31 22 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"


def test_unified_host(fixture: Fixture) -> None:
    """A v2 host has one cgroup mount among its others."""
    assert parse_cgroup_mounts(fixture("v2-6.1-systemd/proc/1/mountinfo")) == [
        Mount(
            device="0:26",
            root="/",
            mount_point="/sys/fs/cgroup",
            fstype="cgroup2",
            options=frozenset({"rw", "nsdelegate", "memory_recursiveprot"}),
        )
    ]


def test_hybrid_host(fixture: Fixture) -> None:
    """A hybrid host mounts each v1 hierarchy and a v2 one; controllers are super options."""
    mounts = parse_cgroup_mounts(fixture("hybrid-6.1-systemd/proc/1/mountinfo"))
    assert len(mounts) == 14
    assert mounts[0] == Mount(
        "0:27", "/", "/sys/fs/cgroup/unified", "cgroup2", frozenset({"rw", "nsdelegate"})
    )
    assert (
        Mount(
            "0:33", "/", "/sys/fs/cgroup/cpu,cpuacct", "cgroup", frozenset({"rw", "cpu", "cpuacct"})
        )
        in mounts
    )
    assert {mount.fstype for mount in mounts[1:]} == {"cgroup"}


def test_named_hierarchy(fixture: Fixture) -> None:
    """The hierarchy of systemd has a name and no controller."""
    (systemd,) = (
        mount
        for mount in parse_cgroup_mounts(fixture("v1-6.1-docker/proc/1/mountinfo"))
        if mount.mount_point.endswith("/systemd")
    )
    assert systemd.options == {
        "rw",
        "xattr",
        "release_agent=/lib/systemd/systemd-cgroups-agent",
        "name=systemd",
    }


@pytest.mark.parametrize("optional", ["", " shared:9", " shared:9 master:1", " unbindable"])
def test_optional_fields(optional: str) -> None:
    """There may be any number of optional fields before the dash."""
    line = f"31 22 0:26 /docker/1 /mnt/cgroup rw{optional} - cgroup2 none rw"
    assert parse_cgroup_mounts(line.encode()) == [
        Mount("0:26", "/docker/1", "/mnt/cgroup", "cgroup2", frozenset({"rw"}))
    ]


def test_escapes() -> None:
    r"""The kernel writes blanks, tabs, line ends and backslashes as octal: \040 \011 \012 \134."""
    line = rb"31 22 0:26 /a\040b\011c\012d\134e /mnt\134040\040x rw - cgroup2 cgroup2 rw"
    (mount,) = parse_cgroup_mounts(line)
    assert mount.root == "/a b\tc\nd\\e"
    assert mount.mount_point == r"/mnt\040 x"


def test_names_that_are_not_utf8() -> None:
    """A path is bytes: what is not UTF-8 becomes surrogates, as os.listdir gives it."""
    line = b"31 22 0:26 /\xff /mnt/\xe4\\366\xc3\xb6 rw - cgroup2 cgroup2 rw"
    (mount,) = parse_cgroup_mounts(line)
    assert mount.root == "/\udcff"
    assert mount.mount_point == "/mnt/\udce4\udcf6ö"
    assert mount.mount_point.encode("utf-8", "surrogateescape") == b"/mnt/\xe4\xf6\xc3\xb6"


def test_without_super_options() -> None:
    """A mount may end behind its source."""
    (mount,) = parse_cgroup_mounts(b"31 22 0:26 / /mnt rw - cgroup2 cgroup2")
    assert mount.options == frozenset()


def test_other_mounts() -> None:
    """Mounts of other kinds are left out, also where a path says cgroup2."""
    lines = [
        "21 24 0:20 / /proc rw - proc proc rw",
        "22 24 0:21 / /cgroup2 rw - tmpfs cgroup2 rw",
        "23 24 0:22 / /mnt rw - cgroup2fs cgroup2 rw",
    ]
    assert parse_cgroup_mounts("\n".join(lines).encode()) == []
    assert parse_cgroup_mounts(b"") == []


@pytest.mark.parametrize(
    "line",
    [
        "x",
        "",
        "31 22 0:26 / /mnt rw cgroup2 cgroup2 rw",
        "31 22 0:26 / /mnt - cgroup2 cgroup2 rw",
        "31 22 0:26 / /mnt rw - cgroup2",
        "31 22 0:26 / /mnt rw -",
    ],
)
def test_malformed_mount(line: str) -> None:
    """A line without the fields of mountinfo is refused, and named."""
    with pytest.raises(ParseError, match="line 2: expected a mount"):
        parse_cgroup_mounts(f"{CGROUP2}{line}\n".encode())


def test_carriage_return_in_a_mount_point() -> None:
    """The kernel escapes no carriage return: one in any mount's path ends no line."""
    odd = b"40 22 8:1 / /media/a\rb rw - vfat /dev/sda1 rw\n"
    assert len(parse_cgroup_mounts(odd + CGROUP2.encode())) == 1


@given(st.binary(min_size=1).filter(lambda name: b"\0" not in name and b"\r" not in name))
def test_any_mount_point(name: bytes) -> None:
    """Whatever name a mount point has, the kernel's way of writing it is read back."""
    escaped = b"".join(
        b"\\%03o" % byte if byte in b" \t\n\\" else bytes([byte]) for byte in b"/" + name
    )
    line = b"31 22 0:26 " + escaped + b" " + escaped + b" rw - cgroup2 cgroup2 rw\n"
    (mount,) = parse_cgroup_mounts(line)
    assert mount.root == mount.mount_point == name_of(b"/" + name)


@pytest.mark.parametrize(
    ("link", "inode"),
    [
        ("pid:[4026531836]", 4_026_531_836),
        ("pid_for_children:[4026531836]", 4_026_531_836),
        ("net:[1]", 1),
    ],
)
def test_namespace_link(link: str, inode: int) -> None:
    """A namespace is its inode; which kind it is says the link's name."""
    assert parse_namespace_link(link) == inode


@pytest.mark.parametrize(
    "link",
    ["", "pid", "pid:[]", "pid:[x]", "pid:[1", "pid:[-1]", "/proc/1", "pid:[1]\n", "pid:[٣]"],
)
def test_malformed_namespace_link(link: str) -> None:
    """Anything else is no namespace."""
    with pytest.raises(ParseError):
        parse_namespace_link(link)


@pytest.mark.parametrize(("pid", "pids"), [(621, (621, 1)), (562, (562,)), (2260, (2260, 1))])
def test_nested_pids(fixture: Fixture, pid: int, pids: tuple[int, ...]) -> None:
    """A container's first process is 1 in its namespace; a service's has one number."""
    assert parse_nested_pids(fixture(f"v2-6.1-systemd/proc/{pid}/status")) == pids


def test_nested_pids_of_older_kernels() -> None:
    """Before Linux 4.1 there is no NSpid: nothing is known."""
    assert parse_nested_pids(b"Name:\tsh\nPid:\t5\n") == ()
    assert parse_nested_pids(b"") == ()


def test_nested_pids_of_deep_namespaces() -> None:
    """One number for each namespace, the outermost first; none where it has no number."""
    assert parse_nested_pids(b"NSpid:\t900\t17\t1\n") == (900, 17, 1)
    assert parse_nested_pids(b"NSpid:\n") == ()


def test_malformed_nested_pids() -> None:
    """A word that is no PID is refused."""
    with pytest.raises(ParseError):
        parse_nested_pids(b"NSpid:\t5\tx\n")


def test_names_forge_no_pids() -> None:
    r"""A process' name stands before NSpid; its line ends are written as \n."""
    assert parse_nested_pids(b"Name:\tNSpid: 1 2\nNSpid:\t7\n") == (7,)
    assert parse_nested_pids(b"Name:\t\\nNSpid: 1 2\nNSpid:\t7\n") == (7,)


@pytest.mark.parametrize("name", [b"\rNSpid:\t7\t1", b"\rNSpid:\tx"])
def test_carriage_return_in_a_name(name: bytes) -> None:
    r"""The kernel escapes "\n" and "\\" in names and nothing else: fs/proc/array.c.

    prctl(PR_SET_NAME) is open to everyone. Such a name must neither make a process look
    nested nor make its status malformed.
    """
    assert parse_nested_pids(b"Name:\t" + name + b"\nUmask:\t0022\nNSpid:\t7\n") == (7,)


@pytest.mark.parametrize(
    ("data", "score"), [(b"-998\n", -998), (b"0\n", 0), (b"1000\n", 1000), (b"-1000", -1000)]
)
def test_score(data: bytes, score: int) -> None:
    """From -1000, never killed, to 1000, killed first."""
    assert parse_score(data) == score


@pytest.mark.parametrize(
    "data", [b"", b"\n", b"x\n", b"--1\n", b"+1\n", b"1.5\n", b"10000\n", b"1 2"]
)
def test_malformed_score(data: bytes) -> None:
    """Anything else is no score."""
    with pytest.raises(ParseError):
        parse_score(data)


def test_captured_scores(fixture: Fixture) -> None:
    """A pod's sandbox has -998, a BestEffort container 1000."""
    assert parse_score(fixture("v2-6.1-kubernetes/proc/1712/oom_score_adj")) == -998
    assert parse_score(fixture("v2-6.1-kubernetes/proc/1826/oom_score_adj")) == 1000


def test_start_time(fixture: Fixture) -> None:
    """A process is its PID and the clock tick in which it began."""
    assert parse_start_time(fixture("v2-6.1-systemd/proc/621/stat")) == 3948
    assert parse_start_time(fixture("v2-6.1-systemd/proc/562/stat")) != 3948


@pytest.mark.parametrize("name", ["sh", "a b", ") S 1 2 3", "((", "\r\n", "0) " * 5])
def test_names_forge_no_start_time(name: str) -> None:
    """The name of a command may hold parentheses, blanks and line ends."""
    data = f"7 ({name}) S{' 1' * 18} 4711 2 3\n".encode()
    assert parse_start_time(data) == 4711


@pytest.mark.parametrize("data", [b"", b"\n", b"7 (sh) S 1 2 3\n", b"7 (sh) S" + b" x" * 40])
def test_malformed_start_time(data: bytes) -> None:
    """A file without that field is refused."""
    with pytest.raises(ParseError):
        parse_start_time(data)


def test_partitions(fixture: Fixture) -> None:
    """Devices by their numbers; the heading and the empty line are none."""
    data = fixture("v2-6.1-systemd/proc/partitions")
    assert parse_partitions(data) == {"254:0": "vda", "254:16": "vdb"}


def test_partitions_leave_odd_lines_out() -> None:
    """A line of another form costs the others nothing."""
    data = b"major minor  #blocks  name\n\n 8 0 1 sda\n 8 x 1 sdb\n 8 2\n 259 0 2 nvme0n1\n"
    assert parse_partitions(data) == {"8:0": "sda", "259:0": "nvme0n1"}
    assert parse_partitions(b"") == {}


def refusal(parse: Callable[[T], object], content: T) -> str:
    """Parse something; return the message of a ParseError, "" where there is none."""
    try:
        parse(content)
    except ParseError as exc:
        return str(exc)
    return ""


BYTES_PARSERS = [
    parse_cgroup_mounts,
    parse_nested_pids,
    parse_partitions,
    parse_score,
    parse_start_time,
]
PIECES = st.sampled_from(
    (
        *(b"NSpid:", b"31 22 0:26 / /mnt rw", b" - ", b"cgroup", b"cgroup2", b" rw,cpu"),
        *(b"8 0 1 sda", b"-998", b" ", b"\t", b"\n", b"\r", b"1", b"x", b"\\040", b"\\777"),
        *(b"\\", b"\xff", b"\x85"),
    )
)


@pytest.mark.parametrize("parse", BYTES_PARSERS)
@given(st.binary() | st.lists(PIECES).map(b"".join))
@example(b"\n")
@example(b"NSpid:\t\xb2\n")
@example("NSpid:\t²\n".encode())
def test_any_bytes(parse: Callable[[bytes], object], data: bytes) -> None:
    """Whatever a file holds: a result, or ParseError, and nothing else."""
    assert len(refusal(parse, data)) < 500


@given(st.text() | st.from_regex(r"[a-z_]+:\[[^\n]*\]", fullmatch=True))
def test_any_link(link: str) -> None:
    """Whatever a link says: an inode, or ParseError."""
    assert len(refusal(parse_namespace_link, link)) < 500


@given(st.binary())
def test_names_lose_no_byte(name: bytes) -> None:
    """Any name can be turned back into its bytes, so that it can be opened."""
    assert name_of(name).encode("utf-8", "surrogateescape") == name


def test_boot_time() -> None:
    """The line btime of /proc/stat, wherever it is; without it there is none."""
    assert parse_boot_time(b"cpu  1 2\nctxt 5\nbtime 1795500000\nprocesses 7\n") == 1795500000
    for data in (b"", b"cpu 1\n", b"btime x\n"):
        with pytest.raises(ParseError):
            parse_boot_time(data)
