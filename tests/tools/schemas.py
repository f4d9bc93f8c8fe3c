"""JSON schemas of Kubernetes and of the Prometheus operator's kinds, for kubeconform.

Kubernetes' own come from the package kubernetes-validate, which has those of its OpenAPI documents
with references between files; kubeconform follows none, so they are resolved here. The operator's
are made from its Go types, as the operator makes them.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.tools.toolbox import RECIPES, TOOLBOX, key, linters, unavailable

_TYPES = "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
_MONITORING = ("servicemonitors", "podmonitors", "prometheusrules")


def monitoring_crds() -> list[Path]:
    """CustomResourceDefinitions of the operator's kinds that the chart has; a minute, once."""
    recipe = RECIPES / "monitoring-crds"
    home = TOOLBOX / f"monitoring-crds-{key(recipe / 'go.mod', recipe / 'go.sum')}"
    if not home.exists():
        if shutil.which("go") is None:
            unavailable("the operator's CRDs are not made and go is not installed")
        made = home.with_name(f".{home.name}.{os.getpid()}")
        subprocess.run(
            ["go", "tool", "controller-gen", "crd", f"paths={_TYPES}", f"output:crd:dir={made}"],
            cwd=recipe,
            env=os.environ | {"CGO_ENABLED": "0"},
            check=True,
        )
        made.rename(home)
    return [home / f"monitoring.coreos.com_{kind}.yaml" for kind in _MONITORING]


def kubernetes_schemas(version: str, kinds: Mapping[str, str], home: Path) -> None:
    """Write the strict schemas of kinds, as ``KIND-GROUP-VERSION.json``.

    Args:
        version: such as "1.29".
        kinds: apiVersion by kind.
        home: folder to write to.
    """
    root = next(linters().parent.glob("lib/python*/site-packages/kubernetes_validate"))
    source = root / "kubernetes-json-schema" / f"v{version}.0-local-strict"
    definitions = json.loads((source / "_definitions.json").read_text())["$defs"]
    for kind, api in kinds.items():
        name = _name(kind, api)
        schema = json.loads((source / name).read_text())
        (home / name).write_text(json.dumps(_resolved(schema, definitions)))


def _name(kind: str, api: str) -> str:
    group, _, version = api.rpartition("/")
    return "-".join(part for part in (kind, group.split(".")[0], version) if part).lower() + ".json"


def _resolved(node: Any, definitions: Mapping[str, Any], within: tuple[str, ...] = ()) -> Any:
    if isinstance(node, list):
        return [_resolved(item, definitions, within) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        name = node["$ref"].rpartition("/")[2]
        if name in within:  # JSONSchemaProps holds itself: anything, from there on
            return {}
        return _resolved(definitions[name], definitions, (*within, name))
    return {key: _resolved(value, definitions, within) for key, value in node.items()}


def monitoring_schemas(home: Path) -> None:
    """Write the strict schemas of the operator's kinds."""
    for file in monitoring_crds():
        spec = yaml.safe_load(file.read_text())["spec"]
        for version in spec["versions"]:
            schema = _strict(version["schema"]["openAPIV3Schema"])
            api = f"{spec['group']}/{version['name']}"
            (home / _name(spec["names"]["kind"], api)).write_text(json.dumps(schema))


def _strict(node: Any) -> Any:
    if isinstance(node, list):
        return [_strict(item) for item in node]
    if not isinstance(node, dict):
        return node
    strict = {key: _strict(value) for key, value in node.items()}
    if isinstance(node.get("properties"), dict) and "additionalProperties" not in node:
        strict["additionalProperties"] = False
    if node.get("x-kubernetes-int-or-string"):
        strict.pop("anyOf", None)
        strict["type"] = ["integer", "string"]
    return strict
