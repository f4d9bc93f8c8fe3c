"""The exposition formats, against prometheus-client's parsers and encoders."""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from cgexporter.correlate import paths
from cgexporter.correlate.paths import Place
from cgexporter.correlate.view import Container, Pod, View
from cgexporter.metrics import METRICS, NAMESPACES, OWN, Kind, Level, Metric, Own
from cgexporter.model import NETWORK_SECTIONS, SECTIONS, Cgroup, Mode, Snapshot
from cgexporter.model.controllers import Controller, Hugetlb, Misc, Rdma
from cgexporter.model.cpu import Cpu, CpuMore, OneCpu
from cgexporter.model.effective import Effective
from cgexporter.model.io import DeviceIo, Io
from cgexporter.model.io_more import DeviceBfq, DeviceCost, DeviceLimits
from cgexporter.model.kept import Kept
from cgexporter.model.memory import Memory
from cgexporter.model.memory_more import (
    Kmem,
    MemoryMore,
    MemoryPaging,
    MemoryPolicy,
    NumaNode,
    Swap,
)
from cgexporter.model.network import Interface, Transport
from cgexporter.model.pressure import Pressure
from cgexporter.model.tasks import Core, CoreMore, Cpuset, CpusetMore, Pids, PidsLocal, Processes
from cgexporter.publish import INFOS, Format, Publisher, header, label_value, labels
from tests.tools.lines import normalised

LABELLED = {row.section for row in METRICS if row.label}
# Sections that are read by collectors which are off by default, or made of others.
MORE: Mapping[str, Any] = {
    "cpu_more": CpuMore,
    "each_cpu": OneCpu,
    "cpuset_more": CpusetMore,
    "memory_more": MemoryMore,
    "memory_paging": MemoryPaging,
    "memory_policy": MemoryPolicy,
    "numa": NumaNode,
    "swap": Swap,
    "kmem": Kmem,
    "io_limits": DeviceLimits,
    "io_cost": DeviceCost,
    "io_bfq": DeviceBfq,
    "hugetlb": Hugetlb,
    "rdma": Rdma,
    "misc": Misc,
    "pids_local": PidsLocal,
    "processes": Processes,
    "core_more": CoreMore,
    "controllers": Controller,
    "effective": Effective,
    "kept": Kept,
}


def _maker(name: str, section: Any) -> Callable[[Sequence[int]], object]:
    if name in LABELLED:
        return lambda values: (section("8:0", *values[1:]),)
    if name == "effective":
        return lambda values: section(*values[:3])
    make: Callable[[Sequence[int]], object] = section._make
    return make


FIELDS = {
    "cpu": Cpu._fields,
    "cpuset": Cpuset._fields,
    "pressure": Pressure._fields,
    "memory": Memory._fields,
    "io": DeviceIo._fields,
    "pids": Pids._fields,
    "core": Core._fields,
    **{name: section._fields for name, section in MORE.items()},
    "network": Interface._fields,
    "transport": Transport._fields,
}
MAKE: Mapping[str, Callable[[Sequence[int]], object]] = {
    "cpu": Cpu._make,
    "cpuset": Cpuset._make,
    "pressure": Pressure._make,
    "memory": Memory._make,
    "io": lambda values: (DeviceIo("8:0", *values[1:]),),
    "pids": Pids._make,
    "core": Core._make,
    **{name: _maker(name, section) for name, section in MORE.items()},
    "network": lambda values: (Interface("eth0", *values[1:]),),
    "transport": Transport._make,
}
FORMATS = pytest.mark.parametrize("form", list(Format))
CONTAINER = Place(level=paths.Level.CONTAINER)
POD = Place(level=paths.Level.POD)

# Names as the kernel has them: any characters, undecodable bytes as surrogates.
NAMES = st.text(
    st.sampled_from('"\\\n\r\t {}=,#\0\x1f\x85\u2028é🐋/')
    | st.characters(exclude_categories=["Cs"])
    | st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF)
)
VALUES = (
    st.none()
    | st.integers(0, 2**64 - 1)
    | st.floats(0, allow_nan=False)
    | st.sampled_from([0, 0.0, math.inf, 1e-06, 14.036781, 5_000_000, 2**53 + 1, 1e21])
)


