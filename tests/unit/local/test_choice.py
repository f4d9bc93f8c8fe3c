"""Which containers are shown, in which order, and what happened between two scans."""

import argparse

import pytest

from cgexporter import flags
from cgexporter.correlate import paths
from cgexporter.correlate.facts import Facts
from cgexporter.correlate.paths import Place
from cgexporter.correlate.view import Container, View
from cgexporter.local.choice import chosen, parse
from cgexporter.local.columns import SORT_KEYS, Row, ordered
from cgexporter.local.rates import rates
from cgexporter.model import Cgroup
from cgexporter.model.cpu import Cpu
from cgexporter.model.io import DeviceIo
from cgexporter.model.memory import Memory
from cgexporter.model.network import Interface
from tests.tools.snapshots import nothing


def container(name: str, inode: int = 1, **sections: object) -> Container:
    """A container by this name in a pod of its own."""
    facts = Facts(name=name, namespace="shop", pod=f"{name}-0", image=f"registry.example/{name}:1")
    place = Place(
        level=paths.Level.CONTAINER, runtime="containerd", qos_class="Burstable", pod_uid=f"u{name}"
    )
    return Container(Cgroup(f"/{name}", inode, True, **sections), place, f"{name}id", None, facts)  # type: ignore[arg-type]


def view(*containers: Container, started: float = 0.0) -> View:
    """A view of them."""
    return View(nothing(started), containers, (), (), (), denied=False)


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ([], ["api", "web", "webhook"]),
        (["web"], ["web", "webhook"]),
        (["name=web"], ["web"]),
        (["name=web,api"], ["web", "api"]),
        (["name=web*", "name!=web"], ["webhook"]),
        (["pod=*-0"], ["api", "web", "webhook"]),
        (["namespace=shop", "qos!=Burstable"], []),
        (["runtime=docker"], []),
        (["image=*/api:*"], ["api"]),
        (["id=web[hi]*"], ["web", "webhook"]),
        (["cgroup=/a*"], ["api"]),
        (["shop"], ["api", "web", "webhook"]),
        (["name="], []),
        (["nobody"], []),
    ],
)
def test_filters(filters: list[str], names: list[str]) -> None:
    """Containers for which every filter holds."""
    seen = view(*(container(name) for name in ("api", "web", "webhook")))
    found = chosen(seen, [parse(text) for text in filters]).containers
    assert {each.name for each in found} == set(names)


@pytest.mark.parametrize(
    ("text", "why"), [("", "empty"), ("color=red", "none of the fields"), ("=x", "none of the")]
)
def test_no_filter(text: str, why: str) -> None:
    """What is no filter is said, with the fields there are."""
    with pytest.raises(ValueError, match=why):
        parse(text)


def test_order() -> None:
    """Numbers from the largest down, names from A on, what is not known last."""
    rows = [
        Row(container(name, cpu=Cpu(usage_seconds=used)))
        for name, used in (("b", 1.0), ("c", None), ("a", 3.0))
    ]
    assert [row.container.name for row in ordered(rows, "cpu")] == ["a", "b", "c"]
    assert [row.container.name for row in ordered(rows, "name")] == ["a", "b", "c"]
    for key in SORT_KEYS:
        assert len(ordered(rows, key)) == 3


def test_each_column_may_be_sorted_by() -> None:
    """The keys that the command line knows are those of the table."""
    assert [flags.sort_key(key) for key in SORT_KEYS] == list(SORT_KEYS)
    assert flags._SORT_KEYS.split(", ") == list(SORT_KEYS)
    with pytest.raises(argparse.ArgumentTypeError):
        flags.sort_key("color")


def test_rates() -> None:
    """Differences per second, for containers that are the same in both scans."""

    def at(usage: float, kills: int, read: int, received: int) -> Container:
        return container(
            "web",
            cpu=Cpu(usage_seconds=usage, periods=int(usage * 10), throttled_periods=int(usage)),
            memory=Memory(events_oom_kill=kills),
            io=(DeviceIo("8:0", read_bytes=read),),
            network=(Interface("eth0", received, *(0,) * 7),),
        )

    before = view(at(4.0, 1, 1000, 500), container("api"), started=10.0)
    now = view(at(5.0, 3, 3000, 500), container("api", inode=2), container("new"), started=14.0)
    found = rates(before, now)
    assert found.keys() == {("/web", 1)}
    assert found["/web", 1].cpu_cores == 0.25
    assert found["/web", 1].oom_kills == 2
    assert found["/web", 1].read_bytes == 500.0
    assert found["/web", 1].throttled is None


def test_a_counter_that_fell_gives_no_rate() -> None:
    """A counter that began again is not a negative rate."""
    before = view(container("web", cpu=Cpu(usage_seconds=9.0)), started=0.0)
    now = view(container("web", cpu=Cpu(usage_seconds=1.0)), started=1.0)
    assert rates(before, now)["/web", 1].cpu_cores is None


@pytest.mark.parametrize(
    ("text", "seconds"), [("2s", 2.0), ("500ms", 0.5), ("1m", 60.0), ("2", 2.0), ("1.5s", 1.5)]
)
def test_durations(text: str, seconds: float) -> None:
    """Times are written with a unit."""
    assert flags.interval(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "0s", "-1s", "2h", "61m", "1ms", "nan", "1e3s", "2 s"])
def test_no_durations(text: str) -> None:
    """What is no time between 100 ms and an hour is refused."""
    with pytest.raises(argparse.ArgumentTypeError):
        flags.interval(text)
