"""A container holds others where these run apart from it, whatever its cgroups are called."""

from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgexporter.correlate.holders import Holders, Unit
from cgexporter.correlate.identity import Correlator, rank
from cgexporter.correlate.processes import KINDS, Links, Process
from cgexporter.correlate.sweep import Sweep
from cgexporter.correlate.view import View
from cgexporter.hierarchies import Hierarchies, Hierarchy
from cgexporter.scan import Scanner

A, B, C = "a1" * 32, "b2" * 32, "c3" * 32
OUTER = f"/system.slice/docker-{A}.scope"
INNER = f"{OUTER}/docker-{B}.scope"
POD = "/kubepods.slice/kubepods-pod6379596c_6187_4328_83db_f6b7731d4741.slice"
Lay = Callable[[Mapping[str, str]], Path]


def process(levels: int, net_dev: int | None = 9, **namespaces: int) -> Process:
    """A process, of which this may be read."""
    links = Links(tuple(namespaces.get(kind) for kind in KINDS), net_dev, denied=not namespaces)
    return Process(7, 50, levels, namespaces, links=links)


@pytest.mark.parametrize(
    ("inner", "outer", "apart"),
    [
        (process(3), process(2), True),
        (process(2), process(2), False),
        (process(1), process(2), False),
        (process(2), process(1), True),  # in a container that shares the host's PID namespace
        (process(2, 8), process(2, 9), True),  # two networks, which anyone may see
        (process(2, pid=4, mnt=5), process(2, pid=3, mnt=5), True),
        (process(2, pid=3, mnt=5), process(2, pid=3, mnt=4), True),
        (process(1, pid=4, mnt=5), process(2, pid=3, mnt=5), False),  # nsenter, before it forks
        (process(2, pid=3, mnt=4, uts=7), process(2, pid=3, mnt=4, uts=8), False),
        (process(2, pid=3), process(2), False),  # the other's may not be read
        (process(3), None, True),
        (process(2), None, False),  # may be the outer one's
        (process(0), process(0), None),
        (process(0, 8), process(0, 9), True),
        (process(0), None, None),
    ],
)
def test_apart(inner: Process, outer: Process | None, apart: bool | None) -> None:
    """Deeper in PID namespaces, or in other namespaces as far as they may be read."""
    assert inner.is_apart_from(outer) is apart


def judged(holders: Holders, *units: Unit, pods: tuple[Unit, ...] = ()) -> Mapping[str, bool]:
    """Which of them hold others."""
    return holders.among(units, pods, certain=True)


def unit(path: str, process: Process | None = None, inode: int = 1) -> Unit:
    """A container; one below another says so."""
    return Unit(path, inode, OUTER if path.startswith(OUTER + "/") else None, process)


def test_nobody_is_seen() -> None:
    """Without any process the names are believed: a captured tree has no more."""
    assert judged(Holders(frozenset()), unit(OUTER), unit(INNER)) == {OUTER: True}


def test_names_alone() -> None:
    """Empty cgroups, or those with the container's own processes, hold nothing."""
    holders = Holders(frozenset())
    assert judged(holders, unit(OUTER, process(2)), unit(INNER)) == {OUTER: False}
    assert judged(holders, unit(OUTER, process(2)), unit(INNER, process(2))) == {OUTER: False}
    # All processes moved there: deeper than a container's is none.
    assert judged(holders, unit(OUTER), unit(INNER, process(2))) == {OUTER: False}
    # All gone, so that again none is seen.
    assert judged(holders, unit(OUTER), unit(INNER)) == {OUTER: False}


def test_proof_outlives_its_process() -> None:
    """A container that was seen to run apart stays one while its cgroup lives."""
    holders = Holders(frozenset())
    outer = unit(OUTER, process(2))
    assert judged(holders, outer, unit(INNER, process(3))) == {OUTER: True}
    assert judged(holders, outer, unit(INNER)) == {OUTER: True}
    assert judged(holders, outer, unit(INNER, inode=2)) == {OUTER: False}  # another


def test_one_is_enough() -> None:
    """Whoever holds one is believed the others: they may share its namespaces."""
    holders = Holders(frozenset())
    units = (unit(INNER, process(2)), unit(f"{OUTER}/{C}", process(3)))
    assert judged(holders, unit(OUTER, process(2)), *units) == {OUTER: True}


def test_containers_in_a_forged_one() -> None:
    """A real container below a forged one makes holders of both."""
    holders = Holders(frozenset())
    found = judged(
        holders,
        unit(OUTER, process(2)),
        unit(INNER, process(2)),
        unit(f"{INNER}/docker-{C}.scope", process(3)),
    )
    assert found == {OUTER: True, INNER: True}


def test_forged_in_a_container_in_a_container() -> None:
    """A forged one deep inside costs none of those around it its place."""
    holders = Holders(frozenset())
    found = judged(
        holders,
        unit(OUTER, process(2)),
        unit(INNER, process(3)),
        unit(f"{INNER}/docker-{C}.scope", process(3)),
    )
    assert found == {OUTER: True, INNER: False}


def test_pods() -> None:
    """A pod's cgroup alone proves nothing where processes are seen."""
    holders = Holders(frozenset())
    pod = Unit(f"{OUTER}{POD}", 1, OUTER)
    assert judged(holders, unit(OUTER), pods=(pod,)) == {OUTER: True}
    assert judged(holders, unit(OUTER, process(2)), pods=(pod,)) == {OUTER: False}


