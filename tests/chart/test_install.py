"""The chart in a real API server, with every `ci/` values file; and what admission says of it."""

import json
import os
import re
import subprocess
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.rendered import CHART, CI_VALUES
from tests.tools.cluster import Cluster, cluster, missing
from tests.tools.schemas import monitoring_crds
from tests.tools.toolbox import go_program, unavailable

# Programs may have to be built first.
pytestmark = pytest.mark.timeout(1500)

_HOST_PATHS = "restricted volume types"
_USER = "runAsNonRoot != true"
_ZERO = "runAsUser=0"
_CAPABILITY = "unrestricted capabilities"
# What Pod Security admission's `restricted` says beside hostPath, by values file.
VIOLATIONS: dict[str, set[str]] = {
    "runtime-state": {_USER, _ZERO},
    "sockets": {_USER, _ZERO},
    "namespaces": {_USER, _ZERO, _CAPABILITY},
    "interfaces": {"host namespaces"},
    "everything": {_USER, _ZERO, _CAPABILITY, "host namespaces"},
}
# What a release may be made of; all of it must be gone when it is.
KINDS = (
    "/api/v1/{}/serviceaccounts",
    "/api/v1/{}/services",
    "/api/v1/{}/configmaps",
    "/api/v1/{}/secrets",
    "/api/v1/{}/pods",
    "/apis/apps/v1/{}/daemonsets",
    "/apis/apps/v1/{}/controllerrevisions",
    "/apis/networking.k8s.io/v1/{}/networkpolicies",
    "/apis/monitoring.coreos.com/v1/{}/servicemonitors",
    "/apis/monitoring.coreos.com/v1/{}/podmonitors",
    "/apis/monitoring.coreos.com/v1/{}/prometheusrules",
    "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
)


class Helm:
    """helm, talking to a cluster as its administrator."""

    def __init__(self, api: Cluster, home: Path) -> None:
        self.api = api
        self._config = home / "kubeconfig"
        self._environment = os.environ | {
            "KUBECONFIG": str(self._config),
            **{f"HELM_{kind}_HOME": str(home / kind) for kind in ("CACHE", "CONFIG", "DATA")},
        }
        self._config.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "test",
                    "contexts": [{"name": "test", "context": {"cluster": "a", "user": "a"}}],
                    "clusters": [
                        {
                            "name": "a",
                            "cluster": {
                                "server": api.url,
                                "certificate-authority": str(api.ca_file),
                            },
                        }
                    ],
                    "users": [
                        {
                            "name": "a",
                            "user": {
                                "client-certificate": str(api.home / "admin.crt"),
                                "client-key": str(api.home / "admin.key"),
                            },
                        }
                    ],
                }
            )
        )

    def __call__(self, *words: str | Path) -> str:
        """Run it; all that it says, warnings of the API server among it."""
        done = subprocess.run(
            [str(word) for word in (go_program("helm"), *words)],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def namespace(self, name: str, **levels: str) -> str:
        """Make a namespace with Pod Security levels, such as `enforce="privileged"`."""
        prefix = "pod-security.kubernetes.io"
        self.api.request(
            "POST",
            "/api/v1/namespaces",
            {
                "metadata": {
                    "name": name,
                    "labels": {f"{prefix}/{mode}": level for mode, level in levels.items()},
                }
            },
        )
        return name

    def all(self, namespace: str) -> set[tuple[str, str]]:
        """What is there of all kinds, but what is in every namespace."""
        found = set()
        for kind in KINDS:
            path = kind.format(f"namespaces/{namespace}")
            for item in self.api.request("GET", path)["items"]:
                name = item["metadata"]["name"]
                if not name.startswith("system:") and name not in {"kube-root-ca.crt", "default"}:
                    found.add((kind.rpartition("/")[2], name))
        return found


@pytest.fixture(scope="module")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Helm]:
    """A cluster that knows the Prometheus operator's kinds."""
    if programs := missing():
        unavailable(f"{', '.join(programs)} not installed (Debian packages etcd-server, openssl)")
    home = tmp_path_factory.mktemp("install")
    with cluster(home) as api:
        for file in monitoring_crds():
            path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
            definition = yaml.safe_load(file.read_text())
            api.request("POST", path, definition)
            wait_established(api, f"{path}/{definition['metadata']['name']}")
        yield Helm(api, home)


def wait_established(api: Cluster, path: str) -> None:
    """Wait until a kind can be used."""
    for _ in range(600):
        found: dict[str, Any] = api.request("GET", path).get("status", {})
        if any(
            each["type"] == "Established" and each["status"] == "True"
            for each in found.get("conditions") or ()
        ):
            return
    pytest.fail(f"{path} is not established")


