"""Findings over made-up windows, for what no host here can be made to show."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cgexporter.correlate.facts import Declared, Facts
from cgexporter.correlate.limits import Limits
from cgexporter.correlate.paths import Level, classify
from cgexporter.correlate.view import Container, Pod, View
from cgexporter.exporter import Exporter, Settings
from cgexporter.findings.examine import blind, examine
from cgexporter.findings.model import Finding, Harm, Window, amount, cores
from cgexporter.model import Cgroup, Mode, Snapshot
from cgexporter.model.cpu import Cpu
from cgexporter.model.io import DeviceIo
from cgexporter.model.io_more import DeviceLimits
from cgexporter.model.machine import Machine
from cgexporter.model.memory import Memory
from cgexporter.model.namespaces import Inventory, Member, Namespace
from cgexporter.model.pressure import Pressure
from cgexporter.model.tasks import Pids
from cgexporter.parse.proc import MemInfo

MIB = 2**20
UID = "65d065af-ae73-47db-b13a-2485901d6eb7"
POD = (
    f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UID.replace('-', '_')}.slice"
)
ONE = f"{POD}/cri-containerd-{'1' * 64}.scope"
TWO = f"{POD}/cri-containerd-{'2' * 64}.scope"
THREE = f"/system.slice/docker-{'3' * 64}.scope"

Sections = Mapping[str, Any]
Cgroups = Mapping[str, Sections]


def view(
    started: float,
    cgroups: Mapping[str, Sections],
    facts: Mapping[str, Facts] | None = None,
    *,
    mode: Mode = Mode.UNIFIED,
    inode: int = 1,
) -> View:
    """A view of a host with two CPUs."""
    made = {
        path: Cgroup(path=path, inode=inode, leaf=True, **sections)
        for path, sections in sorted(cgroups.items())
    }
    machine = Machine(cpus=2, memory=MemInfo(mem_total=2**32))
    snapshot = Snapshot(
        started=started,
        duration_seconds=0,
        mode=mode,
        cgroups=made,
        devices={"8:0": "sda"},
        files={},
        parse_errors={},
        skipped=0,
        dropped=0,
        machine=machine,
    )
    containers, pods, rest = [], [], []
    for path, cgroup in made.items():
        place = classify(path)
        told = (facts or {}).get(path, Facts(name=f"c{path[-7:-6]}"))
        if place.level is Level.CONTAINER:
            containers.append(Container(cgroup, place, path[-70:-58], facts=told))
        elif place.level is Level.POD:
            pods.append(Pod(cgroup, place, UID, facts=told))
        else:
            rest.append(cgroup)
    return Limits().act_on(View(snapshot, containers, pods, rest, sandboxes=[], denied=False))


def found(
    before: Mapping[str, Sections],
    after: Mapping[str, Sections],
    facts: Mapping[str, Facts] | None = None,
    **options: Any,
) -> Sequence[Finding]:
    """Findings over ten seconds."""
    return examine(Window(view(0, before, facts, **options), view(10, after, facts, **options)))


def one(findings: Sequence[Finding]) -> Finding:
    """The only one; it has evidence and something to change."""
    (finding,) = findings
    assert finding.evidence
    assert finding.change
    return finding


def _cpu(**fields: Any) -> Cpu:
    return Cpu(period_seconds=0.1, **fields)


_BUSY = {"/": {"cpu": Cpu(usage_seconds=0)}}, {"/": {"cpu": Cpu(usage_seconds=19.9)}}


def test_pods_limit_and_its_busiest_container() -> None:
    """A pod's quota is told with the container in it that uses most."""
    before = {
        POD: {"cpu": _cpu(limit_cores=1, periods=0, throttled_periods=0, usage_seconds=0)},
        ONE: {"cpu": _cpu(usage_seconds=0, limit_cores=math.inf)},
        TWO: {"cpu": _cpu(usage_seconds=0, limit_cores=math.inf)},
    }
    after = {
        POD: {"cpu": _cpu(limit_cores=1, periods=100, throttled_periods=90, usage_seconds=10)},
        ONE: {"cpu": _cpu(usage_seconds=1, limit_cores=math.inf)},
        TWO: {"cpu": _cpu(usage_seconds=9, limit_cores=math.inf)},
    }
    finding = one(found(before, after))
    assert finding.kind == "throttled"
    assert finding.container.startswith("c2")
    assert finding.limit is not None
    assert (finding.limit.cgroup, finding.limit.file) == (POD, "cpu.max")
    assert finding.limit.value == "100000 100000"
    assert "resources.limits.cpu" in finding.change


