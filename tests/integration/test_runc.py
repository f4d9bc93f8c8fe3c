"""What cgexporter says of real containers is what the kernel's files say of them.

Three containers, started by runc and by nothing else, hit the limits that containers hit in
practice. They are frozen for the comparison, so that counters stand still and must be equal
to the last digit.
"""

import re
import secrets
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest

from tests.integration import reading, seen
from tests.integration.processes import COMMAND, cgexporter, output
from tests.integration.reading import Numbers
from tests.integration.runc import Container, Runc, block_device
from tests.integration.support import eventually, missing, program

T = TypeVar("T")

MEMORY_LIMIT = 32 << 20
WRITE_LIMIT = 2 << 20
PIDS_LIMIT = 64
NOBODY = 65534

# The child asks to be the OOM killer's victim, so that the container itself lives on.
EAT_MEMORY = """\
while :; do
  sh -c 'echo 1000 > /proc/self/oom_score_adj; x=a; while :; do x=$x$x; done'
  sleep 0.1
done
"""
WRITE = """\
while :; do
  dd if=/dev/zero of=/data/file bs=64k count=4 conv=fsync
  sleep 0.1
done
"""


@dataclass(frozen=True, slots=True)
class Trio:
    """One container for each limit."""

    cpu: Container
    oom: Container
    io: Container
    io_id: str
    unique: str

    @property
    def all(self) -> tuple[Container, Container, Container]:
        """The three."""
        return self.cpu, self.oom, self.io

    @property
    def pids(self) -> list[int]:
        """PIDs of their first processes."""
        return [container.pid for container in self.all]


@pytest.fixture(scope="module")
def trio(runc: Runc, tmp_path_factory: pytest.TempPathFactory) -> Trio:
    """A container that is throttled, one that is OOM-killed again and again, one that writes."""
    data = tmp_path_factory.mktemp("data")
    device = block_device(data)
    if device is None:
        missing(f"a block device below {data}: set TMPDIR to a directory on a disk")
    throttle = {"major": device[0], "minor": device[1], "rate": WRITE_LIMIT}
    io_id = secrets.token_hex(32)
    return Trio(
        cpu=runc.run(
            "cpu",
            "while :; do :; done",
            resources={
                "cpu": {"quota": 20_000, "period": 100_000},
                "pids": {"limit": PIDS_LIMIT},
            },
        ),
        oom=runc.run(
            "oom",
            EAT_MEMORY,
            resources={"memory": {"limit": MEMORY_LIMIT, "swap": MEMORY_LIMIT}},
            cgroups_path=f"/{runc.unique}/oom",
        ),
        io=runc.run(
            "io",
            WRITE,
            resources={"blockIO": {"throttleWriteBpsDevice": [throttle]}},
            cgroups_path=f"/docker/{io_id}",
            binds={"/data": data},
        ),
        io_id=io_id,
        unique=runc.unique,
    )


@pytest.fixture
def frozen(trio: Trio) -> Iterator[Trio]:
    """The three, each of which has hit its limit, and none of whose counters moves."""
    eventually(lambda: _number(trio.cpu, "cpu_throttled_periods") > 0, "throttling")
    eventually(lambda: _number(trio.oom, "memory_events_oom_kill") > 0, "an OOM kill")
    eventually(lambda: _written(reading.numbers(trio.io.pid)) > 0, "a write")
    try:
        for container in trio.all:
            container.pause()
        yield trio
    finally:
        for container in trio.all:
            container.resume()


def _number(container: Container, name: str) -> float:
    return reading.numbers(container.pid)[name]


def _written(numbers: Numbers) -> float:
    return sum(value for name, value in numbers.items() if name.startswith("io_written_bytes"))


# Collectors that are off by default and whose files `reading` reads.
MORE = tuple(
    f"--collector.{name}"
    for name in (
        *("cpu_policy", "cpuset_requested", "memory_protection", "memory_events_local"),
        *("memory_kernel", "memory_failures", "memory_swap", "pids_peak", "cgroup"),
    )
)


def _json(pids: Collection[int], *flags: str) -> Mapping[int, Numbers]:
    return seen.json_numbers(output("--once", "--format", "json", *flags), pids)


def _text(pids: Collection[int], *flags: str) -> Mapping[int, Numbers]:
    return seen.text_numbers(output("--once", "--format", "prom", *flags), pids)


