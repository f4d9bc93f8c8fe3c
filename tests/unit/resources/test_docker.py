"""Docker's options, against the captured hosts and the letter of Docker's own parser."""

import re
import shlex
from pathlib import Path

import pytest

from cgexporter.resources.docker import ONE_IS_REFUSED, explain, number_list, size, slice_path
from cgexporter.resources.docker_options import read_command
from cgexporter.resources.settings import ExplainError, Explanation
from tests.tools.enforced import Host, differences, reader

_DISK = "/dev/vdb"
_IOPS = f"--device-write-iops {_DISK}:100"


def devices(path: str) -> tuple[str, str] | None:
    """The devices of the captured host, and null."""
    return {"/dev/vdb": ("b", "254:16"), "/dev/null": ("c", "1:3")}.get(path)


def said(options: str) -> Explanation:
    """What is said of some options."""
    return explain(read_command(["docker", "run", *shlex.split(options)]), devices)


def files(explanation: Explanation, version: str) -> dict[str, str]:
    """What the files say; the last one of several for a file."""
    settings = explanation.groups[0].settings
    lines = [line for one in settings for line in (one.v1 if version == "v1" else one.v2)]
    return {line.file: line.value for line in lines}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("d-cpu", "--cpus 0.2 --cpu-shares 512 --memory 64m --memory-reservation 32m"),
        ("d-cpu", "--pids-limit 50 --cpus 0.2"),
        ("d-io", f"--device-read-bps {_DISK}:1mb --device-write-bps {_DISK}:2mb {_IOPS}"),
        ("d-host", "--cgroupns=host --cgroup-parent lab-parent.slice"),
    ],
)
def test_captured_containers_of_v2(fixtures: Path, name: str, options: str) -> None:
    """A captured Docker container's files say what its options are explained to become."""
    tree = fixtures / "v2-6.1-systemd"
    note = (tree / "NOTE.md").read_text()
    (line,) = [line for line in note.splitlines() if line.startswith(f"| {name} |")]
    row = re.search(r"`docker run -d (.*) lab:1 .*` \| `(.*)` \|$", line)
    assert row is not None
    assert all(word in row[1] for word in options.split())
    explanation = said(options)
    place = row[2].lstrip("/")
    host = Host(
        version="v2",
        quadratic=False,
        driver="systemd",
        read=reader([tree / "sys/fs/cgroup" / place]),
    )
    compared, wrong = differences(explanation.groups[0].settings, host)
    assert not wrong
    assert compared or name == "d-host"
    foreseen = re.escape(explanation.groups[0].systemd).replace("<ID>", "[0-9a-f]{64}")
    assert re.fullmatch(foreseen, row[2])


def test_each_version_of_a_setting() -> None:
    """What v1 has and v2 has not is said to be dropped, and why."""
    explanation = said("-m 64m --memory-swappiness 5 --oom-kill-disable --kernel-memory 50m")
    by_option = {one.asked.split()[0]: one for one in explanation.groups[0].settings}
    for option in ("--memory-swappiness", "--oom-kill-disable"):
        assert by_option[option].v1
        assert not by_option[option].v2
        assert "drops it" in by_option[option].note
    assert not by_option["--kernel-memory"].v1
    assert not by_option["--kernel-memory"].v2
    assert "sets nothing" in by_option["--kernel-memory"].note


def test_both_weights() -> None:
    """Where runtimes differ, both weights are said and by whom."""
    lines = said("--cpu-shares 1024").groups[0].settings[0].v2
    assert [(line.value, line.when) for line in lines] == [
        ("100", "runc >= 1.3.2, crun >= 1.23"),
        ("39", "runc < 1.3.2, crun < 1.23"),
    ]


@pytest.mark.parametrize("limit", ["-1", "0"])
def test_no_limit_of_tasks(limit: str) -> None:
    """Docker drops it, so that with the systemd driver systemd's default acts."""
    (one,) = said(f"--pids-limit {limit}").groups[0].settings
    assert [(line.value, line.when) for line in one.v2] == [("max", "driver cgroupfs")]
    assert "DefaultTasksMax" in one.note


def test_a_rate_that_kernels_refuse() -> None:
    """A rate of 1 is refused by some kernels on v2, which is said; 2 is not."""
    for rate, refused in (("1", True), ("1b", True), ("2", False)):
        name = "device-read-bps" if rate.endswith("b") else "device-write-iops"
        (one,) = said(f"--{name} /dev/vdb:{rate}").groups[0].settings
        assert (ONE_IS_REFUSED in one.note) is refused


def test_one_line_for_each_device() -> None:
    """v2 has all limits of a device in one line, v1 a file for each."""
    explanation = said("--device-read-bps /dev/vdb:1mb --device-write-iops /dev/sdx:5")
    assert [line.value for one in explanation.groups[0].settings for line in one.v2] == [
        "254:16 rbps=1048576 wbps=max riops=max wiops=max",
        "<MAJOR:MINOR of /dev/sdx> rbps=max wbps=max riops=max wiops=5",
    ]
    assert files(explanation, "v1")["blkio.throttle.read_bps_device"] == "254:16 1048576"