@pytest.mark.parametrize(("periods", "stopped"), [(100, 24), (10, 4), (0, 0), (100, 0)])
def test_a_little_throttling_is_nothing(periods: int, stopped: int) -> None:
    """Up to a quarter of the periods, or a few of them, are no finding."""
    made = [
        {ONE: {"cpu": _cpu(limit_cores=1, periods=p, throttled_periods=t, usage_seconds=u)}}
        for p, t, u in ((0, 0, 0), (periods, stopped, 10))
    ]
    assert not found(made[0], made[1])


def test_a_cgroup_made_anew_has_no_past() -> None:
    """Counters of another cgroup at the same path are no growth."""
    limits = {"limit_cores": 1.0, "throttled_periods": 0, "usage_seconds": 0, "periods": 0}
    after = {**limits, "periods": 100, "throttled_periods": 100, "usage_seconds": 10}
    window = Window(
        view(0, {ONE: {"cpu": _cpu(**limits)}}, inode=1),
        view(10, {ONE: {"cpu": _cpu(**after)}}, inode=2),
    )
    assert not examine(window)


def test_starved_where_paths_part() -> None:
    """Weights are compared between the ancestors that compete: here pod and service."""
    top: Cgroups = {
        "/kubepods.slice": {"cpu": Cpu(weight=20)},
        "/system.slice": {"cpu": Cpu(weight=100)},
    }
    before: Cgroups = {
        **_BUSY[0], **top,
        ONE: {"cpu": _cpu(usage_seconds=0), "pressure": Pressure(cpu_waiting_seconds=0)},
        THREE: {"cpu": _cpu(usage_seconds=0)},
    }  # fmt: skip
    after: Cgroups = {
        **_BUSY[1], **top,
        ONE: {"cpu": _cpu(usage_seconds=1), "pressure": Pressure(cpu_waiting_seconds=9)},
        THREE: {"cpu": _cpu(usage_seconds=18)},
    }  # fmt: skip
    finding = one(found(before, after))
    assert finding.kind == "starved"
    assert finding.limit is not None
    assert (finding.limit.cgroup, finding.limit.value) == ("/kubepods.slice", "20")
    assert "weight of 20 against 100 of c3" in finding.cause
    fair: Cgroups = {**after, "/kubepods.slice": {"cpu": Cpu(weight=100)}}
    assert not found(before, fair)
    idle: Cgroups = {**after, "/": {"cpu": Cpu(usage_seconds=2)}}
    assert not found(before, idle)


def test_swapping() -> None:
    """Memory that comes back from swap is harm; memory that rests there is none."""
    before = {ONE: {"memory": Memory(swap_current_bytes=MIB, refaults_anon=0, current_bytes=MIB)}}
    after = {
        ONE: {"memory": Memory(swap_current_bytes=9 * MIB, refaults_anon=9999, current_bytes=MIB)}
    }
    finding = one(found(before, after))
    assert finding.kind == "swapping"
    assert finding.numbers["swap_bytes"] == 9 * MIB
    assert not found(after, after)


@pytest.mark.parametrize(
    ("memory", "other", "why", "file"),
    [
        (Memory(current_bytes=95 * MIB, max_bytes=100 * MIB, working_set_bytes=MIB), 0,
         "its limit of 100Mi is reached", "memory.max"),
        (Memory(current_bytes=95 * MIB, max_bytes=math.inf, high_bytes=100 * MIB), 0,
         "its memory.high of 100Mi is reached", "memory.high"),
        (Memory(current_bytes=MIB, max_bytes=math.inf), 3 * 2**30,
         "the node is short of memory; c3 ", None),
    ],
)  # fmt: skip
def test_memory_stalls(memory: Memory, other: int, why: str, file: str | None) -> None:
    """Who makes a container wait for memory: its limit, memory.high, or who uses most."""
    rest: Cgroups = {THREE: {"memory": Memory(working_set_bytes=other)}}
    before: Cgroups = {
        ONE: {"memory": memory, "pressure": Pressure(memory_stalled_seconds=1)},
        **rest,
    }
    after: Cgroups = {
        ONE: {"memory": memory, "pressure": Pressure(memory_stalled_seconds=4)},
        **rest,
    }
    finding = one(found(before, after))
    assert finding.kind == "memory_stalled"
    assert f"30% of the time: {why}" in finding.cause
    assert (finding.limit and finding.limit.file) == file


def _moved(count: int) -> dict[str, Any]:
    return {"io": (DeviceIo("8:0", count, 0, None, 0, 0, None),)}


def test_io_stalls_by_a_neighbour() -> None:
    """Without a limit of its own, who moves most on the same disk is named, with the rate."""
    before = {ONE: {"pressure": Pressure(io_stalled_seconds=0), **_moved(0)}, THREE: _moved(0)}
    after = {
        ONE: {"pressure": Pressure(io_stalled_seconds=5), **_moved(MIB)},
        THREE: _moved(1000 * MIB),
    }
    finding = one(found(before, after))
    assert "50% of the time: c3 " in finding.cause
    assert "moves 100Mi a second on sda" in finding.cause
    assert finding.limit is None


