"""Documents are printed from the code or run; `python3 dev.py docs` writes the printed ones."""

import re
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from cgexporter.cli import parser
from cgexporter.commands import COMMANDS, command
from cgexporter.exporter import Exporter, Settings
from cgexporter.metrics import (
    COLLECTORS,
    DECLARED,
    DEFAULT_COLLECTORS,
    METRICS,
    NAMESPACES,
    OWN,
    PREFIX,
    Kind,
    Level,
    Own,
)
from cgexporter.publish import INFOS, LIMITS_INFO, Format

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
SUFFIX = {Kind.COUNTER: "_total", Kind.INFO: "_info", Kind.GAUGE: ""}


def own_rows(rows: Sequence[Own]) -> list[str]:
    """A table of metrics with labels of their own."""
    lines = ["| Metric | Type | Labels | Help |", "|---|---|---|---|"]
    for own in rows:
        labels = ", ".join(f"`{label}`" for label in own.labels)
        lines.append(
            f"| `{own.family}{SUFFIX[own.kind]}` | {own.kind.value} | {labels} | {own.help} |"
        )
    return lines


def metrics_page() -> str:
    """docs/METRICS.md."""
    lines = [
        "# Metrics",
        "",
        "Printed from the metric table by `python3 dev.py docs`. Each row is published for each",
        f"level, which stands in front of its name: `{PREFIX}_container_…`, `{PREFIX}_pod_…`.",
        "",
        "| Level | What it is | Labels |",
        "|---|---|---|",
        "| `container` | a container, no sandbox | `namespace`, `pod`, `container`, `id` |",
        "| `pod` | the cgroup of a Kubernetes or Podman pod | `namespace`, `pod`, `uid` |",
        "| `node` | the root cgroup | |",
        "| `slice` | cgroups directly below the root | `cgroup` |",
        "| `cgroup` | deeper ones with none of their kind below: services, QoS tiers | `cgroup` |",
        "| `holder` | a container or pod that holds others, as in kind | `cgroup` |",
        "",
        "`id` is the first 12 digits of the container's ID, or its ID or cgroup name where that",
        "has another form. Where several cgroups claim one ID or UID it is the path. `namespace`,",
        "`pod` and `container` are names, where a source tells them: [IDENTITY.md](IDENTITY.md). A",
        "label that is not known is absent. Limits without a limit are `+Inf`. A sample is absent",
        "where the kernel does not give the number.",
        "",
        "Sums: within a level no cgroup lies in another, so the sum over a family counts nothing",
        "twice. A slice between slices, such as a user's that has sessions below it, is therefore",
        "not published but counted, and is in the JSON document with the level `between`:",
        "[decision 7](decisions/0007-sums.md).",
        "",
        "## Collectors",
        "",
        "A collector that is off costs nothing: its files are not read. Files are what it reads",
        "that no collector above it in the list reads. Samples are per container, in the captured",
        "hosts `v2-6.1-kubernetes` and `hybrid-6.1-systemd` of the tests; an idle host has fewer.",
        "",
        "| Collector | Default | Files v2 | Files v1 | Samples v2 | Samples v1 |",
        "|---|---|---|---|---|---|",
        *costs(),
        "",
        "`--collector.levels=NAME=LEVEL[,LEVEL]` publishes a collector for some levels only.",
        "",
    ]
    for collector in COLLECTORS:
        rows = [row for row in METRICS if row.collector == collector]
        lines += [
            f"## {collector}",
            "",
            f"On by default; switched off by `--no-collector.{collector}`."
            if collector in DEFAULT_COLLECTORS
            else f"Off by default; switched on by `--collector.{collector}`.",
            "",
            "| Metric | Type | Label | v2 source | since | v1 source | Help |",
            "|---|---|---|---|---|---|---|",
        ]
        for row in rows:
            v2, v1 = (f"`{source}`" if source else "-" for source in (row.v2, row.v1))
            since = row.since if row.v2 else "-"
            label = f"`{row.label}`" if row.label else ""
            levels = "" if set(row.levels) == set(Level) else " Not for containers."
            lines.append(
                f"| `{row.name}{SUFFIX[row.kind]}` | {row.kind.value} | {label} | {v2} | {since} "
                f"| {v1} | {row.help}{levels} |"
            )
        lines.append("")
    lines += [
        "## Facts",
        "",
        "| Metric | Labels beside the level's | Help |",
        "|---|---|---|",
    ]
    facts = {
        "container": "cgroup, compose_project, compose_service, container_id, driver, image, "
        "parent_cgroup, pod_uid, qos_class, restart_count, runtime, label_…",
        "pod": "cgroup, driver, owner_kind, owner_name, parent_cgroup, qos_class, label_…",
    }
    for level, text in INFOS:
        lines.append(f"| `{PREFIX}_{level.value}_info` | {facts[level.value]} | {text} |")
    for level in Level:
        lines.append(
            f"| `{PREFIX}_{level.value}_limits_info` | cpu, memory, pids | {LIMITS_INFO} |"
        )
    lines += [
        "",
        "`label_…` are labels of pods and containers that `--identity.labels` asks for.",
        "",
        "## Declared",
        "",
        "What a pod's manifest asks for, known from the kubelet or the API server.",
        "",
        "| Metric | Type | Help |",
        "|---|---|---|",
    ]
    lines += [f"| `{ask.family}` | gauge | {ask.help} |" for ask in DECLARED]
    lines += [
        "",
        "## namespaces",
        "",
        "Switched off by `--no-collector.namespaces`, interfaces by `--no-collector.network`. Each",
        "has the labels of the level it is named for as well.",
        "",
        *own_rows(NAMESPACES),
        "",
        "## The exporter itself",
        "",
        *own_rows(OWN),
    ]
    lines += ["", "The process itself is in `process_*`, as in each of Prometheus' clients.", ""]
    return "\n".join(lines)


