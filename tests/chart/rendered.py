"""The chart as helm renders it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.tools.toolbox import done, go_program

REPOSITORY = Path(__file__).resolve().parents[2]
CHART = REPOSITORY / "helm/cgexporter"
CI_VALUES = sorted((CHART / "ci").glob("*-values.yaml"))
NAMESPACE = "monitoring"


def text(*flags: str | Path, chart: Path = CHART) -> str:
    """What `helm template` prints."""
    return done(
        *(go_program("helm"), "template", "lab", chart, "--namespace", NAMESPACE),
        *("--kube-version", "1.35.4", *flags),
    )


def resources(*flags: str | Path, chart: Path = CHART) -> list[dict[str, Any]]:
    """The same, parsed."""
    return [each for each in yaml.safe_load_all(text(*flags, chart=chart)) if each]


def of_kind(kind: str, *flags: str | Path, chart: Path = CHART) -> dict[str, Any]:
    """The only resource of a kind."""
    (found,) = (each for each in resources(*flags, chart=chart) if each["kind"] == kind)
    return found


def containers(rendered: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """All containers of DaemonSets and pods."""
    for each in rendered:
        if each["kind"] == "DaemonSet":
            yield from each["spec"]["template"]["spec"]["containers"]
        elif each["kind"] == "Pod":
            yield from each["spec"]["containers"]


def exporter(*flags: str | Path) -> dict[str, Any]:
    """The exporter's container."""
    return next(each for each in containers(resources(*flags)) if each["name"] == "exporter")