@dataclass(frozen=True)
class Sample:
    """One expected sample."""

    name: str
    labels: tuple[tuple[str, str], ...]
    value: float


def cleaned(text: str) -> str:
    """A name as UTF-8 can say it: an odd byte is U+FFFD and its two digits."""
    shown = ""
    for character in text:
        if 0xDC80 <= ord(character) <= 0xDCFF:
            shown += f"\ufffd{ord(character) - 0xDC00:02X}"
        else:
            shown += "\ufffdEF\ufffdBF\ufffdBD" if character == "\ufffd" else character
    return shown


def view_of(
    containers: Sequence[Container] = (),
    pods: Sequence[Pod] = (),
    cgroups: Sequence[Cgroup] = (),
    devices: Mapping[str, str] | None = None,
) -> View:
    """A view of these."""
    snapshot = Snapshot(
        started=0.0,
        duration_seconds=0.0,
        mode=Mode.UNIFIED,
        cgroups={},
        devices=devices or {},
        files={},
        parse_errors={},
        skipped=0,
        dropped=0,
    )
    return View(snapshot, containers, pods, cgroups, sandboxes=(), denied=False)


def render(view: View, form: Format = Format.TEXT) -> str:
    """A page of one view by a new publisher."""
    return b"".join(Publisher().render(view, form)).decode()


def subjects(view: View) -> Iterator[tuple[Level, Cgroup, dict[str, str | None]]]:
    """What is published, with its labels."""
    for container in view.containers:
        yield Level.CONTAINER, container.cgroup, {"container": container.name, "id": container.id}
    for pod in view.pods:
        yield Level.POD, pod.cgroup, {"uid": pod.uid}
    for cgroup in view.cgroups:
        yield Level.SLICE, cgroup, {"cgroup": cgroup.path}


def samples(view: View, row: Metric, level: Level) -> Iterator[Sample]:
    """What the table promises for one family, worked out the slow way."""
    name = row.family(level) + ("_total" if row.kind is Kind.COUNTER else "")
    for its_level, cgroup, names in subjects(view):
        section = getattr(cgroup, row.section)
        if its_level is not level or section is None:
            continue
        for element in section if row.label else (section,):
            labelled = getattr(element, row.label) if row.label else None
            shown = view.snapshot.devices.get(labelled, labelled) if labelled else None
            pairs = names | {row.label: shown}
            value = getattr(element, row.attribute)
            if value is not None:
                present = sorted((key, cleaned(text)) for key, text in pairs.items() if text)
                yield Sample(name, tuple(present), value)


def info_samples(view: View, level: Level) -> Iterator[Sample]:
    """The same for what is said once."""
    for its_level, cgroup, names in subjects(view):
        if its_level is level:
            pairs = {**names, "cgroup": cgroup.path}
            present = sorted((key, cleaned(text)) for key, text in pairs.items() if text)
            yield Sample(f"cgexporter_{level.value}_info", tuple(present), 1)


def expected(view: View) -> list[Sample]:
    """All samples of a page."""
    by_section = dict.fromkeys(row.section for row in METRICS)
    rows = [row for name in by_section for row in METRICS if row.section == name]
    every = [s for level in Level for row in rows for s in samples(view, row, level)]
    return every + [s for level, _ in INFOS for s in info_samples(view, level)]


T = TypeVar("T")


def sections(make: Callable[[Iterable[float | None]], T], count: int) -> st.SearchStrategy[T]:
    """Sections with any values."""
    return st.lists(VALUES, min_size=count, max_size=count).map(make)


def devices(numbers: Iterable[float | None]) -> Io:
    """Two devices with any values."""
    values = list(numbers)
    return (DeviceIo._make(["254:0", *values[:6]]), DeviceIo._make(["8:0", *values[6:]]))


