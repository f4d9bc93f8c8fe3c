"""The table of files: their parsers on any bytes, and the choice between v1 and v2."""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cgexporter.hierarchies import Hierarchies, Hierarchy
from cgexporter.model import SECTIONS, Cgroup
from cgexporter.model.controllers import Hugetlb
from cgexporter.model.cpu import Cpu
from cgexporter.parse.core import parse_cgroup_procs
from cgexporter.parse.cpu import CpuStat
from cgexporter.parse.formats import ParseError
from cgexporter.parse.memory import MemoryStat
from cgexporter.sources import _CORE, _PIDS, _V1, _V2, Source, sources_of

Parse = Callable[[bytes], object]

ROWS = (*_V2, *_V1, _PIDS, _CORE)
PARSERS = {parse.__qualname__ + parse.__module__: parse for r in ROWS for _, _, parse in r.files}


def name_of(parse: Parse) -> str:
    """How a parser is called in the names of tests."""
    return f"{parse.__module__.removeprefix('cgexporter.parse.')}.{parse.__name__}"


KEYS = (
    *("usage_usec", "throttled_usec", "nr_periods", "throttled_time", "user", "anon", "low"),
    *("max", "populated", "nr_descendants", "total_cache", "oom_kill"),
)
WORDS = st.sampled_from(
    (
        *(*KEYS, "FROZEN", "THAWED"),
        *("some", "full", "avg10=0.00", "avg60=0.00", "avg300=0.00", "total=1", "8:0", "7:1"),
        *("(unknown)", "rbytes=1", "wbytes=", "Read", "Total", "-1", "0-3,8", "3-1", ",", "="),
        *("1", "18446744073709551615", "9223372036854771712", "1.5", "x", "²", "\udcff"),
        *(" ", " ", " ", "\n", "\n", "\n", "\t", "\r", "\v", "\f", "\x1c", "\x1f", "\x85", "\0"),
    )
)
# Bytes of every kind, and pieces of kernel files put together as no kernel does.
CONTENTS = st.binary() | st.lists(WORDS).map(
    lambda words: "".join(words).encode("utf-8", "surrogateescape")
)


@pytest.mark.parametrize("parse", [*PARSERS.values(), parse_cgroup_procs], ids=name_of)
@given(st.lists(CONTENTS, min_size=1, max_size=3))
@example([b"\n"])
@example([f"{key}\tx 1\n".encode() for key in KEYS])
def test_any_bytes(parse: Parse, files: list[bytes]) -> None:
    """Whatever files come one after the other: results or ParseError, and nothing else."""
    for data in files:
        message = ""
        try:
            parse(data)
        except ParseError as exc:
            message = str(exc)
        assert len(message) < 500


@pytest.mark.parametrize(
    "row",
    [r for r in ROWS if r.section != "hugetlb"],
    ids=lambda row: f"{row.section}-{row.build.__name__}",
)
def test_builder_takes_its_files(row: Source) -> None:
    """A builder has one place for each file of its row, and builds from none of them."""
    places = inspect.signature(row.build).parameters.values()
    assert sum(p.kind is p.POSITIONAL_OR_KEYWORD for p in places) == len(row.files)
    assert any(p.name == "leaf" for p in places) is row.tells_leaf
    source = Source(row.section, (), row.build, (), len(row.files), row.tells_leaf)
    section = source.make([None] * source.arguments, leaf=True)
    assert isinstance(section, tuple)
    assert all(value is None for value in section)
    assert row.section in SECTIONS
    assert row.section in Cgroup.__dataclass_fields__


def hierarchy(name: str, *controllers: str, unified: bool = False) -> Hierarchy:
    """A hierarchy mounted at its name."""
    return Hierarchy(name, "/", frozenset(controllers), unified=unified)


UNIFIED = hierarchy("unified", unified=True)
CPU = hierarchy("cpu,cpuacct", "cpu", "cpuacct")
MEMORY = hierarchy("memory", "memory")
FREEZER = hierarchy("freezer", "freezer")


def chosen(unified: Hierarchy | None, *legacy: Hierarchy) -> dict[str, Source]:
    """The sources of a host, by section."""
    by_controller = {controller: tree for tree in legacy for controller in tree.controllers}
    return {s.section: s for s in sources_of(Hierarchies(unified, by_controller, "/proc"))}


# What v2 does not count.
V1_SECTIONS = {"each_cpu", "memory_paging", "kmem", "io_bfq"}


def test_huge_pages(tmp_path: Path) -> None:
    """The files of the hugetlb controller are those of the page sizes that the host has."""
    assert "hugetlb" not in chosen(hierarchy(str(tmp_path), unified=True))
    for size in ("1GB", "2MB"):
        (tmp_path / "a.slice").mkdir(exist_ok=True)
        (tmp_path / f"a.slice/hugetlb.{size}.current").touch()
    source = chosen(hierarchy(str(tmp_path), unified=True))["hugetlb"]
    assert [file.name for file in source.files][:2] == ["hugetlb.1GB.current", "hugetlb.1GB.max"]
    assert len(source.files) == 10
    built = source.make([*range(5), *range(10, 15)], leaf=True)
    assert built == (Hugetlb("1GB", 0, 1, 2, 3, 4), Hugetlb("2MB", 10, 11, 12, 13, 14))


def test_twins(tmp_path: Path) -> None:
    """Of two files of which one says more, the other is read where that one is not there."""
    blkio = hierarchy(str(tmp_path), "blkio")
    assert {f.name for f in chosen(None, blkio)["io"].files} == {
        f"blkio.throttle.{name}{more}"
        for name in ("io_serviced", "io_service_bytes")
        for more in ("", "_recursive")
    }
    (tmp_path / "blkio.throttle.io_serviced_recursive").touch()
    (tmp_path / "blkio.throttle.io_service_bytes_recursive").touch()
    files = chosen(None, blkio)["io"].files
    assert all(file.name.endswith("_recursive") for file in files)


