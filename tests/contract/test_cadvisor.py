"""cAdvisor's names, as the kubelet serves them."""

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families as parse_text

from cgexporter.cadvisor import FAMILIES, MACHINE
from cgexporter.exporter import Exporter, Names, Settings
from cgexporter.metrics import COLLECTORS, METRICS, Kind
from cgexporter.publish import Format

TESTS = Path(__file__).resolve().parents[1]
THEIRS = [
    line.split()
    for line in (TESTS / "data/cadvisor_metrics.txt").read_text().splitlines()
    if not line.startswith("#")
]
SERVED = {family.name for family in FAMILIES} | set(MACHINE)
PAGES = ("v2-6.1-static-pods", "v2-6.1-kubernetes")
# Names come from other sources than the kernel, the others are of this machine.
_NOT_COMPARED = {
    *("container", "image", "name", "namespace", "pod"),
    *("boot_id", "machine_id", "system_uuid"),
}
# docs/CADVISOR.md says why these differ.
DIFFERENT = {
    *("container_last_seen", "container_start_time_seconds", "container_memory_kernel_usage"),
    *("container_memory_failcnt", "cadvisor_version_info"),
}
ROOT_ONLY = {"container_fs_reads_total", "container_fs_writes_total"}

Sample = tuple[str, tuple[tuple[str, str], ...]]


def samples(text: str) -> dict[Sample, float]:
    """Samples by name and compared labels."""
    found: dict[Sample, float] = {}
    for family in parse_text(text):
        for sample in family.samples:
            # The parser gives a counter without _total one.
            name = sample.name.removesuffix("_total") if family.name.endswith("failcnt") else ""
            labels = sorted(
                (key, value) for key, value in sample.labels.items() if key not in _NOT_COMPARED
            )
            found[name or sample.name, tuple(labels)] = sample.value
    return found


def render(tree: str, form: Format = Format.TEXT, **settings: object) -> str:
    """The page of a captured host with their names."""
    place = TESTS / "fixtures" / tree
    exporter = Exporter(
        Settings(
            cgroupfs=f"{place}/sys/fs/cgroup",
            procfs=f"{place}/proc",
            names=Names.CADVISOR,
            **settings,  # type: ignore[arg-type]
        )
    )
    page = exporter.render(exporter.look(), form)
    exporter.close()
    return page


def reasons() -> list[str]:
    """What docs/CADVISOR.md says is not served."""
    text = (TESTS.parent / "docs/CADVISOR.md").read_text().partition("## What is not served")[2]
    return re.findall(r"^\| `([^`]+)` \| \S.+ \|$", text, re.MULTILINE)


def test_each_family_is_served_or_explained() -> None:
    """Each family of cAdvisor's is served, or docs/CADVISOR.md says why not."""
    patterns = reasons()
    silent = [
        name
        for name, _, _ in THEIRS
        if (name in SERVED) == any(fnmatchcase(name, pattern) for pattern in patterns)
    ]
    assert silent == []


def test_nothing_is_invented() -> None:
    """No family is served that cAdvisor does not have, and types are cAdvisor's."""
    types = {name: kind for name, kind, _ in THEIRS}
    assert types.keys() >= SERVED
    assert {f.name: f.kind.value for f in FAMILIES}.items() <= types.items()


def test_needs_are_rows() -> None:
    """What a family is computed from is in our table."""
    names = {row.name for row in METRICS}
    for family in FAMILIES:
        assert set(family.needs) <= names, family.name
        assert not family.collector or family.collector in COLLECTORS


def _busy(tree: str, path: str) -> bool:
    """Whether a cgroup worked between the kubelet's page and the capture, moments apart."""
    if path in ("/", "/system.slice", "/system.slice/kubelet.service"):
        return True
    # The tiers and pods of what follows, and containers that run busy loops or write files.
    if path.count("/") <= 3 and "besteffort-pod" not in path:
        return True
    place = TESTS / "fixtures" / tree / "sys/fs/cgroup" / path.lstrip("/")
    limited = not (place / "cpu.max").read_text().startswith("max")
    return limited or "podd" in path  # the DaemonSet's HTTP server