NAMED_DEVICES = st.dictionaries(st.sampled_from(["8:0", "254:0"]), NAMES.filter(bool)).filter(
    lambda names: len({cleaned(name) for name in names.values()}) == len(names)
)


CPU = sections(Cpu._make, len(Cpu._fields))
MEMORY = sections(Memory._make, len(Memory._fields))


@st.composite
def views(draw: st.DrawFn) -> View:
    """Views with odd names; the number in front tells one cgroup from another."""
    numbers = iter(range(100))

    def cgroup() -> Cgroup:
        # Few sections at a time: most of them are alike, and all have their turn.
        chosen = draw(st.sets(st.sampled_from(SECTIONS), max_size=3))
        return Cgroup(
            f"/{next(numbers)}{draw(NAMES).replace('/', '')}",
            draw(st.integers(1, 9)),
            leaf=draw(st.booleans()),
            cpu=draw(CPU) if "cpu" in chosen else None,
            cpuset=draw(sections(Cpuset._make, 2)) if "cpuset" in chosen else None,
            pressure=draw(sections(Pressure._make, 10)) if "pressure" in chosen else None,
            memory=draw(MEMORY) if "memory" in chosen else None,
            io=draw(sections(devices, 12)) if "io" in chosen else None,
            pids=draw(sections(Pids._make, 4)) if "pids" in chosen else None,
            core=draw(sections(Core._make, 4)) if "core" in chosen else None,
        )

    def container() -> Container:
        place = replace(CONTAINER, container_name=draw(st.none() | NAMES))
        return Container(cgroup(), place, f"{next(numbers)}{draw(NAMES)}")

    return view_of(
        [container() for _ in range(draw(st.integers(0, 2)))],
        [
            Pod(cgroup(), POD, f"{next(numbers)}{draw(NAMES)}")
            for _ in range(draw(st.integers(0, 1)))
        ],
        [cgroup() for _ in range(draw(st.integers(0, 2)))],
        draw(NAMED_DEVICES),
    )


ODD = Cgroup('/0"\\\n\udcff{a="b"} 1 # x', 1, leaf=True, cpu=Cpu(usage_seconds=0.1, idle=0))


@given(views())
@example(view_of(cgroups=[ODD]))
def test_text_is_read_back(view: View) -> None:
    """The parser of prometheus-client reads what the model says, every digit, in its order."""
    families = text_string_to_metric_families(render(view))
    found = [
        Sample(sample.name, tuple(sorted(sample.labels.items())), sample.value)
        for family in families
        for sample in family.samples
    ]
    assert found == expected(view)


@given(views())
@example(view_of(cgroups=[ODD]))
def test_openmetrics_is_read_back(view: View) -> None:
    """So does its strict parser of OpenMetrics, which knows types and units too."""
    text = render(view, Format.OPENMETRICS) + "# EOF\n"
    parse = openmetrics_parser.text_string_to_metric_families
    families: list[Family] = list(parse(text))  # type: ignore[no-untyped-call]
    found = [
        Sample(sample.name, tuple(sorted(sample.labels.items())), sample.value)
        for family in families
        for sample in family.samples
    ]
    assert found == expected(view)
    rows = {row.family(level): row for row in METRICS for level in Level}
    for family in families:
        if family.type == "info":
            continue
        row = rows[family.name]
        assert (family.type, family.unit) == (row.kind.value, row.unit)
        assert family.documentation == row.help


class Reference(Collector):
    """The families of a view, as a user of prometheus-client would write them."""

    def __init__(self, view: View) -> None:
        self._view = view

    def collect(self) -> Iterator[Family]:
        """The families that have samples."""
        for level in Level:
            for section in dict.fromkeys(row.section for row in METRICS):
                for row in METRICS:
                    if row.section == section:
                        family = Family(row.family(level), row.help, row.kind.value, row.unit)
                        yield from self._with(family, samples(self._view, row, level))
        for level, text in INFOS:
            family = Family(f"cgexporter_{level.value}", text, "info")
            yield from self._with(family, info_samples(self._view, level))

    def _with(self, family: Family, found: Iterator[Sample]) -> Iterator[Family]:
        for sample in found:
            family.add_sample(sample.name, dict(sample.labels), sample.value)
        if family.samples:
            yield family