def test_io_stalls_by_an_ancestors_limit() -> None:
    """The pod's io.max is told with its line."""
    limit = {"io_limits": (DeviceLimits("8:0", 10 * MIB, math.inf, math.inf, math.inf),)}
    before = {POD: limit, ONE: {"pressure": Pressure(io_stalled_seconds=0), **_moved(0)}}
    after = {POD: limit, ONE: {"pressure": Pressure(io_stalled_seconds=5), **_moved(99 * MIB)}}
    finding = one(found(before, after))
    assert finding.limit is not None
    assert (finding.limit.cgroup, finding.limit.file) == (POD, "io.max")
    assert finding.limit.value == f"8:0 rbps={10 * MIB}"


def test_kills_of_containers_that_are_gone() -> None:
    """A pod's count outlives its containers; what a living one counted is not told twice."""
    memory = Memory(current_bytes=MIB, max_bytes=100 * MIB, working_set_bytes=MIB)
    made = {
        POD: {"memory": memory._replace(events_oom_kill=3, max_bytes=math.inf)},
        ONE: {"memory": memory._replace(events_oom_kill=1)},
    }
    own, gone = found(made, made)
    assert {own.kind, gone.kind} == {"oom_kill"}
    numbers = sorted((own.numbers["oom_kills"], gone.numbers["oom_kills"]))
    assert numbers == [1, 2]
    assert {own.harm, gone.harm} == {Harm.WARNING}
    assert any("containers that are gone" in line for f in (own, gone) for line in f.evidence)


def test_kill_by_an_ancestors_limit_or_the_node() -> None:
    """A container without a limit was killed by an ancestor's, or by the node."""
    killed = {"memory": Memory(current_bytes=1, max_bytes=math.inf, events_oom_kill=1)}
    above = {"memory": Memory(current_bytes=1, max_bytes=64.0 * MIB, working_set_bytes=1)}
    finding = one(found({POD: above, ONE: killed}, {POD: above, ONE: killed}))
    assert finding.limit is not None
    assert finding.limit.cgroup == POD
    alone = one(found({ONE: killed}, {ONE: killed}))
    assert alone.limit is None
    assert "the node ran out of memory" in alone.cause


def test_active_page_cache_is_less_harm() -> None:
    """A limit that is full of page cache in use is told as that."""
    memory = Memory(
        current_bytes=99 * MIB,
        working_set_bytes=95 * MIB,
        max_bytes=100 * MIB,
        active_file_bytes=80 * MIB,
    )
    finding = one(found({ONE: {"memory": memory}}, {ONE: {"memory": memory}}))
    assert finding.harm is Harm.NOTE
    assert any("active page cache" in line for line in finding.evidence)
    inactive = memory._replace(working_set_bytes=10 * MIB)
    assert not found({ONE: {"memory": inactive}}, {ONE: {"memory": inactive}})


def test_growth_is_told() -> None:
    """A working set that grows is told with the time until it is full."""
    made = [
        {ONE: {"memory": Memory(current_bytes=w, working_set_bytes=w, max_bytes=100 * MIB)}}
        for w in (80 * MIB, 90 * MIB)
    ]
    assert "grew by 1Mi a second: full in 10 s" in one(found(made[0], made[1])).evidence[-1]


def test_pids() -> None:
    """Nearly full and refused long ago are warnings."""
    full = {ONE: {"pids": Pids(current=95, max=100, events_max=0)}}
    past = {ONE: {"pids": Pids(current=5, max=100, events_max=7)}}
    assert "close to its limit" in one(found(full, full)).cause
    assert "could not start threads" in one(found(past, past)).cause
    fine = {ONE: {"pids": Pids(current=50, max=100, events_max=0)}}
    assert not found(fine, fine)


def _told(name: str, **asked: float) -> Facts:
    return Facts(name=name, pod="p", namespace="n", declared=Declared(**asked))