def test_real_time_and_devices() -> None:
    """Real-time budgets and device rules are v1's alone."""
    explanation = said(
        "--cpu-rt-period 1000000 --cpu-rt-runtime 900 --privileged --device /dev/null:/dev/n:rm "
        "--device vendor.com/gpu=0 --device-cgroup-rule 'b *:3 mr'"
    )
    lines = [line for one in explanation.groups[0].settings for line in one.v1]
    assert [(line.file, line.value) for line in lines] == [
        ("cpu.rt_period_us", "1000000"),
        ("cpu.rt_runtime_us", "900"),
        ("devices.list", "a *:* rwm"),
        ("devices.list", "b *:3 rm"),
        ("devices.list", "c 1:3 rm"),
    ]
    assert not any(one.v2 for one in explanation.groups[0].settings)


def test_places() -> None:
    """The systemd driver nests slices by their names; the cgroupfs driver takes paths."""
    (group,) = said("--cgroup-parent a-b.slice").groups
    assert group.systemd == "/a.slice/a-b.slice/docker-<ID>.scope"
    assert said("--cgroup-parent /x/y").groups[0].cgroupfs == "/x/y/<ID>"
    assert said("--cgroup-parent /x/y").groups[0].systemd.startswith("(refused")
    assert slice_path("-.slice") == ""


def test_namespaces() -> None:
    """Whose namespaces a container gets follows from its options."""
    kinds = said("--pid container:db --net host --ipc none --uts host --userns host").namespaces
    assert kinds["pid"] == "that of container db"
    assert kinds["net"] == kinds["uts"] == kinds["user"] == "the host's"
    assert kinds["ipc"].startswith("its own")


def test_limits_as_they_act() -> None:
    """The least of quota and CPU list is the limit."""
    assert said("--cpus 3 --cpuset-cpus 0-1,0").groups[0].limits["cpu"] == "2"
    assert said("--cpus 1.5 --cpuset-cpus 0-1").groups[0].limits["cpu"] == "1.5"
    assert said("-m 6291457").groups[0].limits["memory"] == "6291456"
    assert said("").groups[0].limits == {"cpu": "max", "memory": "max", "pids": "max"}


def test_values_without_effect_are_not_repeated() -> None:
    """Options that change no cgroup are named without their values, which may be secrets."""
    explanation = said("-itv /a:/b -e PASSWORD=hush --label=x=hush --rm=true img --memory x")
    assert explanation.title == "docker run img"
    names = [name for name, _ in explanation.without_effect]
    assert names == ["--interactive", "--tty", "--volume", "--env", "--label", "--rm"]
    assert "hush" not in repr(explanation)


@pytest.mark.parametrize(
    ("options", "image", "memory"),
    [
        ("-m512m x", "x", "512m"),
        ("-m=512m x", "x", "512m"),
        ("-dm 512m x -m 1g", "x", "512m"),
        ("--memory=1g --memory 512m x", "x", "512m"),
        ("-- x --memory 512m", "x", None),
        ("--memory 512m", None, "512m"),
    ],
)
def test_words(options: str, image: str | None, memory: str | None) -> None:
    """Options are read as Docker reads them: the image ends them, the last value counts."""
    read = read_command(["docker", "container", "create", *options.split()])
    assert (read.image, read.last("memory")) == (image, memory)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        *[("1", 1), ("1b", 1), ("1k", 1024), ("1.5KB", 1536), ("1mib", 2**20), ("2 g", 2**31)],
        *[(".5m", 2**19), ("1T", 2**40), ("1p", 2**50)],
    ],
)
def test_sizes(text: str, count: int) -> None:
    """All units are binary, whatever they are called."""
    assert size("memory", text) == count


@pytest.mark.parametrize("text", ["", "m", "1x", "-1", "1kib1", "1 kb b", "9" * 40, "1e3", "9p9"])
def test_no_size(text: str) -> None:
    """What is no size is refused."""
    with pytest.raises(ExplainError):
        size("memory", text)


def test_number_lists() -> None:
    """Lists are told as the kernel prints them."""
    assert number_list("cpuset-cpus", "7,0-2,1,3") == "0-3,7"
    for text in ("", "a", "1-", "3-2", "9000", "0-99999"):
        with pytest.raises(ExplainError):
            number_list("cpuset-cpus", text)


@pytest.mark.parametrize(
    "words", [[], ["podman", "run"], ["docker"], ["docker", "ps"], ["docker", "container"]]
)
def test_other_commands(words: list[str]) -> None:
    """Only run and create are explained."""
    with pytest.raises(ExplainError):
        read_command(words)


@pytest.mark.parametrize(
    "options",
    [
        "--cpu-rt-period 5 --cpu-rt-runtime 6",
        "--cpus -1",
        "--memory 8e",
        "--cpus 1e-99",
        "--cpus 1/0",
        "--blkio-weight 5",
        "--device-read-bps /dev/null:1m",
        "--device-read-bps /dev/vdb:0",
        "--device /dev/vdb:x",
        "--cgroup-parent a--b.slice",
    ],
)
def test_refused(options: str) -> None:
    """What Docker or the kernel refuses is refused in one line that names the option."""
    with pytest.raises(ExplainError) as refused:
        said(options)
    assert "\n" not in str(refused.value)