@given(views())
@example(view_of(cgroups=[ODD]))
def test_same_as_prometheus_client(view: View) -> None:
    """Line by line the page is what prometheus-client makes of the same families."""
    registry = CollectorRegistry()
    registry.register(Reference(view))
    text = generate_latest(registry).decode()
    assert normalised(render(view)) == normalised(text)
    strict = openmetrics.generate_latest(registry).decode()  # type: ignore[no-untyped-call]
    assert normalised(render(view, Format.OPENMETRICS) + "# EOF\n") == normalised(strict)


def values_of(page: str) -> dict[str, str]:
    """What is printed for each sample."""
    lines = (line.rpartition(" ") for line in page.split("\n") if line and line[0] != "#")
    return {name: number for name, _, number in lines}


def container(cgroup: Cgroup, identifier: str = "a1") -> Container:
    """A container with nothing but an ID."""
    return Container(cgroup, CONTAINER, identifier)


@FORMATS
def test_page(form: Format) -> None:
    """A family is its header and its samples; counters end with _total in either format."""
    cgroup = Cgroup("/a", 1, leaf=True, memory=Memory(current_bytes=4096, max_bytes=math.inf))
    counted = replace(cgroup, memory=None, pids=Pids(events_max=3))
    page = render(view_of([container(cgroup)], cgroups=[counted]), form)
    openmetrics_only = "# UNIT cgexporter_container_memory_current_bytes bytes\n"
    total = "" if form is Format.OPENMETRICS else "_total"
    assert page.startswith(
        "# HELP cgexporter_container_memory_current_bytes Memory charged to the cgroup, "
        "page cache included.\n"
        "# TYPE cgexporter_container_memory_current_bytes gauge\n"
        f"{openmetrics_only if form is Format.OPENMETRICS else ''}"
        'cgexporter_container_memory_current_bytes{id="a1"} 4096\n'
    )
    assert 'cgexporter_container_memory_max_bytes{id="a1"} +Inf\n' in page
    assert (
        f"# HELP cgexporter_slice_pids_events_max{total} Times the limit of tasks refused a "
        f"fork.\n# TYPE cgexporter_slice_pids_events_max{total} counter\n"
        'cgexporter_slice_pids_events_max_total{cgroup="/a"} 3\n'
    ) in page
    assert "EOF" not in page
    assert page.count("# TYPE") == page.count("# HELP") == 4


@FORMATS
def test_no_value_no_sample(form: Format) -> None:
    """What is absent has no sample, and a family without samples has no header."""
    cgroup = Cgroup("/a", 1, leaf=True, cpu=Cpu(usage_seconds=1.5), memory=Memory(), io=())
    page = render(view_of(cgroups=[cgroup, Cgroup("/b", 2, leaf=True)]), form)
    assert values_of(page) == {'cgexporter_slice_cpu_usage_seconds_total{cgroup="/a"}': "1.5"}
    assert page.count("# HELP") == 1
    assert render(view_of(), form) == ""