@pytest.mark.parametrize(
    ("mode", "cpu", "memory", "kinds"),
    [
        (Mode.UNIFIED, _cpu(limit_cores=0.3, weight=4), 96 * MIB, []),
        (Mode.UNIFIED, _cpu(limit_cores=0.3, weight=17), 96 * MIB, []),
        (Mode.LEGACY, _cpu(limit_cores=0.3, shares=102), 96 * MIB, []),
        (Mode.UNIFIED, _cpu(limit_cores=0.5, weight=4), 96 * MIB, ["cpu.max"]),
        (Mode.LEGACY, _cpu(limit_cores=math.inf, shares=102), 96 * MIB, ["cpu.cfs_quota_us"]),
        (Mode.UNIFIED, _cpu(limit_cores=0.3, weight=100), 96 * MIB, ["cpu.weight"]),
        (Mode.UNIFIED, _cpu(limit_cores=0.3, weight=4), 64 * MIB, ["memory.max"]),
        (Mode.UNIFIED, _cpu(limit_cores=0.3, weight=4), math.inf, ["memory.max"]),
    ],
)
def test_what_the_manifest_says(mode: Mode, cpu: Cpu, memory: float, kinds: list[str]) -> None:
    """What is enforced is compared with the manifest, by either conversion of shares."""
    asked = _told(
        "c", cpu_request_cores=0.1, cpu_limit_cores=0.3, memory_limit_bytes=float(96 * MIB)
    )
    made = {ONE: {"cpu": cpu, "memory": Memory(max_bytes=memory)}}
    findings = found(made, made, {ONE: asked}, mode=mode)
    assert [f.limit.file for f in findings if f.limit] == kinds
    assert {f.kind for f in findings} <= {"not_as_declared"}


@pytest.mark.parametrize(("quota", "right"), [(12_300, True), (13_000, True), (14_000, False)])
def test_quota_that_systemd_rounds(quota: int, right: bool) -> None:
    """A limit of 123m is enforced as it is, or in whole hundredths of a CPU."""
    made = {ONE: {"cpu": _cpu(limit_cores=quota / 100_000)}}
    findings = found(made, made, {ONE: _told("c", cpu_limit_cores=0.123)})
    assert [f.kind for f in findings] == ([] if right else ["not_as_declared"])


def test_class_that_one_container_lowers() -> None:
    """The container that keeps a pod from Guaranteed is named, where another asks for it."""
    same = {"cpu_request_cores": 1.0, "cpu_limit_cores": 1.0}
    same |= {"memory_request_bytes": 1.0, "memory_limit_bytes": 1.0}
    facts = {ONE: _told("a", **same), TWO: _told("b", cpu_request_cores=0.5, cpu_limit_cores=0.5)}
    made: dict[str, Sections] = {ONE: {}, TWO: {}}
    finding = one(found(made, made, facts))
    assert (finding.kind, finding.harm) == ("qos_lower", Harm.NOTE)
    assert "b 2222" in finding.cause
    assert "has no memory limit" in finding.cause
    assert finding.cgroup == POD
    assert not found(made, made, {**facts, TWO: facts[ONE]})
    assert not found(made, made, {**facts, ONE: facts[TWO]})


def test_hosts_namespaces() -> None:
    """The namespaces that a container shares with the host unasked for are named."""
    before, after = (view(at, {ONE: {}}) for at in (0, 10))
    shared = {
        "pid": Namespace(4, True),
        "net": Namespace(5, False),
        "user": Namespace(6, True),
        "ipc": Namespace(None, None),
    }
    member = Member("c1", ONE, None, 7, shared)
    after = replace(after, namespaces=Inventory(containers=[member]))
    finding = one(examine(Window(before, after)))
    assert finding.cause.endswith("is in the host's pid namespace")
    assert "hostPID" in finding.change


def test_blind() -> None:
    """What this host does not tell is said, once there is a container."""
    window = Window(view(0, {ONE: {}}), view(10, {ONE: {}}))
    assert len(list(blind(window))) == 3
    assert not list(blind(Window(view(0, {}), view(1, {}))))


@pytest.mark.parametrize(
    "tree", ["v1-6.1-docker", "v2-6.1-systemd", "v2-6.1-kubernetes", "v2-6.1-static-pods",
             "hybrid-6.1-systemd", "hybrid-6.18-docker-cgroupfs"],
)  # fmt: skip
def test_captured_hosts_do_not_change(fixtures: Path, tree: str) -> None:
    """Over a captured host nothing grows: only what is so at any time may be found."""
    root = fixtures / tree
    exporter = Exporter(Settings(cgroupfs=f"{root}/sys/fs/cgroup", procfs=f"{root}/proc"))
    window = Window(exporter.look(), exporter.look())
    exporter.close()
    timeless = {"memory_near_limit", "oom_kill", "pids_limit", "host_namespaces"}
    findings = examine(window)
    assert {finding.kind for finding in findings} <= timeless
    assert all(finding.harm < Harm.CRITICAL for finding in findings)
    assert all(finding.evidence for finding in findings)


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (1536, "1.5Ki"), (96 * MIB, "96Mi"), (100_000_000, "95.4Mi"), (2**44, "16Ti")],
)
def test_amounts(count: float, text: str) -> None:
    """Bytes are told in binary units."""
    assert amount(count) == text


def test_cores() -> None:
    """CPUs are told without needless digits."""
    assert [cores(n) for n in (1, 0.05, 2.5, 10)] == ["1 CPU", "0.05 CPUs", "2.5 CPUs", "10 CPUs"]
