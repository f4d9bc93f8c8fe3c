"""What the chart has of other places is up to date; `python3 dev.py docs` makes it so."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

from tests.chart.rendered import CHART, of_kind, resources
from tests.tools.toolbox import done, go_program, run

pytestmark = pytest.mark.timeout(1500)

# Large enough for any dashboard of ours; the API server refuses a ConfigMap over 1 MiB.
CONFIG_MAP_BYTES = 1 << 20
RULES = """
groups:
  - name: first
    rules:
      - record: a:b
        expr: a / b
      - alert: High
        expr: a:b > 0.25
        for: 5m
        labels: {severity: info}
        annotations: {summary: "{{ $labels.pod }} is {{ $value }}"}
      - alert: Odd
        expr: absent(a)
  - name: second
    rules:
      - alert: Alone
        expr: b >= 1e3
      - alert: Both
        expr: a > 1 unless b > 2
"""


def sources(repository: Path) -> dict[str, Path]:
    """Files of the chart that are copies, by their names in it."""
    found = {}
    for file in sorted(repository.glob("dashboards/*.json")):
        found[f"dashboards/{file.name}"] = file
    for file in sorted(
        [*repository.glob("dashboards/*.yaml"), *repository.glob("dashboards/rules/*.yaml")]
    ):
        if "groups" in (yaml.safe_load(file.read_text()) or {}):
            found[f"rules/{file.name}"] = file
    return found


def test_copies(request: pytest.FixtureRequest, repository: Path) -> None:
    """The chart ships what is in `dashboards/`: a chart sees no file outside of itself."""
    wanted = sources(repository)
    files = CHART / "files"
    if request.config.getoption("--update-docs"):
        for kind in ("dashboards", "rules"):
            shutil.rmtree(files / kind, ignore_errors=True)
        for name, file in wanted.items():
            (files / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(file, files / name)
    shipped = {
        str(file.relative_to(files)): file
        for kind in ("dashboards", "rules")
        for file in files.glob(f"{kind}/*")
    }
    assert shipped.keys() == wanted.keys()
    for name, file in wanted.items():
        assert shipped[name].read_bytes() == file.read_bytes(), name
        assert file.stat().st_size < CONFIG_MAP_BYTES


def test_readme(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """The chart's README is what helm-docs makes of it; each value is described."""
    chart = tmp_path / "cgexporter"
    shutil.copytree(CHART, chart)
    done(go_program("helm-docs"), cwd=chart)
    content = (chart / "README.md").read_text()
    if request.config.getoption("--update-docs"):
        (CHART / "README.md").write_text(content)
    assert content == (CHART / "README.md").read_text()
    rows = re.findall(r"^\| (\S+) \| \w+ \| `.*` \| (.*) \|$", content, re.MULTILINE)
    assert len(rows) > 80
    assert [key for key, description in rows if not description.strip()] == []


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    """The chart with a dashboard and rules of which the tests know what is in them."""
    made = tmp_path / "cgexporter"
    shutil.copytree(CHART, made, ignore=shutil.ignore_patterns("dashboards", "rules"))
    (made / "files/dashboards").mkdir()
    (made / "files/rules").mkdir()
    (made / "files/dashboards/node.json").write_text('{"title": "{{ Node }}", "uid": "x"}\n')
    (made / "files/rules/all.yaml").write_text(RULES)
    return made


def test_dashboards(chart: Path) -> None:
    """Each dashboard is a ConfigMap that Grafana's sidecar finds, as it was written."""
    flags = ("--set", "dashboards.enabled=true", "--set", "dashboards.folder=Nodes")
    found = of_kind("ConfigMap", *flags, chart=chart)
    assert found["metadata"]["name"] == "lab-cgexporter-dashboard-node"
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert found["metadata"]["annotations"] == {"grafana_folder": "Nodes"}
    assert found["data"] == {"node.json": '{"title": "{{ Node }}", "uid": "x"}'}


def test_rules(chart: Path) -> None:
    """Rules arrive as written; thresholds, times, severities and alerts can be changed."""
    on = ("--set", "prometheusRule.enabled=true")
    spec = of_kind("PrometheusRule", *on, chart=chart)["spec"]
    assert spec == yaml.safe_load(RULES)
    rule = "prometheusRule"
    spec = of_kind(
        "PrometheusRule",
        *(
            *on,
            "--set-string",
            f"{rule}.alerts.High.threshold=0.5",
            "--set",
            f"{rule}.alerts.High.for=9m",
        ),
        *("--set", f"{rule}.alerts.High.severity=page", "--set", f"{rule}.alertLabels.team=x"),
        *("--set", f"{rule}.disabledAlerts={{Odd}}", "--set", f"{rule}.disabledGroups={{second}}"),
        chart=chart,
    )["spec"]
    (group,) = spec["groups"]
    record, alert = group["rules"]
    assert record == {"record": "a:b", "expr": "a / b"}
    assert alert["expr"] == "a:b > 0.5"
    assert alert["for"] == "9m"
    assert alert["labels"] == {"severity": "page", "team": "x"}
    for alert, problem in (("Odd", "does not end with a threshold"), ("Both", "more than one")):
        result = run(
            *(go_program("helm"), "template", chart, *on),
            *("--set", f"{rule}.alerts.{alert}.threshold=1"),
        )
        assert f"alerts.{alert}: its expression" in result.stderr
        assert problem in result.stderr


def test_nothing_to_ship(chart: Path) -> None:
    """Without dashboards and rules the chart renders none."""
    shutil.rmtree(chart / "files/dashboards")
    shutil.rmtree(chart / "files/rules")
    flags = ("--set", "dashboards.enabled=true", "--set", "prometheusRule.enabled=true")
    kinds = {each["kind"] for each in resources(*flags, chart=chart)}
    assert kinds.isdisjoint({"ConfigMap", "PrometheusRule"})