def test_the_container_we_run_in() -> None:
    """What is around everything that is seen is no forger."""
    holders = Holders(frozenset({OUTER}))
    assert judged(holders, unit(OUTER, process(1)), unit(INNER, process(1))) == {OUTER: True}


def test_old_kernels() -> None:
    """Before NSpid, and without rights, nothing can be told: names are believed."""
    holders = Holders(frozenset())
    units = unit(OUTER, process(0)), unit(INNER, process(0))
    assert judged(holders, *units) == {OUTER: True}


def test_nothing_is_kept_without_need() -> None:
    """Of hosts where no container lies in another nothing is remembered."""
    holders = Holders(frozenset())
    judged(holders, unit(OUTER, process(2)), unit(INNER, process(3)))
    judged(holders, unit(OUTER, process(2)))
    assert judged(holders, unit(OUTER, process(2)), unit(INNER)) == {OUTER: False}


NAMES = st.sampled_from([f"docker-{A}.scope", f"docker-{B}.scope", "x", "docker", C])
TREES = st.dictionaries(
    st.lists(NAMES, min_size=1, max_size=6).map("/".join), st.none() | st.integers(1, 4), max_size=9
)


def scanned(lay: Lay, tree: Mapping[str, int | None], scans: int = 1) -> View:
    """A host whose cgroups have processes so deep in PID namespaces, and nobody's rights."""
    files = {"cg/cgroup.procs": "", "proc/1/stat": f"1 (x) S{' 0' * 18} 1 0\n"}
    files["proc/1/status"] = "NSpid:\t1\n"
    for pid, (path, levels) in enumerate(tree.items(), 100):
        above = ""
        for name in path.split("/"):
            above += f"/{name}"
            files.setdefault(f"cg{above}/cgroup.procs", "")
        if levels is not None:
            files[f"cg{above}/cgroup.procs"] = f"{pid}\n"
            files[f"proc/{pid}/stat"] = f"{pid} (x) S{' 0' * 18} {pid} 0\n"
            files[f"proc/{pid}/status"] = f"NSpid:\t{pid}" + "\t1" * (levels - 1) + "\n"
    root = lay(files)
    tree_of = Hierarchy(f"{root}/cg", "/", frozenset(), unified=True)
    hierarchies = Hierarchies(tree_of, {}, f"{root}/proc")
    scanner, correlator = Scanner(hierarchies, rank=rank), Correlator(hierarchies)
    for _ in range(scans - 1):
        correlator.correlate(scanner.scan())
    return correlator.correlate(scanner.scan())


def test_a_forger_keeps_its_samples(lay: Lay) -> None:
    """A container that names cgroups like containers and pods stays what it is."""
    tree = {OUTER[1:]: 2, INNER[1:]: 2, f"{OUTER[1:]}/docker/{C}": None}
    tree[f"{OUTER[1:]}{POD}/cri-containerd-{B}.scope"] = 2
    view = scanned(lay, tree)
    assert [c.cgroup.path for c in view.containers] == [OUTER]
    assert [c.cgroup.path for c in view.found] == [OUTER]
    assert not view.pods
    assert not view.holders
    assert (view.imitated, view.unproven) == (frozenset({OUTER}), 4)


def test_kind(lay: Lay) -> None:
    """A node in a container holds its pods; systemd runs in a cgroup of its own."""
    pod = f"{OUTER[1:]}/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod1_2.slice"
    tree = {f"{OUTER[1:]}/init.scope": 2, f"{OUTER[1:]}/system.slice/kubelet.service": 2}
    tree[f"{pod}/cri-containerd-{B}.scope"] = 3
    tree[f"{pod}/cri-containerd-{C}.scope"] = 2  # hostPID, on the node's network
    view = scanned(lay, tree)
    assert [c.cgroup.path for c in view.holders] == [OUTER]
    assert [c.id for c in view.containers] == [B[:12], C[:12]]
    assert [p.cgroup.path for p in view.pods] == [f"/{pod}"]
    assert not view.unproven


@given(TREES)
def test_any_forged_tree(tree: dict[str, int | None]) -> None:
    """Whatever lies in a container whose processes all share its namespaces: it is one."""
    forged = {OUTER[1:]: 2} | {f"{OUTER[1:]}/{path}": levels and 2 for path, levels in tree.items()}
    for scans in (1, 3):
        with TemporaryDirectory() as directory:
            view = scanned(_lay(Path(directory)), forged, scans)
        assert [c.cgroup.path for c in view.containers] == [OUTER]
        assert not view.holders


def _lay(directory: Path) -> Lay:
    def lay(files: Mapping[str, str]) -> Path:
        for path, text in files.items():
            (directory / path).parent.mkdir(parents=True, exist_ok=True)
            (directory / path).write_text(text)
        return directory

    return lay


def test_before_all_processes_are_known(lay: Lay) -> None:
    """Where a sweep finds out who is where, names count until it has been through once."""
    root = lay({"cg/x": "", "proc/1/stat": ""})
    hierarchies = Hierarchies(None, {}, f"{root}/proc")
    sweep = Sweep(hierarchies, 1.0)
    units = unit(OUTER, process(2)), unit(INNER, process(2))
    holders = Holders(frozenset())
    assert holders.among(units, (), certain=sweep.complete) == {OUTER: True}
    sweep.through()
    assert holders.among(units, (), certain=sweep.complete) == {OUTER: False}