@pytest.mark.parametrize("tree", PAGES)
def test_the_kubelets_page(tree: str) -> None:
    """What the kubelet served moments before the capture is what we make of the files.

    Of idle cgroups every value is equal. Of busy ones counters went on and limits are equal.
    """
    theirs = samples((TESTS / f"data/kubelet-{tree}.txt").read_text())
    ours = samples(render(tree))
    equal = grown = 0
    for (name, labels), value in theirs.items():
        path = dict(labels).get("id", "")
        if name not in SERVED or name in DIFFERENT:
            continue
        if path == "/" and (name in ROOT_ONLY or name.startswith("container_spec_")):
            continue
        mine = ours.get((name, labels))
        if mine is None:
            assert path == "/", (name, labels)
            continue
        if mine == value:
            equal += 1
        elif name.endswith("_total"):
            assert mine >= value, (name, labels)
            grown += 1
        else:
            assert _busy(tree, path), (name, labels, value, mine)
            assert not name.startswith("container_spec_")
            grown += 1
    assert equal > 2 * grown
    assert equal > 300


@pytest.mark.parametrize("tree", PAGES)
def test_each_row_of_the_kubelet_is_there(tree: str) -> None:
    """No kind of row is lost: node, tiers, services, pods, sandboxes and containers."""
    text = (TESTS / f"data/kubelet-{tree}.txt").read_text()
    theirs = {dict(labels)["id"] for _, labels in samples(text) if dict(labels).get("id")}
    ours = {dict(labels)["id"] for _, labels in samples(render(tree)) if dict(labels).get("id")}
    assert theirs <= ours


@pytest.mark.parametrize("tree", PAGES)
def test_labels_are_the_kubelets(tree: str) -> None:
    """A row has the label names of the kubelet's row, no fewer and no others."""

    def label_names(text: str) -> Mapping[str, set[frozenset[str]]]:
        found: dict[str, set[frozenset[str]]] = {}
        for line in text.splitlines():
            if match := re.match(r"(\w+)\{(.*)\} ", line):
                names = frozenset(re.findall(r'(\w+)="', match[2]))
                found.setdefault(match[1], set()).add(names)
        return found

    theirs = label_names((TESTS / f"data/kubelet-{tree}.txt").read_text())
    ours = label_names(render(tree))
    for name in theirs.keys() & ours.keys():
        assert ours[name] == theirs[name], name


def test_no_timestamps_and_no_sentinels() -> None:
    """No sample has a timestamp, is negative or is a number for "no limit"."""
    for tree in sorted(p.name for p in (TESTS / "fixtures").iterdir() if (p / "sys").is_dir()):
        for line in render(tree, collectors=frozenset(COLLECTORS)).splitlines():
            if not line.startswith("#"):
                assert re.search(r"(\}|^\w+) \S+$", line), line
                assert 0 <= float(line.rpartition(" ")[2]) < 2**62, line


def test_openmetrics() -> None:
    """The strict parser takes the page too."""
    parse: object = openmetrics_parser.text_string_to_metric_families
    assert callable(parse)
    families: Iterable[Metric] = parse(render(PAGES[0], Format.OPENMETRICS) + "# EOF\n")
    assert len(list(families)) > 50


def test_both() -> None:
    """With `both`, a page has each name set once."""
    place = TESTS / "fixtures" / PAGES[0]
    exporter = Exporter(
        Settings(cgroupfs=f"{place}/sys/fs/cgroup", procfs=f"{place}/proc", names=Names.BOTH)
    )
    page = exporter.render(exporter.look(), Format.TEXT)
    exporter.close()
    helps = re.findall(r"^# HELP (\S+)", page, re.MULTILINE)
    assert len(helps) == len(set(helps))
    assert "cgexporter_container_memory_current_bytes" in helps
    assert "container_memory_usage_bytes" in helps


def migrations() -> list[tuple[str, str]]:
    """Their name and ours of each row of docs/MIGRATION.md."""
    text = (TESTS.parent / "docs/MIGRATION.md").read_text()
    return re.findall(r"^\| `([a-z_]+)[^|]*\| (?:`(\w+)`|-) \|$", text, re.MULTILINE)


def test_migration_names_exist() -> None:
    """Each name of ours in docs/MIGRATION.md is in the table, with its suffix."""
    suffixes = {Kind.COUNTER: "_total", Kind.INFO: "_info", Kind.GAUGE: ""}
    names = {row.name + suffixes[row.kind] for row in METRICS}
    for theirs, ours in migrations():
        short = re.sub(r"^cgexporter_(container|pod|node|cgroup)_", "", ours)
        assert not ours or short in names, (theirs, ours)


def test_migration_is_complete_and_right() -> None:
    """Each family of cAdvisor's that is served is in docs/MIGRATION.md, with what it is made of."""
    ours = {theirs: set[str]() for theirs, _ in migrations()}
    for theirs, mine in migrations():
        ours[theirs].add(re.sub(r"^cgexporter_(container|pod|node|cgroup)_|_total$", "", mine))
    for family in FAMILIES:
        assert family.name in ours
        if family.needs:
            assert ours[family.name] & {*family.needs}, family.name
