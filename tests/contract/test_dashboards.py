"""Dashboards and rules: their form is Grafana's and Prometheus', their metrics are ours.

The lint rules are those of grafana/dashboard-linter, which no registry has.
"""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from dashboards.source import rules, write
from dashboards.source.thresholds import Thresholds
from tests.integration.support import program
from tests.tools import promql

Json = dict[str, Any]
ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "dashboards").glob("*.json"))
RULES = sorted((ROOT / "dashboards/rules").glob("*.yaml"))
GRAFANA = ROOT / "tests/data/grafana"
# The schema has no room for what a data source adds to an annotation: Prometheus' is its
# expression and a title.
ANNOTATION = {"expr", "titleFormat"}
# Words that a Docker user would not know.
KUBERNETES = re.compile(
    r"kube|\bpods?\b|qos|guaranteed|burstable|\bnode\b|\bnamespace=", re.IGNORECASE
)

each_dashboard = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)


def load(file: Path) -> Json:
    """One dashboard."""
    found: Json = json.loads(file.read_text())
    return found


def panels(dashboard: Json) -> list[Json]:
    """Its panels without the headings."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def expressions(dashboard: Json) -> Iterator[str]:
    """All expressions: of panels, variables and annotations."""
    for panel in panels(dashboard):
        for target in panel.get("targets", []):
            yield target["expr"]
    for mark in dashboard["annotations"]["list"]:
        yield mark["expr"]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            match = re.fullmatch(r"label_values\((.*), \w+\)", variable["query"]["query"])
            assert match, variable
            yield match[1]


def rule_list() -> list[Json]:
    """All rules of all files."""
    return [
        rule
        for file in RULES
        for group in yaml.safe_load(file.read_text())["groups"]
        for rule in group["rules"]
    ]


def test_files_are_what_is_written() -> None:
    """Each committed file is what dashboards/source makes, and there is no other."""
    committed = {
        str(file.relative_to(ROOT / "dashboards")): file.read_text() for file in (*FILES, *RULES)
    }
    assert committed == write.files()


@pytest.mark.parametrize("release", ["11", "12"])
@each_dashboard
def test_schema(file: Path, release: str) -> None:
    """A dashboard has the form that Grafana publishes, its panels' own settings included."""
    schemas = json.loads((GRAFANA / f"dashboard-{release}.json").read_text())
    dashboard = load(file)
    for panel in panels(dashboard):
        parts = {f"{panel['type']}_options": panel["options"]}
        custom = panel.get("fieldConfig", {}).get("defaults", {}).get("custom")
        if custom is not None:
            parts[f"{panel['type']}_custom"] = custom
        for name, part in parts.items():
            # What is not said there has a default, which the types do not tell.
            assert _faults(schemas[name], part, whole=False) == [], panel["title"]
    for mark in dashboard["annotations"]["list"]:
        for extra in ANNOTATION:
            del mark[extra]
    assert _faults(schemas["dashboard"], dashboard) == []


def _faults(schema: Json, value: object, *, whole: bool = True) -> list[str]:
    return [
        f"{error.json_path}: {error.message[:200]}"
        for error in Draft7Validator(schema).iter_errors(value)
        if whole or error.validator != "required"
    ]


def test_schema_finds_faults() -> None:
    """The schemas are strict: what Grafana does not know is an error."""
    schemas = json.loads((GRAFANA / "dashboard-12.json").read_text())
    dashboard = load(FILES[0])
    dashboard["panels"][1]["gridPos"]["width"] = 1
    assert _faults(schemas["dashboard"], dashboard)
    panel = next(p for p in panels(load(FILES[0])) if p["type"] == "timeseries")
    panel["options"]["legend"]["placement"] = "left"
    assert _faults(schemas["timeseries_options"], panel["options"])


@each_dashboard
def test_lint(file: Path) -> None:
    """The rules of dashboard-linter that are about a dashboard and its variables."""
    dashboard = load(file)
    variables = {v["name"]: v for v in dashboard["templating"]["list"]}
    assert dashboard["editable"] is False
    assert dashboard["uid"] == file.stem
    assert not {"__inputs", "__requires", "version", "id"} & dashboard.keys()
    assert (variables["datasource"]["type"], variables["datasource"]["query"]) == (
        "datasource",
        "prometheus",
    )
    for name in ("job", "instance"):
        variable = variables[name]
        assert (variable["multi"], variable["allValue"]) == (True, ".+")
        assert variable["label"]
    for variable in variables.values():
        if variable["type"] == "query":
            assert variable["refresh"] == 2
            assert variable["sort"] == 1
            assert variable["datasource"]["uid"] == "${datasource}"
    assert any(link.get("asDropdown") for link in dashboard["links"])


@each_dashboard
def test_panel_lint(file: Path) -> None:
    """The rules of dashboard-linter that are about panels and their queries."""
    known = set(json.loads((GRAFANA / "units.json").read_text())["units"])
    for panel in panels(load(file)):
        title = panel["title"]
        assert title
        assert panel["description"], title
        assert panel["datasource"]["uid"] == "${datasource}", title
        assert panel["targets"], title
        for unit in _units(panel):
            assert unit in known, title
        assert panel["fieldConfig"]["defaults"]["noValue"], title
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}", title
            _lint_query(target["expr"])