def costs() -> Iterator[str]:
    """What each collector costs: files that it alone reads, and samples per container."""
    trees = [FIXTURES / name for name in ("v2-6.1-kubernetes", "hybrid-6.1-systemd")]
    read: list[set[str]] = [set(), set()]
    for collector in COLLECTORS:
        files, samples = [], []
        for tree, known in zip(trees, read, strict=True):
            exporter = Exporter(
                Settings(
                    cgroupfs=f"{tree}/sys/fs/cgroup",
                    procfs=f"{tree}/proc",
                    collectors=frozenset({collector}),
                )
            )
            view = exporter.look()
            asked = {name for name, n in view.snapshot.files.items()} - known
            known.update(asked)
            files.append(len(asked))
            page = exporter.render(view, Format.TEXT)
            exporter.close()
            count = len(re.findall(r"^cgexporter_container_(?!\w*info\{)", page, re.MULTILINE))
            samples.append(round(count / len(view.containers), 1))
        default = "on" if collector in DEFAULT_COLLECTORS else "off"
        cells = [f"`{collector}`", default, *files, *(f"{count:g}" for count in samples)]
        yield f"| {' | '.join(map(str, cells))} |"


def flags_page(monkeypatch: pytest.MonkeyPatch) -> str:
    """docs/FLAGS.md."""
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("NODE_NAME", raising=False)
    lines = ["# Flags"]
    for grammar in (parser(), *(command(name).grammar() for name in COMMANDS)):
        text = grammar.format_help()
        start = grammar.description.split()[0]
        # Python 3.13 writes "-f, --foo ARG" and wraps usage another way than 3.11.
        lines += ["", f"Printed by `{grammar.prog} --help`.", "", "```text"]
        lines += [line.rstrip() for line in text[text.index(f"\n{start}") + 1 :].splitlines()]
        lines.append("```")
    return "\n".join([*lines, ""])


def compare(request: pytest.FixtureRequest, file: Path, content: str) -> None:
    """Compare with the document, or write it."""
    if request.config.getoption("--update-docs"):
        file.write_text(content)
    assert content == file.read_text()


def test_metrics_page(request: pytest.FixtureRequest, repository: Path) -> None:
    """docs/METRICS.md is the metric table."""
    compare(request, repository / "docs/METRICS.md", metrics_page())


def test_info_labels_are_documented(repository: Path) -> None:
    """Each label that an info family has in a golden page is in docs/METRICS.md."""
    document = (repository / "docs/METRICS.md").read_text()
    for page in (repository / "tests/golden").glob("*.prom"):
        for line in page.read_text().splitlines():
            if match := re.match(r"(cgexporter_(?:container|pod)_info)\{(.*)\} 1$", line):
                row = next(r for r in document.splitlines() if r.startswith(f"| `{match[1]}`"))
                names = set(re.findall(r'(\w+)="', match[2]))
                names -= {"id", "uid", "namespace", "pod", "container"}
                assert names <= set(re.findall(r"\w+", row.split("|")[2]))


def test_flags_page(
    request: pytest.FixtureRequest, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """docs/FLAGS.md is what --help prints."""
    compare(request, repository / "docs/FLAGS.md", flags_page(monkeypatch))


def test_examples_run(repository: Path) -> None:
    """Commands in documents that are marked `<!-- run -->` work as written."""
    count = 0
    for document in [*repository.glob("*.md"), *repository.glob("docs/*.md")]:
        pattern = r"<!-- run -->\n```sh\n(.*?)```"
        for block in re.findall(pattern, document.read_text(), re.DOTALL):
            words = shlex.split(block.replace("\\\n", " "))
            assert words[0] == "cgexporter"
            done = subprocess.run(
                [sys.executable, "-m", "cgexporter", *words[1:]],
                cwd=repository,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            assert done.stdout
            count += 1
    assert count


def test_metrics_named_in_documents_exist(repository: Path) -> None:
    """No document names a metric that is not published."""
    known = {row.family for row in OWN} | {f"{PREFIX}_container", f"{PREFIX}_pod"}
    known |= {f"{PREFIX}_{level.value}_limits" for level in Level}
    names = Counter({f"{own.family}{SUFFIX[own.kind]}" for own in (*OWN, *NAMESPACES)})
    for row in METRICS:
        for level in Level:
            names[f"{row.family(level)}{SUFFIX[row.kind]}"] += 1
    names.update(f"{name}_info" for name in known)
    names.update(ask.family for ask in DECLARED)
    for document in (
        repository / name for name in ("README.md", "CHANGELOG.md", "docs/NAMESPACES.md")
    ):
        for name in re.findall(r"\bcgexporter_[a-z_]+[a-z]\b(?![_*{])", document.read_text()):
            assert name in names, f"{document.name} names {name}"