def _settled(pids: Collection[int], look: Callable[[], T]) -> tuple[Mapping[int, Numbers], T]:
    """Look between two equal readings of the kernel's files: nothing moved meanwhile.

    The kernel may still write back, reclaim or flush its own batches for a frozen container.
    """

    def attempt() -> tuple[Mapping[int, Numbers], T] | None:
        before = {pid: reading.numbers(pid) for pid in pids}
        found = look()
        after = {pid: reading.numbers(pid) for pid in pids}
        return (before, found) if before == after else None

    return eventually(attempt, "counters of frozen containers to stand still")


@pytest.mark.parametrize("look", [_json, _text], ids=["json", "prom"])
def test_numbers_are_the_kernels(frozen: Trio, look: Callable[..., Mapping[int, Numbers]]) -> None:
    """Every number of a container equals the one in the kernel's file, in each format."""
    expected, found = _settled(frozen.pids, lambda: look(frozen.pids, *MORE))
    for pid, numbers in expected.items():
        assert {key: found[pid].get(key) for key in numbers} == numbers
    assert expected[frozen.cpu.pid]["cpu_throttled_seconds"] > 0
    assert expected[frozen.oom.pid]["memory_events_oom_kill"] > 0
    assert _written(expected[frozen.io.pid]) > 0
    assert all(expected[pid]["frozen"] == 1 for pid in frozen.pids)


def test_formats_agree(frozen: Trio) -> None:
    """Each metric of a container is in the JSON document, with the same value."""
    _, (text, json) = _settled(frozen.pids, lambda: (_text(frozen.pids), _json(frozen.pids)))
    for pid, numbers in text.items():
        assert {key: json[pid].get(key) for key in numbers} == numbers


def test_limits_are_those_asked_for(trio: Trio) -> None:
    """Limits given to runc come back as cores, seconds, bytes and tasks."""
    found = _text(trio.pids, *MORE)
    cpu, oom, io = (found[pid] for pid in trio.pids)
    assert (cpu["cpu_limit_cores"], cpu["cpu_period_seconds"]) == (0.2, 0.1)
    assert cpu["pids_max"] == PIDS_LIMIT
    assert cpu["memory_max_bytes"] == float("inf")
    assert oom["memory_max_bytes"] == 33_554_432
    assert oom["memory_swap_max_bytes"] == 0
    assert oom["cpu_limit_cores"] == io["cpu_limit_cores"] == float("inf")


def test_counters_grow(trio: Trio) -> None:
    """Between two looks throttling, OOM kills and bytes written grow."""
    before = _json(trio.pids)

    def grown(pid: int, name: str) -> bool:
        numbers = _json(trio.pids)[pid]
        growth = [
            count - before[pid].get(key, 0)
            for key, count in numbers.items()
            if key.partition("{")[0] == name
        ]
        assert min(growth, default=0) >= 0
        return max(growth, default=0) > 0

    for container, name in (
        (trio.cpu, "cpu_throttled_periods"),
        (trio.cpu, "cpu_throttled_seconds"),
        (trio.oom, "memory_events_oom_kill"),
        (trio.io, "io_written_bytes"),
    ):
        eventually(partial(grown, container.pid, name), f"{name} to grow")


def test_namespaces_are_those_of_the_first_process(trio: Trio) -> None:
    """Each kind of namespace is told by the inode that /proc/PID/ns has."""
    entries = seen.entries(seen.document(output("--once", "--format", "json")), trio.pids)
    for pid, entry in entries.items():
        assert entry["namespaces"] == reading.namespaces(pid)


def test_each_container_is_one(trio: Trio) -> None:
    """A container is no second container and no cgroup, however many paths it has."""
    lines = seen.samples(output("--once", "--format", "prom"))
    by_pid = {pid: name for name, pid in seen.ids(lines, trio.pids).items()}
    assert by_pid[trio.io.pid] == trio.io_id[:12]
    paths = {path for pid in trio.pids for path in reading.cgroup_paths(pid)} - {"/"}
    named = [
        (labels["id"], labels["cgroup"])
        for name, labels, _ in lines
        if name == seen.CONTAINER + "info"
        and (labels["cgroup"] in paths or trio.unique in labels["cgroup"])
    ]
    assert len(named) == len(trio.all)
    others = re.compile(r"cgexporter_(slice|cgroup|holder)_")
    assert not {labels["cgroup"] for name, labels, _ in lines if others.match(name)} & paths