def _units(panel: Json) -> Iterator[str]:
    settings = panel["fieldConfig"]
    yield settings["defaults"]["unit"]
    for override in settings["overrides"]:
        yield from (p["value"] for p in override["properties"] if p["id"] == "unit")


def _lint_query(expr: str) -> None:
    chosen = promql.selectors(expr)
    assert {name for name, _ in chosen} == promql.named(expr), expr
    for name, selector in chosen:
        assert 'job=~"$job"' in selector, expr
        assert 'instance=~"$instance"' in selector, expr
        if name.endswith("_total"):
            grown = rf"\b(?:rate|increase|changes)\({name}\{{"
            assert len(re.findall(grown, expr)) == expr.count(f"{name}{{"), expr
    for window in re.findall(r"\brate\(\w+\{[^}]*\}\[([^\]]+)\]", expr):
        assert window == "$__rate_interval", expr


@each_dashboard
def test_layout(file: Path) -> None:
    """No panel lies over another or beyond the edge, and each has a number of its own."""
    taken: dict[tuple[int, int], str] = {}
    dashboard = load(file)
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken, (panel["title"], taken[x, y])
                taken[x, y] = panel["title"]
    numbers = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(numbers)) == len(numbers)


def test_links_lead_somewhere() -> None:
    """Each link goes to a dashboard that is there, with variables that it has."""
    variables = {
        load(file)["uid"]: {v["name"] for v in load(file)["templating"]["list"]} for file in FILES
    }
    count = 0
    for file in FILES:
        for panel in panels(load(file)):
            titles = {
                name
                for step in panel.get("transformations", [])
                for name in step["options"].get("renameByName", {}).values()
            }
            for link in panel["fieldConfig"]["defaults"].get("links", []):
                uid, _, query = link["url"].removeprefix("/d/").partition("?")
                assert set(re.findall(r"var-(\w+)=", query)) <= variables[uid], link
                assert set(re.findall(r"__data\.fields\.(\w+)", query)) <= titles, link
                count += 1
    assert count > 10


def test_docker_dashboard_has_no_word_of_kubernetes() -> None:
    """Who runs Docker reads nothing about pods."""
    text = (ROOT / "dashboards/cgexporter-docker.json").read_text()
    assert KUBERNETES.findall(text) == []


def test_queries_parse_and_name_our_metrics(tmp_path: Path) -> None:
    """Promtool parses every expression, and each names metrics that we publish."""
    known = promql.metrics()
    whole = [e for file in FILES for e in expressions(load(file))]
    found = [promql.filled(e) for e in whole] + [rule["expr"] for rule in rule_list()]
    assert len(found) > 150
    assert promql.check(program("promtool", "prometheus"), tmp_path, found) == ""
    assert {name for e in found for name in promql.named(e)} - known == set()


def test_promtool_finds_faults(tmp_path: Path) -> None:
    """An expression that is none is found."""
    promtool = program("promtool", "prometheus")
    assert promql.check(promtool, tmp_path, ["rate(up)"])
    assert promql.named('sum by (a) (rate(x_total{b="c_total"}[5m])) > on (d) Inf') == {"x_total"}


def test_promtool_lints_rules() -> None:
    """``promtool check rules`` finds no fault with the files as they are."""
    promtool = program("promtool", "prometheus")
    done = subprocess.run(
        [promtool, "check", "rules", "--lint=all", "--lint-fatal", *map(str, RULES)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_thresholds_are_the_alerts() -> None:
    """A colour of a panel begins where an alert does; 1 is "any at all"."""
    numbers = {
        float(number)
        for rule in rule_list()
        for number in re.findall(r"(?:>=?|<) ([\d.]+)", rule["expr"])
    } | {1.0}
    for file in FILES:
        for panel in panels(load(file)):
            settings = panel["fieldConfig"]
            steps = list(settings["defaults"]["thresholds"]["steps"])
            for override in settings["overrides"]:
                for each in override["properties"]:
                    if each["id"] == "thresholds":
                        steps += each["value"]["steps"]
            values = {step["value"] for step in steps if step["value"] is not None}
            assert values <= numbers, (file.stem, panel["title"])


def test_thresholds_can_be_set() -> None:
    """Each threshold changes an alert."""
    plain = write.files()
    for name in Thresholds.__dataclass_fields__:
        changed = write.files(Thresholds(**{name: 0.123456}))
        assert plain != changed, name


def test_runbooks() -> None:
    """Each alert has a page, which says what it means, how to look and what to change."""
    alerts = [rule for rule in rule_list() if "alert" in rule]
    pages = {page.stem for page in (ROOT / "docs/runbooks").glob("*.md")} - {"README"}
    assert pages == {alert["alert"] for alert in alerts}
    for alert in alerts:
        url = alert["annotations"]["runbook_url"]
        assert url.startswith(rules.RUNBOOKS)
        page = ROOT / "docs/runbooks" / url.removeprefix(rules.RUNBOOKS)
        text = page.read_text()
        assert text.startswith(f"# {alert['alert']}\n"), page
        for heading in ("## What it means", "## How to look", "## What to change"):
            assert heading in text, page
        for word in ("summary", "description"):
            assert alert["annotations"][word], alert
        assert alert["labels"]["severity"] in ("info", "warning", "critical")