def test_zero_is_a_sample() -> None:
    """0 is a measurement."""
    cgroup = Cgroup("/a", 1, leaf=True, cpu=Cpu(usage_seconds=0.0, periods=0))
    assert set(values_of(render(view_of(cgroups=[cgroup]))).values()) == {"0.0", "0"}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (math.inf, "+Inf"),
        (2**64 - 1, "18446744073709551615"),
        (2**53 + 1, "9007199254740993"),
        (5_000_000, "5000000"),
        (5_000_000.0, "5000000.0"),
        (14.036781, "14.036781"),
        (1e-06, "1e-06"),
        (0.1 + 0.2, "0.30000000000000004"),
    ],
)
def test_numbers(value: float, text: str) -> None:
    """Integers keep all digits; a float is the shortest that reads back as itself."""
    cgroup = Cgroup("/a", 1, leaf=True, memory=Memory(max_bytes=value))
    (printed,) = values_of(render(view_of(cgroups=[cgroup]))).values()
    assert printed == text


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("plain", "plain"),
        ('a"b', r"a\"b"),
        ("a\\b", r"a\\b"),
        ("a\nb", r"a\nb"),
        ("\\n", r"\\n"),
        ("\udcff", "\ufffdFF"),
        ("\udc80a", "\ufffd80a"),
        ("\ufffdFF", "\ufffdEF\ufffdBF\ufffdBDFF"),
        ("\t\r\x1b[31m", "\t\r\x1b[31m"),
        ("é🐋", "é🐋"),
    ],
)
def test_label_value(text: str, escaped: str) -> None:
    """The three escapes of the format; bytes that are not UTF-8 are shown by their digits."""
    assert label_value(text) == escaped


PIECES = st.sampled_from([b"\xff", b"FF", b"\xef\xbf\xbd", b"\xef", b"\xbf\xbd", b"EF", b"a"])
BYTES = st.binary() | st.lists(PIECES).map(b"".join)


@given(BYTES, BYTES)
@example(b"\xff", b"\xef\xbf\xbdFF")
@example(b"\xef\xbf\xbd", b"\xef")
def test_names_that_differ_stay_different(one: bytes, other: bytes) -> None:
    """No two names look the same, whatever bytes they are of, so no series is there twice."""
    names = [name.decode("utf-8", "surrogateescape") for name in (one, other)]
    assert (label_value(names[0]) == label_value(names[1])) is (one == other)


def test_labels() -> None:
    """Labels are in order of name; what is absent or empty has none."""
    assert labels([("b", "2"), ("a", "1"), ("c", None), ("d", "")]) == '{a="1",b="2"}'
    assert labels([("c", None)]) == ""
    assert labels([]) == ""


def test_header() -> None:
    """Help is escaped as each format wants it."""
    text = 'a\\b\n"c"'
    assert header("x", Kind.COUNTER, "", text, Format.TEXT) == (
        '# HELP x_total a\\\\b\\n"c"\n# TYPE x_total counter\n'
    )
    assert header("x_bytes", Kind.GAUGE, "bytes", text, Format.OPENMETRICS) == (
        '# HELP x_bytes a\\\\b\\n\\"c\\"\n# TYPE x_bytes gauge\n# UNIT x_bytes bytes\n'
    )
    assert header("x", Kind.INFO, "", "", Format.TEXT) == "# HELP x_info \n# TYPE x_info gauge\n"
    assert header("x", Kind.INFO, "", "", Format.OPENMETRICS) == "# HELP x \n# TYPE x info\n"


def test_devices() -> None:
    """A device goes by its name where that is known, else by its number."""
    cgroup = Cgroup("/a", 1, leaf=True, io=(DeviceIo("8:0", 1), DeviceIo("8:16", 2)))
    page = render(view_of(cgroups=[cgroup], devices={"8:0": "sda"}))
    assert values_of(page) == {
        'cgexporter_slice_io_read_bytes_total{cgroup="/a",device="sda"}': "1",
        'cgexporter_slice_io_read_bytes_total{cgroup="/a",device="8:16"}': "2",
    }