def test_pressure_on_v1(tmp_path: Path) -> None:
    """Some kernels have PSI on v1's cpuacct; the v2 tree's is preferred."""
    cpuacct = hierarchy(str(tmp_path / "cpuacct"), "cpuacct")
    unified = hierarchy(str(tmp_path / "unified"), unified=True)
    assert "pressure" not in chosen(None, cpuacct)
    for name in ("cpuacct", "unified"):
        (tmp_path / name).mkdir()
    (tmp_path / "cpuacct/cpu.pressure").touch()
    for host in ((None, cpuacct), (unified, cpuacct)):
        assert {file.hierarchy for file in chosen(*host)["pressure"].files} == {cpuacct}
    (tmp_path / "unified/cpu.pressure").touch()
    both = chosen(unified, cpuacct)["pressure"]
    assert {file.hierarchy for file in both.files} == {unified}


def test_unified_host() -> None:
    """On a v2 host every section comes from the one hierarchy."""
    sources = chosen(UNIFIED)
    assert sources.keys() == set(SECTIONS) - V1_SECTIONS - {"hugetlb"}
    assert {f.hierarchy for source in sources.values() for f in source.files} == {UNIFIED}
    assert "cpu.max" in {file.name for file in sources["cpu"].files}
    assert "freezer.state" not in {file.name for file in sources["core"].files}


def test_legacy_host() -> None:
    """On a v1 host a section needs one of its controllers; PSI and core files have none."""
    sources = chosen(None, CPU, MEMORY)
    assert {"cpu", "memory"} <= sources.keys()
    assert not sources.keys() & {"pids", "io", "pressure", "core", "cpuset", "misc", "core_more"}
    assert {file.hierarchy for file in sources["cpu"].files} == {CPU}
    assert {file.hierarchy for file in sources["memory"].files} == {MEMORY}


def test_hybrid_host() -> None:
    """A controller that is on v1 is read there, the rest from the v2 hierarchy."""
    sources = chosen(UNIFIED, CPU, FREEZER)
    assert {file.hierarchy for file in sources["cpu"].files} == {CPU}
    assert {file.hierarchy for file in sources["pressure"].files} == {UNIFIED}
    assert {file.name: file.hierarchy for file in sources["core"].files} == {
        "cgroup.events": UNIFIED,
        "cgroup.stat": UNIFIED,
        "freezer.state": FREEZER,
    }
    assert {file.hierarchy for file in sources["memory"].files} == {UNIFIED}


def built(source: Source, said: Mapping[str, object]) -> object:
    """The section, of what the parsers made of some of its files."""
    parsed: list[object] = [None] * source.arguments
    for file, place in zip(source.files, source.places, strict=True):
        parsed[place] = said.get(file.name)
    return source.make(parsed, leaf=False)


def test_files_a_host_cannot_have() -> None:
    """A builder gets None for the files of a controller that is not there."""
    source = chosen(None, hierarchy("cpuacct", "cpuacct"))["cpu"]
    assert [file.name for file in source.files] == ["cpuacct.usage", "cpuacct.stat"]
    assert built(source, {"cpuacct.usage": 1_500_000_000}) == Cpu(usage_seconds=1.5)


def test_same_order_as_the_builder() -> None:
    """Each file's content reaches the builder's place of the same name."""
    sources = chosen(UNIFIED)
    cpu = sources["cpu"]
    values: dict[str, object] = {"cpu.stat": CpuStat(usage_usec=1_000_000), "cpu.weight": 79}
    assert built(cpu, values) == Cpu(usage_seconds=1.0, weight=79)
    memory = sources["memory"]
    for name, attribute in (
        ("memory.current", "current_bytes"),
        ("memory.peak", "peak_bytes"),
        ("memory.max", "max_bytes"),
        ("memory.high", "high_bytes"),
        ("memory.low", "low_bytes"),
        ("memory.min", "min_bytes"),
        ("memory.swap.current", "swap_current_bytes"),
        ("memory.swap.max", "swap_max_bytes"),
    ):
        assert getattr(built(memory, {name: 7}), attribute) == 7, name
    assert getattr(built(memory, {"memory.stat": MemoryStat(anon=3)}), "anon_bytes", None) == 3


def test_v1_limits_reach_their_places() -> None:
    """The same for the v1 files whose values look alike."""
    memory = chosen(None, MEMORY)["memory"]
    for name, attribute in (
        ("memory.usage_in_bytes", "current_bytes"),
        ("memory.max_usage_in_bytes", "peak_bytes"),
        ("memory.limit_in_bytes", "max_bytes"),
        ("memory.soft_limit_in_bytes", "soft_limit_bytes"),
        ("memory.failcnt", "failures"),
        ("memory.kmem.usage_in_bytes", "kernel_bytes"),
        ("memory.oom_control", "events_oom_kill"),
    ):
        section = memory.make([7 if f.name == name else None for f in memory.files], leaf=True)
        assert getattr(section, attribute) == 7, name
    cpu = chosen(None, CPU)["cpu"]
    for name, attribute, value in (
        ("cpuacct.usage", "usage_seconds", 7e-9),
        ("cpu.stat.local", "throttled_local_seconds", 7e-9),
        ("cpu.cfs_period_us", "period_seconds", 7e-6),
        ("cpu.cfs_burst_us", "burst_limit_seconds", 7e-6),
        ("cpu.shares", "shares", 7),
        ("cpu.idle", "idle", 7),
    ):
        section = cpu.make([7 if f.name == name else None for f in cpu.files], leaf=True)
        assert getattr(section, attribute) == value, name