def test_container_info(trio: Trio) -> None:
    """What a path proves is said of a container, and no more."""
    lines = seen.samples(output("--once", "--format", "prom"))
    infos = {s.labels["id"]: s.labels for s in lines if s.name == seen.CONTAINER + "info"}
    by_pid = {pid: infos[name] for name, pid in seen.ids(lines, trio.pids).items()}
    assert by_pid[trio.io.pid] == {
        "id": trio.io_id[:12],
        "cgroup": f"/docker/{trio.io_id}",
        "container_id": f"docker://{trio.io_id}",
        "driver": "cgroupfs",
        "runtime": "docker",
    }
    assert by_pid[trio.oom.pid].keys() == {"id", "cgroup"}
    assert by_pid[trio.oom.pid]["cgroup"] == f"/{trio.unique}/oom"


def _rows(table: str, ids: Collection[str]) -> list[str]:
    return [line for line in table.splitlines() if line.split()[:1] and line.split()[0] in ids]


def test_table(trio: Trio) -> None:
    """The table has one row for each container, with its limit."""
    ids = seen.ids(seen.samples(output("--once", "--format", "prom")), trio.pids)
    rows = _rows(output("--once"), ids)
    assert len(rows) == len(trio.all)
    limits = {trio.cpu.pid: "0.20", trio.oom.pid: "32.0Mi", trio.io.pid: "docker"}
    for row in rows:
        words = row.split()
        assert limits[ids[words[0]]] in words


def test_without_privileges(frozen: Trio) -> None:
    """As nobody, without a capability: the same containers, and what could not be read."""
    setpriv = program("setpriv", "util-linux")
    nobody = [setpriv, f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    nobody += ["--inh-caps=-all", "--bounding-set=-all"]
    if cgexporter("--version", prefix=nobody).returncode != 0:
        missing(f"an installation that uid {NOBODY} may run: {COMMAND[0]}")

    def look() -> tuple[str, Mapping[int, Numbers]]:
        text = output("--once", "--format", "json", *MORE, prefix=nobody)
        return text, seen.json_numbers(text, frozen.pids)

    expected, (text, found) = _settled(frozen.pids, look)
    for pid, numbers in expected.items():
        assert {key: found[pid].get(key) for key in numbers} == numbers
    parsed = seen.document(text)
    assert parsed["unsupported"]["/proc/PID/ns"] == "permission denied"
    assert all(not entry["namespaces"] for entry in seen.entries(parsed, frozen.pids).values())

    ids = seen.ids(seen.samples(output("--once", "--format", "prom")), frozen.pids)
    table = output("--once", prefix=nobody)
    assert len(_rows(table, ids)) == len(frozen.all)
    assert any("permission denied" in line and "namespaces" in line for line in table.splitlines())


def test_container_of_a_session(runc: Runc) -> None:
    """A container that was started by hand, from a login session, has all its numbers.

    On v1 runc puts it below the session's cgroup in the hierarchies where systemd has one,
    and at the top of the others.
    """
    container = runc.run(
        "session",
        "while :; do sleep 1; done",
        resources={"memory": {"limit": MEMORY_LIMIT}},
        inside=f"/{runc.unique}/session-1.scope",
    )
    container.pause()
    expected, found = _settled([container.pid], lambda: _text([container.pid], *MORE))
    numbers = expected[container.pid]
    assert numbers["memory_max_bytes"] == MEMORY_LIMIT
    assert {key: found[container.pid].get(key) for key in numbers} == numbers


def test_host_without_containers(tmp_path: Path) -> None:
    """A host without containers is no error, and it is said that there are none."""
    service = tmp_path / "cgroup/system.slice/ssh.service"
    service.mkdir(parents=True)
    for directory in (service, *service.parents[:2]):
        (directory / "cgroup.procs").touch()
        (directory / "cpu.stat").write_text("usage_usec 5\nuser_usec 3\nsystem_usec 2\n")
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/mountinfo").write_text(
        "24 1 0:22 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
    )
    flags = (f"--path.cgroupfs={tmp_path}/cgroup", f"--path.procfs={tmp_path}/proc")
    first, *_ = output("--once", *flags).splitlines()
    assert first == "No containers on this host (unified cgroups)."
    assert seen.document(output("--once", "--format", "json", *flags))["containers"] == []
    lines = seen.samples(output("--once", "--format", "prom", *flags))
    published = {s.labels["level"]: s.value for s in lines if s.name == "cgexporter_published"}
    levels = {"node": 1, "slice": 1, "cgroup": 1, "holder": 0}
    assert published == {"container": 0, "pod": 0, **levels}