def test_infos() -> None:
    """What is said once of a container and of a pod, with each label that is known."""
    place = Place(
        level=paths.Level.CONTAINER,
        runtime="containerd",
        driver="systemd",
        container_id="a1" * 32,
        pod_uid="6379",
        qos_class="Burstable",
        parent_path="/docker/x",
    )
    pod = replace(POD, driver="systemd", pod_uid="6379", qos_class="Burstable")
    cgroup = Cgroup("/p/c", 1, leaf=True)
    view = view_of([Container(cgroup, place, "a1a1")], [Pod(replace(cgroup, path="/p"), pod, "63")])
    container_labels = (
        f'cgroup="/p/c",container_id="containerd://{"a1" * 32}",driver="systemd",id="a1a1",'
        'parent_cgroup="/docker/x",pod_uid="6379",qos_class="Burstable",runtime="containerd"'
    )
    pod_labels = 'cgroup="/p",driver="systemd",qos_class="Burstable",uid="63"'
    assert list(values_of(render(view))) == [
        f"cgexporter_container_info{{{container_labels}}}",
        f"cgexporter_pod_info{{{pod_labels}}}",
    ]


def test_container_id_without_runtime() -> None:
    """An ID of an unknown runtime has no scheme; a runtime without ID has no ID."""
    known = replace(CONTAINER, container_id="a1")
    page = render(view_of([Container(Cgroup("/a", 1, leaf=True), known, "a1")]))
    assert 'container_id="a1"' in page
    named = replace(CONTAINER, runtime="lxc", container_name="web")
    page = render(view_of([Container(Cgroup("/a", 1, leaf=True), named, "")]))
    assert 'cgexporter_container_info{cgroup="/a",container="web",runtime="lxc"} 1' in page


@pytest.mark.parametrize("level", list(Level))
def test_levels(level: Level) -> None:
    """Only the wanted levels are published, info families too."""
    cgroup = Cgroup("/a", 1, leaf=True, pids=Pids(current=1))
    outer = replace(cgroup, path="/d")
    rest = [replace(cgroup, path=path) for path in ("/", "/c", "/c/c")]
    view = replace(
        view_of([container(cgroup)], [Pod(replace(cgroup, path="/b"), POD, "u")], [*rest, outer]),
        holding=frozenset({"/d"}),
    )
    page = b"".join(Publisher(levels=[level]).render(view, Format.TEXT)).decode()
    assert all(name.startswith(f"cgexporter_{level.value}_") for name in values_of(page))
    assert f"cgexporter_{level.value}_pids_current" in page
    assert ("_info" in page) is (level in (Level.CONTAINER, Level.POD))


@pytest.mark.parametrize("row", METRICS, ids=lambda row: row.name)
def test_one_row(row: Metric) -> None:
    """Any row can be published by itself, with the value of its own field."""
    values = [1000 + place for place in range(len(FIELDS[row.section]))]
    section = MAKE[row.section](values)
    cgroup = replace(Cgroup("/a", 1, leaf=True), **{row.section: section})  # type: ignore[arg-type]
    view = view_of(cgroups=[cgroup])
    if Level.SLICE not in row.levels:
        view = view_of(pods=[Pod(cgroup, POD, "1")])
    page = b"".join(Publisher([row]).render(view, Format.TEXT)).decode()
    value = values[FIELDS[row.section].index(row.attribute)]
    assert [v for name, v in values_of(page).items() if "limits_info" not in name] == [str(value)]


@dataclass
class Pages:
    """One publisher, and a new one for each page to compare with."""

    publisher: Publisher = field(default_factory=Publisher)

    def check(self, view: View) -> str:
        """Render with both, in both formats."""
        for form in (Format.OPENMETRICS, Format.TEXT):
            page = b"".join(self.publisher.render(view, form)).decode()
            assert page == render(view, form)
        return page


def test_kept_text() -> None:
    """Text that is kept is right after a section changed, vanished and came again."""
    pages = Pages()
    first = Cgroup("/a", 1, leaf=True, cpu=Cpu(periods=1), memory=Memory(current_bytes=1))
    for cgroup in (
        first,
        first,
        replace(first, cpu=Cpu(periods=2)),
        replace(first, cpu=None),
        replace(first, cpu=Cpu(periods=3), memory=None),
        first,
    ):
        page = pages.check(view_of(cgroups=[cgroup]))
        assert ("cpu_periods" in page) is (cgroup.cpu is not None)


