"""What may be said to the chart, and what it says to the exporter."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

import cgexporter
from cgexporter.cli import parser
from cgexporter.metrics import COLLECTORS
from tests.chart.rendered import CHART, CI_VALUES, containers, exporter, of_kind, resources, text
from tests.tools.toolbox import go_program, run

pytestmark = pytest.mark.timeout(1500)


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("web.prt=1", "'prt' not allowed"),
        ("hostPID=true", "'hostPID' not allowed"),
        ("web.port=99999", "web/port"),
        ("log.level=loud", "log/level"),
        ("collectors.cpus=true", "'cpus' not allowed"),
        ("collectors.cpu=yes", "collectors/cpu"),
        ("identity.runtimeState.runtimes={rkt}", "runtimes/0"),
        ("identity.kubelet.resource=nodes/stats", "kubelet/resource"),
        ("identity.sockets[0].kind=docker", "missing property 'path'"),
        ("image.digest=latest", "image/digest"),
        ("extraArgs={once}", "extraArgs/0"),
        ("serviceMonitor.enabled=maybe", "serviceMonitor/enabled"),
        ("prometheusRule.alerts.NoSuchAlert.for=1m", "there is no alert NoSuchAlert"),
    ],
)
def test_unknown_values_are_refused(value: str, complaint: str) -> None:
    """A mistake in values is an error that names it."""
    result = run(
        *(go_program("helm"), "template", CHART, "--set", "prometheusRule.enabled=true"),
        *("--set", value),
    )
    assert result.returncode
    assert complaint in result.stderr


def test_schema_is_strict() -> None:
    """No object of the schema takes what it does not know, but those of Kubernetes' own API."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    free = {"global", "podSecurityContext", "containerSecurityContext", "affinity", "dnsConfig"}
    free |= {"tlsConfig", "basicAuth", "authorization", "minAllowed", "maxAllowed"}

    def look(node: object, name: str) -> None:
        if isinstance(node, dict):
            if "properties" in node and name not in free:
                assert node["additionalProperties"] is False, name
            elif node.get("type") == "object" and "additionalProperties" not in node:
                assert name in free | {"items"}, name
            for key, value in node.items():
                look(value, key)
        elif isinstance(node, list):
            for value in node:
                look(value, name)

    look({**schema, "definitions": {**schema["definitions"], "objects": {}}}, "root")
    for key in ("collectors", "collectorLevels"):
        assert list(schema["properties"][key]["properties"]) == list(COLLECTORS)


def test_the_default_values_are_all_values() -> None:
    """Each value has a default, so that the README lists it."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert set(yaml.safe_load((CHART / "values.yaml").read_text())) == set(schema["properties"]) - {
        "enabled"
    }


def test_part_of_another_chart(tmp_path: Path) -> None:
    """A chart that depends on this one may switch it by a condition and have globals of its own."""
    parent = tmp_path / "parent"
    shutil.copytree(CHART, parent / "charts/cgexporter")
    (parent / "Chart.yaml").write_text(
        "apiVersion: v2\nname: parent\nversion: 0.1.0\ndependencies:\n"
        "  - {name: cgexporter, version: '*', condition: cgexporter.enabled}\n"
    )
    (parent / "values.yaml").write_text("global: {theirs: 1}\ncgexporter: {enabled: true}\n")
    assert "DaemonSet" in text(chart=parent)
    assert "DaemonSet" not in text("--set", "cgexporter.enabled=false", chart=parent)


@pytest.mark.parametrize("values", CI_VALUES, ids=lambda path: path.stem)
def test_flags(values: Path) -> None:
    """The exporter understands the flags that it is started with."""
    arguments = exporter("--values", values)["args"]
    if values.stem == "web-config-values" and "--web.config.file" not in parser().format_help():
        pytest.skip("this exporter has no --web.config.file yet")
    parser().parse_args([argument.replace("$(HOST_IP)", "192.0.2.1") for argument in arguments])


def test_versions() -> None:
    """The chart is of the exporter beside it."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == cgexporter.__version__
    assert f":{cgexporter.__version__}" in chart["annotations"]["artifacthub.io/images"]


def test_images() -> None:
    """Images come from the registry and with the secrets that are named, by digest if given."""
    everything = CHART / "ci/everything-values.yaml"
    for container in containers(resources("--values", everything)):
        assert container["image"] == (
            f"registry.example.invalid/cgexporter/cgexporter@sha256:{'a' * 64}"
        )
    pod = of_kind("DaemonSet", "--values", everything)["spec"]["template"]["spec"]
    assert pod["imagePullSecrets"] == [{"name": "shared"}, {"name": "own"}]
    both = ("--set", "image.registry=own.invalid", "--set", "global.imageRegistry=all.invalid")
    assert exporter(*both[:2])["image"].startswith("own.invalid/")
    assert exporter(*both)["image"].startswith("all.invalid/")
