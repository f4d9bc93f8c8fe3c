"""Who shares which namespace, and what is worked out again when something changed."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import FrameType
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from cgexporter.correlate.namespaces import Inventories
from cgexporter.correlate.paths import Level, Place
from cgexporter.correlate.processes import KINDS, Links, Process
from cgexporter.correlate.sweep import Group, Sweep
from cgexporter.correlate.view import Container, Pod, View
from cgexporter.model import Cgroup
from cgexporter.model.namespaces import Inventory
from cgexporter.publish import Format
from cgexporter.sharing import Facts
from tests.tools.snapshots import nothing


@dataclass
class Swept:
    """What a sweep found."""

    groups: Mapping[Group, int] = field(default_factory=dict)
    generation: int = 0
    mounts: Sequence[object] = ()
    denied: bool = False
    knows_host: bool = True

    def inventories(self) -> Inventories:
        """Takes inventory by it."""
        return Inventories(cast(Sweep, self))


def process(pid: int, inodes: Sequence[int]) -> Process:
    """A process in these namespaces, in the order of KINDS."""
    return Process(pid, 1, levels=2, namespaces=dict(zip(KINDS, inodes, strict=False)))


def container(number: int, inodes: Sequence[int], pod: int | None = None) -> Container:
    """A container, in a pod or in none."""
    above = "" if pod is None else f"/pod{pod}"
    path = f"{above}/{number}"
    place = Place(level=Level.CONTAINER, container_path=path, pod_path=above or None)
    return Container(Cgroup(path, number, True), place, f"c{number}", process(number, inodes))


def view(containers: Sequence[Container], host: Sequence[int] = ()) -> View:
    """A view of them, and of the pods that they are in."""
    paths = sorted({path for c in containers if (path := c.place.pod_path)})
    pods = [Pod(Cgroup(p, 1, False), Place(level=Level.POD, pod_path=p), f"uid-{p}") for p in paths]
    init = process(1, host) if host else None
    return View(nothing(), containers, pods, (), (), denied=False, host=init)


def shared(inventory: Inventory) -> Mapping[tuple[str, str], tuple[object, ...]]:
    """By container and kind: the host's, a pod's, and with whom else."""
    return {
        (member.name, kind): (one.host, one.pod, *one.containers)
        for member in inventory.containers
        for kind, one in member.namespaces.items()
    }


@given(
    st.lists(
        st.tuples(
            st.lists(st.integers(1, 3), min_size=2, max_size=2),
            st.one_of(st.none(), st.integers(1, 2)),
        ),
        max_size=6,
    ),
    st.sampled_from([(), (1, 1)]),
)
def test_with_whom(units: list[tuple[list[int], int | None]], host: Sequence[int]) -> None:
    """As it is when everybody is compared with everybody else, one after the other."""
    containers = [container(n, inodes, pod) for n, (inodes, pod) in enumerate(units)]
    expected = {}
    for mine in containers:
        for place, kind in enumerate(KINDS[:2]):
            inode = cast(Process, mine.process).namespaces[kind]
            is_host = inode == host[place] if host else None
            others = [
                other
                for other in containers
                if other is not mine and cast(Process, other.process).namespaces[kind] == inode
            ]
            pod = mine.place.pod_path
            mates = [other for other in others if pod and other.place.pod_path == pod]
            strangers = sorted(other.title for other in others if other not in mates)
            expected[mine.title, kind] = (
                is_host,
                bool(mates) and not is_host,
                *(() if is_host else strangers),
            )
    found = shared(Swept().inventories().take(view(containers, host)))
    assert {key: its for key, its in found.items() if key[1] != "pid"} == expected  # by its depth


def test_a_process_elsewhere_is_counted_and_no_more() -> None:
    """Who shares what stays the same object, and its text, where a process of nobody's came."""
    swept = Swept()
    inventories = swept.inventories()
    before = view([container(n, [5, 6]) for n in range(3)], host=(1, 1))
    first = inventories.take(before)
    assert inventories.take(before) is first
    swept.groups = {Group(Links((7,) * len(KINDS), None, denied=False), False, ("/new",)): 1}
    swept.generation += 1
    second = inventories.take(before)
    assert second.containers is first.containers
    assert second.counts["mnt"].total == 1
    assert first.counts["mnt"].total == 0
    facts = Facts()
    texts = [
        facts.render(replace(before, namespaces=inventory), Format.TEXT)
        for inventory in (first, second, first)
    ]
    count = 'cgexporter_node_namespaces{kind="mnt"} '
    assert [count + "0\n" in text for text in texts] == [True, False, True]
    assert [count + "1\n" in text for text in texts] == [False, True, False]
    assert all('kind="cgroup",with="container"' in text for text in texts)


def test_a_container_that_comes_is_told_of() -> None:
    """Whoever is new shares with others, and they with it."""
    inventories = Swept().inventories()
    one, two = container(1, [5]), container(2, [5])
    assert shared(inventories.take(view([one]))) == {("c1", "cgroup"): (None, False)}
    assert shared(inventories.take(view([one, two]))) == {
        ("c1", "cgroup"): (None, False, "c2"),
        ("c2", "cgroup"): (None, False, "c1"),
    }


def _steps(count: int) -> int:
    """How many instructions of the interpreter it takes to say who shares what."""
    steps = 0

    def step(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal steps
        frame.f_trace_opcodes = True
        steps += event == "opcode"
        return step

    its = view([container(n, [1] * len(KINDS), n % 7) for n in range(count)], [1] * len(KINDS))
    inventories = Swept().inventories()
    before = sys.gettrace()
    sys.settrace(step)
    try:
        inventories.take(its)
    finally:
        sys.settrace(before)
    return steps


def test_nobody_is_held_against_all_others() -> None:
    """Ten times as many in the host's namespaces are ten times the work."""
    assert _steps(200) < 12 * _steps(20)
