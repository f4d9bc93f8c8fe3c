"""The Dockerfile beside what it is said to be."""

import re
from pathlib import Path

import yaml

import cgexporter
from tests.image.built import base_names


def test_one_version(repository: Path) -> None:
    """Package, chart and image are of one version."""
    chart = yaml.safe_load((repository / "helm/cgexporter/Chart.yaml").read_text())
    versions = re.findall(
        r"^ARG VERSION=(.*)$", (repository / "Dockerfile").read_text(), re.MULTILINE
    )
    assert {*versions, chart["appVersion"]} == {cgexporter.__version__}


def test_documented_bases(repository: Path) -> None:
    """docs/IMAGE.md names the bases that are used."""
    text = (repository / "docs/IMAGE.md").read_text()
    for argument, name in base_names().items():
        assert f"--build-arg {argument}={name} " in text
