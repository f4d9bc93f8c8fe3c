"""Limits as they act, over all ancestors of the path."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgexporter.correlate.limits import Limits, with_root
from cgexporter.correlate.paths import classify
from cgexporter.correlate.view import Container, Pod, View
from cgexporter.exporter import Exporter, Settings
from cgexporter.model import Cgroup, Mode, Snapshot
from cgexporter.model.cpu import Cpu
from cgexporter.model.effective import Effective
from cgexporter.model.machine import Machine
from cgexporter.model.memory import Memory
from cgexporter.model.tasks import Cpuset, Pids
from cgexporter.parse.proc import MemInfo
from cgexporter.publish import Format

POD = "/kubepods/pod11111111-2222-3333-4444-555555555555"
LEAF = f"{POD}/{'ab' * 32}"
MACHINE = Machine(cpus=8, memory=MemInfo(mem_total=1 << 30), tasks_max=30_000)


def cgroup(
    path: str,
    cores: float | None = None,
    memory: float | None = None,
    pids: float | None = None,
    cpus: int | None = None,
) -> Cgroup:
    """A cgroup with these limits."""
    return Cgroup(
        path,
        len(path),
        leaf=path == LEAF,
        cpu=Cpu(limit_cores=cores),
        memory=Memory(max_bytes=memory),
        pids=Pids(max=pids),
        cpuset=Cpuset(cpus=cpus),
    )


def view(*cgroups: Cgroup, machine: Machine = MACHINE) -> View:
    """A view of them: the one with the ID is a container, the one of the pod a pod."""
    snapshot = Snapshot(
        started=0,
        duration_seconds=0,
        mode=Mode.UNIFIED,
        cgroups={c.path: c for c in cgroups},
        devices={},
        files={},
        parse_errors={},
        skipped=0,
        dropped=0,
        machine=machine,
    )
    return View(
        snapshot=snapshot,
        containers=[Container(c, classify(c.path), "ab") for c in cgroups if c.path == LEAF],
        pods=[Pod(c, classify(c.path), "11") for c in cgroups if c.path == POD],
        cgroups=[c for c in cgroups if c.path not in (LEAF, POD)],
        sandboxes=[],
        denied=False,
    )


def effective(*cgroups: Cgroup, machine: Machine = MACHINE) -> Effective:
    """What acts on the container."""
    (container,) = Limits().act_on(view(*cgroups, machine=machine)).containers
    assert container.cgroup.effective is not None
    return container.cgroup.effective


def test_own_limit() -> None:
    """A limit of the cgroup itself is set by itself where it is the least."""
    assert effective(cgroup("/", cpus=8), cgroup(LEAF, 0.5, 1000, 10)) == Effective(
        0.5, 1000, 10, "self", "self", "self"
    )


def test_an_ancestor_that_is_stricter() -> None:
    """Any ancestor's limit acts, not the parent's alone, and is named by its path."""
    found = effective(
        cgroup("/kubepods", 1.5, 500, 99), cgroup(POD, 2.0, math.inf), cgroup(LEAF, 4, 1000)
    )
    assert found == Effective(1.5, 500, 99, "/kubepods", "/kubepods", "/kubepods")


def test_the_nearer_of_equals() -> None:
    """Of equal limits that of the higher cgroup is named: raising the lower changes nothing."""
    found = effective(cgroup("/kubepods", 1.0), cgroup(POD, 1.0), cgroup(LEAF, 1.0))
    assert found.cpu_limit_by == "/kubepods"


def test_cpuset_and_machine() -> None:
    """Without a quota the cpuset limits, and without one the machine does."""
    assert effective(cgroup(LEAF, math.inf, math.inf, cpus=2))[:1] == (2,)
    found = effective(cgroup(LEAF, math.inf, math.inf, math.inf))
    assert found == Effective(8, 1 << 30, 30_000, "machine", "machine", "machine")


def test_nothing_is_known() -> None:
    """Where neither a cgroup nor the machine tells a limit there is none to tell."""
    assert effective(cgroup(LEAF), machine=Machine()) == Effective()


def test_unchanged_is_the_same_object() -> None:
    """What did not change is the same object in the next view, so that its text is kept."""
    limits, cgroups = Limits(), [cgroup("/kubepods", 1.5), cgroup(POD), cgroup(LEAF)]
    first = limits.act_on(view(*cgroups)).containers[0].cgroup
    assert limits.act_on(view(*cgroups)).containers[0].cgroup is first
    busier = replace(cgroups[2], cpu=Cpu(usage_seconds=1.0))
    second = limits.act_on(view(*cgroups[:2], busier)).containers[0].cgroup
    assert second is not first
    assert second.effective is first.effective
    stricter = cgroup("/kubepods", 1.0)
    third = limits.act_on(view(stricter, cgroups[1], busier)).containers[0].cgroup
    assert third.effective is not None
    assert third.effective.cpu_limit_cores == 1.0


limit = st.none() | st.just(math.inf) | st.floats(0.1, 64)


@given(st.lists(limit, min_size=3, max_size=3), st.none() | st.integers(1, 64))
def test_the_least_of_all(own: list[float | None], cpus: int | None) -> None:
    """Whatever the tree says, what acts is the least of all that is known."""
    paths = ("/kubepods", POD, LEAF)
    cgroups = [cgroup(p, cores=n, cpus=cpus) for p, n in zip(paths, own, strict=True)]
    known = [n for n in (*own, cpus, MACHINE.cpus) if n is not None]
    assert effective(*cgroups).cpu_limit_cores == min(known)


def test_between_containers(tmp_path: Path) -> None:
    """A limit on a cgroup that is not published itself acts on the container below it."""
    outer = f"docker/{'cd' * 32}"
    inner = f"{outer}/kubelet/kubepods/pod11111111-2222-3333-4444-555555555555/{'ab' * 32}"
    path = tmp_path / "cgroup"
    for part in [*reversed((Path(inner)).parents), Path(inner)]:
        (path / part).mkdir(exist_ok=True, parents=True)
        (path / part / "cgroup.procs").write_text("")
    (path / outer / "kubelet/memory.max").write_text("4096\n")
    (path / inner / "memory.max").write_text("max\n")
    proc = tmp_path / "proc/1"
    proc.mkdir(parents=True)
    (proc / "mountinfo").write_text("30 20 0:30 / /sys/fs/cgroup rw - cgroup2 none rw\n")
    exporter = Exporter(Settings(cgroupfs=str(path), procfs=str(proc.parent)))
    page = exporter.render(exporter.look(), Format.TEXT)
    exporter.close()
    assert 'cgexporter_container_effective_memory_limit_bytes{id="abababababab"} 4096' in page
    assert f'limits_info{{id="abababababab",memory="/{outer}/kubelet"}} 1' in page
    assert f'{{cgroup="/{outer}/kubelet"}}' not in page


def test_the_root_by_procfs() -> None:
    """The root of v2 has memory and tasks as procfs tells them; what cgroupfs tells stays."""
    machine = Machine(
        memory=MemInfo(
            anon_pages=100, cached=50, buffers=6, swap_cached=0, swap_total=30, swap_free=10
        ),
        tasks=77,
    )
    root = replace(cgroup("/"), memory=Memory(inactive_file_bytes=6), pids=None)
    found = with_root(view(root, machine=machine).snapshot, {"memory", "pids"}).cgroups["/"]
    assert found.memory is not None
    assert found.memory.current_bytes == 156
    assert found.memory.working_set_bytes == 150
    assert found.memory.swap_current_bytes == 20
    assert found.pids == Pids(current=77)
    stat = Memory(anon_bytes=7, file_bytes=8)
    snapshot = with_root(view(replace(root, memory=stat), machine=machine).snapshot, {"memory"})
    told = snapshot.cgroups["/"].memory
    assert told is not None
    assert told.current_bytes == 15
    full = replace(root, memory=Memory(current_bytes=5))
    same = view(full, machine=machine).snapshot
    assert with_root(same, {"memory"}) is same


@pytest.mark.parametrize("machine", [Machine(), Machine(memory=MemInfo(anon_pages=1))])
def test_the_root_without_procfs(machine: Machine) -> None:
    """What procfs does not tell of the root is not told."""
    snapshot = view(replace(cgroup("/"), memory=None), machine=machine).snapshot
    memory = with_root(snapshot, {"memory"}).cgroups["/"].memory
    assert memory is not None
    assert memory.current_bytes is None
