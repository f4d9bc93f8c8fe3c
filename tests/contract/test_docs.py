"""Documents are printed from the code or run; `python3 dev.py docs` writes the printed ones."""

import re
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from cgexporter.cli import namespaces_parser, parser
from cgexporter.metrics import METRICS, NAMESPACES, OWN, PREFIX, Kind, Own
from cgexporter.publish import INFOS

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
        "Printed from the metric table by `python3 dev.py docs`. Each row is published for three",
        f"levels: `{PREFIX}_container_…`, `{PREFIX}_pod_…` and `{PREFIX}_cgroup_…`.",
        "",
        "| Level | What it is | Labels |",
        "|---|---|---|",
        "| `container` | the cgroup of one container, not of a pod's sandbox | `container`, `id` |",
        "| `pod` | the cgroup of a Kubernetes or Podman pod | `uid` |",
        "| `cgroup` | the root, slices (QoS tiers too), services and other cgroups | `cgroup` |",
        "",
        "`id` is the first 12 digits of the container's ID, or its ID or cgroup name where that",
        "has another form. Where several cgroups claim one ID or UID it is the path. `container`",
        "is its name, where known. A label that is not known is absent. Limits without a limit",
        "are `+Inf`. A sample is absent where the kernel does not give the number.",
        "",
    ]
    for collector in dict.fromkeys(row.collector for row in METRICS):
        rows = [row for row in METRICS if row.collector == collector]
        lines += [
            f"## {collector}",
            "",
            f"Switched off by `--no-collector.{collector}`.",
            "",
            "| Metric | Type | Label | v2 source | since | v1 source | Help |",
            "|---|---|---|---|---|---|---|",
        ]
        for row in rows:
            v2, v1 = (f"`{source}`" if source else "-" for source in (row.v2, row.v1))
            since = row.since if row.v2 else "-"
            label = f"`{row.label}`" if row.label else ""
            lines.append(
                f"| `{row.name}{SUFFIX[row.kind]}` | {row.kind.value} | {label} | {v2} | {since} "
                f"| {v1} | {row.help} |"
            )
        lines.append("")
    lines += [
        "## Facts",
        "",
        "| Metric | Labels beside the level's | Help |",
        "|---|---|---|",
    ]
    facts = {
        "container": "cgroup, container_id, driver, parent_cgroup, pod_uid, qos_class, runtime",
        "pod": "cgroup, driver, parent_cgroup, qos_class",
    }
    for level, text in INFOS:
        lines.append(f"| `{PREFIX}_{level.value}_info` | {facts[level.value]} | {text} |")
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


def flags_page(monkeypatch: pytest.MonkeyPatch) -> str:
    """docs/FLAGS.md."""
    monkeypatch.setenv("COLUMNS", "100")
    lines = ["# Flags"]
    for grammar in (parser(), namespaces_parser()):
        text = grammar.format_help()
        # Python 3.13 writes "-f, --foo ARG" and wraps usage another way than 3.11.
        lines += ["", f"Printed by `{grammar.prog} --help`.", "", "```text"]
        lines += [line.rstrip() for line in text[text.index("\nShow ") + 1 :].splitlines()]
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
                names = set(re.findall(r'(\w+)="', match[2])) - {"id", "uid", "container"}
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
    names = Counter({f"{own.family}{SUFFIX[own.kind]}" for own in (*OWN, *NAMESPACES)})
    for row in METRICS:
        for level in ("container", "pod", "cgroup"):
            names[f"{PREFIX}_{level}_{row.name}{SUFFIX[row.kind]}"] += 1
    names.update(f"{name}_info" for name in known)
    for document in (
        repository / name for name in ("README.md", "CHANGELOG.md", "docs/NAMESPACES.md")
    ):
        for name in re.findall(r"\bcgexporter_[a-z_]+[a-z]\b(?![_*{])", document.read_text()):
            assert name in names, f"{document.name} names {name}"