def violations(output: str) -> set[str]:
    """What Pod Security admission warned of."""
    found = re.search(r'would violate PodSecurity \\"restricted:\w+\\": (.*)', output)
    assert found, output
    return set(re.findall(r"(?:^|\), )([^(]+) \(", found[1]))


@pytest.mark.parametrize("values", CI_VALUES, ids=lambda path: path.stem)
def test_install_upgrade_uninstall(helm: Helm, values: Path) -> None:
    """Each set of values can be installed, faults only what its steps are, and leaves nothing."""
    name = values.stem.removesuffix("-values")
    space = helm.namespace(
        f"ci-{name}", enforce="privileged", warn="restricted", audit="restricted"
    )
    before = helm.all(space)
    output = helm("install", "lab", CHART, "--namespace", space, "--values", values)
    found = violations(output)
    assert found == {_HOST_PATHS} | VIOLATIONS.get(name, set()), output
    made = helm.all(space) - before
    assert ("daemonsets", "lab-cg" if name == "everything" else "lab-cgexporter") in made
    helm("upgrade", "lab", CHART, "--namespace", space, "--set", "log.level=debug")
    helm("rollback", "lab", "1", "--namespace", space)
    helm("upgrade", "lab", CHART, "--namespace", space, "--reuse-values", "--values", values)
    assert {each for each in helm.all(space) - before if each[0] != "secrets"} == {
        each for each in made if each[0] != "secrets"
    }
    helm("uninstall", "lab", "--namespace", space)
    assert helm.all(space) == before


def test_two_releases(helm: Helm) -> None:
    """Releases of one name in two namespaces do not meet in what belongs to no namespace."""
    spaces = [helm.namespace(f"two-{name}") for name in ("a", "b")]
    before = helm.all(spaces[0])
    for space in spaces:
        helm(
            *("install", "lab", CHART, "--namespace", space),
            *("--values", CHART / "ci/api-values.yaml"),
        )
    for space in spaces:
        helm("uninstall", "lab", "--namespace", space)
    assert helm.all(spaces[0]) == before


def test_monitors_where_the_operator_is(helm: Helm) -> None:
    """`auto` makes a ServiceMonitor of a cluster that knows it."""
    space = helm.namespace("auto")
    helm("install", "lab", CHART, "--namespace", space, "--set", "serviceMonitor.enabled=auto")
    assert ("servicemonitors", "lab-cgexporter") in helm.all(space)
    helm("uninstall", "lab", "--namespace", space)


def test_the_test_pod_is_restricted(helm: Helm) -> None:
    """The pod of `helm test` is admitted where nothing but `restricted` is."""
    space = helm.namespace("hooks", enforce="restricted")
    output = helm(
        "template", "lab", CHART, "--namespace", space, "--show-only", "templates/tests/scrape.yaml"
    )
    pod = yaml.safe_load(output)
    helm.api.request("POST", f"/api/v1/namespaces/{space}/pods", pod)
    daemonset = helm(
        "template", "lab", CHART, "--namespace", space, "--show-only", "templates/daemonset.yaml"
    )
    template = yaml.safe_load(daemonset)["spec"]["template"]
    template |= {"apiVersion": "v1", "kind": "Pod"}
    template["metadata"]["name"] = "exporter"
    with pytest.raises(urllib.error.HTTPError) as refusal:
        helm.api.request("POST", f"/api/v1/namespaces/{space}/pods", template)
    assert "restricted volume types" in refusal.value.read().decode()


def test_documented_commands(helm: Helm, repository: Path) -> None:
    """The commands of docs/KUBERNETES.md work as written, in their order, and leave nothing."""
    text = (repository / "docs/KUBERNETES.md").read_text()
    blocks = re.findall(r"<!-- walk -->\n```sh\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    assert lines[0] == "kubectl create namespace monitoring"
    path = "/api/v1/namespaces/monitoring"
    for line in lines:
        match line.split():
            case ["kubectl", "create", "namespace", name]:
                helm.namespace(name)
                before = helm.all(name)
            case ["kubectl", "label", "namespace", _, label]:
                key, value = label.split("=")
                change = {"metadata": {"labels": {key: value}}}
                helm.api.request("PATCH", path, change, "application/merge-patch+json")
            case ["helm", *words]:
                helm(*(repository / word if word == "helm/cgexporter" else word for word in words))
            case _:
                pytest.fail(f"this test cannot run: {line}")
    assert helm.all("monitoring") == before