def test_lines_that_stay_are_the_same_object() -> None:
    """What a family's lines are compressed to is kept: only those that changed are made anew."""
    publisher = Publisher()
    cgroup = Cgroup("/a", 1, leaf=True, cpu=Cpu(periods=1, bursts=1))
    before = publisher.render(view_of(cgroups=[cgroup]), Format.TEXT)
    changed = replace(cgroup, cpu=Cpu(periods=2, bursts=1))
    now = publisher.render(view_of(cgroups=[changed]), Format.TEXT)
    samples = [part for part in now if not part.startswith(b"#")]
    fresh = [part for part in samples if all(part is not old for old in before)]
    assert fresh == [b'cgexporter_slice_cpu_periods_total{cgroup="/a"} 2\n']
    assert len(samples) == 2


def test_replaced_cgroup() -> None:
    """Another cgroup at the same path is another subject, whatever is the same of it."""
    pages = Pages()
    cgroup = Cgroup("/a", 1, leaf=True, cpu=Cpu(periods=1))
    pages.check(view_of([container(cgroup, "first")]))
    page = pages.check(view_of([container(replace(cgroup, inode=2), "second")]))
    assert "first" not in page


def test_other_labels_of_the_same_cgroup() -> None:
    """A container that gets a name, another ID or another level keeps no old label."""
    pages = Pages()
    cgroup = Cgroup("/a", 1, leaf=True, cpu=Cpu(periods=1), io=(DeviceIo("8:0", 1),))
    pages.check(view_of([container(cgroup)]))
    pages.check(view_of([container(cgroup, "/a")]))
    named = replace(CONTAINER, container_name="web")
    assert 'container="web"' in pages.check(view_of([Container(cgroup, named, "a1")]))
    runtime = replace(named, runtime="docker")
    assert 'runtime="docker"' in pages.check(view_of([Container(cgroup, runtime, "a1")]))
    pages.check(view_of(cgroups=[cgroup]))
    pages.check(view_of(pods=[Pod(cgroup, POD, "u")]))
    pages.check(view_of([container(cgroup)]))


def test_renamed_device() -> None:
    """A number that stands for another device now has the new name everywhere."""
    pages = Pages()
    cgroup = Cgroup("/a", 1, leaf=True, io=(DeviceIo("8:0", 1),))
    assert 'device="8:0"' in pages.check(view_of(cgroups=[cgroup]))
    assert 'device="sda"' in pages.check(view_of(cgroups=[cgroup], devices={"8:0": "sda"}))
    assert 'device="sdb"' in pages.check(view_of(cgroups=[cgroup], devices={"8:0": "sdb"}))
    assert 'device="8:0"' in pages.check(view_of(cgroups=[cgroup]))


def test_vanished_device() -> None:
    """A device that is gone stays gone when nothing else changes."""
    pages = Pages()
    cgroup = Cgroup("/a", 1, leaf=True, io=(DeviceIo("8:0", 1),))
    gone = replace(cgroup, io=())
    for each in (cgroup, cgroup, gone, gone, replace(gone, io=None), cgroup):
        pages.check(view_of(cgroups=[each]))


def test_vanished_cgroup() -> None:
    """A cgroup that comes again after a scan without it starts anew."""
    pages = Pages()
    cgroup = Cgroup("/a", 1, leaf=True, cpu=Cpu(periods=1))
    pages.check(view_of(cgroups=[cgroup]))
    assert pages.check(view_of()) == ""
    pages.check(view_of(cgroups=[replace(cgroup, cpu=Cpu(periods=2))]))


CPUS = [None, Cpu(periods=1), Cpu(periods=2, idle=1), Cpu()]
IOS = [None, (), (DeviceIo("8:0", 1),), (DeviceIo("8:0", 2), DeviceIo("8:16", 3))]


@st.composite
def histories(draw: st.DrawFn) -> Sequence[View]:
    """Views in which the same few cgroups come, go, change and are replaced."""
    steps = []
    for _ in range(draw(st.integers(2, 5))):
        containers, pods, cgroups = [], [], []
        for path in ("/a", "/b"):
            cgroup = Cgroup(
                path,
                draw(st.integers(1, 2)),
                leaf=True,
                cpu=draw(st.sampled_from(CPUS)),
                io=draw(st.sampled_from(IOS)),
            )
            level = draw(st.sampled_from(["container", "named", "pod", "cgroup", "none"]))
            if level in ("container", "named"):
                name = "web" if level == "named" else None
                place = replace(CONTAINER, container_name=name)
                containers.append(Container(cgroup, place, f"{path}{draw(st.booleans())}"))
            elif level == "pod":
                pods.append(Pod(cgroup, POD, path))
            elif level == "cgroup":
                cgroups.append(cgroup)
        devices = draw(st.sampled_from([{}, {"8:0": "sda"}, {"8:0": "sdb", "8:16": "sda"}]))
        steps.append(view_of(containers, pods, cgroups, devices))
    return steps


@settings(max_examples=300)
@given(histories())
def test_any_history(history: Sequence[View]) -> None:
    """Whatever was rendered before, a page is that of a new publisher."""
    pages = Pages()
    for view in history:
        pages.check(view)


def test_no_series_twice() -> None:
    r"""Cgroups b"\xff" and b"\xfe" are two: a series that is there twice is a broken page."""
    cgroups = [Cgroup(path, 1, leaf=True, pids=Pids(current=1)) for path in ("/\udcfe", "/\udcff")]
    lines = render(view_of(cgroups=cgroups)).split("\n")
    assert len(lines) == len(set(lines))


ROWS = pytest.mark.parametrize("row", METRICS, ids=lambda row: row.name)


def test_rows_are_unique() -> None:
    """No two rows have one name, one help or one source in the model."""
    for values in (
        [row.name for row in METRICS] + [row.name for row in OWN],
        [row.help for row in METRICS] + [row.help for row in OWN],
        [row.field for row in METRICS],
        [row.family(level) for row in METRICS for level in Level] + [row.family for row in OWN],
    ):
        assert len(values) == len(set(values))


@ROWS
def test_row(row: Metric) -> None:
    """Name, unit, kind and help are as Prometheus' guidelines want them."""
    assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", row.name)
    assert not row.name.endswith(("_total", "_info", "_count", "_sum", "_bucket"))
    units = ("seconds", "bytes", "cores", "ratio")
    assert row.unit == next((unit for unit in units if row.name.endswith(f"_{unit}")), "")
    assert row.kind in (Kind.COUNTER, Kind.GAUGE)
    assert re.fullmatch(r"[A-Z1].*\.", row.help)
    assert "\n" not in row.help


@ROWS
def test_row_source(row: Metric) -> None:
    """A row's field is there, and it says which file it is from and since when."""
    assert row.section in (*SECTIONS, "effective", "kept", *NETWORK_SECTIONS)
    assert row.attribute in FIELDS[row.section]
    assert row.v2 or row.v1
    assert re.fullmatch(r"[3-9]\.\d+", row.since)
    assert not row.label or row.label == FIELDS[row.section][0]
    assert row.collector


def test_every_field_has_a_row() -> None:
    """What the model has is published, but for the averages, which are for local views."""
    fields = {f"{name}.{each}" for name, its in FIELDS.items() for each in its}
    published = {row.field for row in METRICS}
    hidden = {each for each in fields - published if not each.endswith("_ratio")}
    labels = {f"{row.section}.{row.label}" for row in METRICS if row.label}
    setters = {each for each in hidden if re.fullmatch(r"effective\.\w+_by", each)}
    assert hidden == labels | setters


@pytest.mark.parametrize("row", [*OWN, *NAMESPACES], ids=lambda row: row.name)
def test_own_row(row: Own) -> None:
    """The exporter's own rows obey the same rules."""
    assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", row.name)
    assert not row.name.endswith(("_total", "_info"))
    assert row.unit == ("seconds" if row.name.endswith("_seconds") else "")
    assert row.help.endswith(".")
