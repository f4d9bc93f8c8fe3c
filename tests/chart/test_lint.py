"""The chart to those who judge charts: helm, helm-unittest, kubeconform, checkov, kube-score."""

import json
import shutil
from pathlib import Path

import pytest

from tests.chart.rendered import CHART, CI_VALUES, resources, text
from tests.tools.schemas import kubernetes_schemas, monitoring_schemas
from tests.tools.toolbox import done, go_program, linters, run

# Tools may have to be built first.
pytestmark = pytest.mark.timeout(1500)

# The oldest that the chart allows, the one whose API server the tests start, the newest.
KUBERNETES = ("1.29", "1.35", "1.37")
# Those whose schemas no package has.
NO_SCHEMA = ("VerticalPodAutoscaler",)

_TAG = "tags are of releases, and a pull at each start needs the registry at each start"
_HOOK = "the test's pod lives for seconds and ends by itself"
_USER = "uid 0 owns runtimes' state and sockets, and alone gets capabilities"
# What checkov says of all values, and why it is so.
CHECKOV_ALWAYS = {
    "CKV_K8S_11": "no CPU limit: a throttled scrape is late, and throttling is what it measures",
    "CKV_K8S_15": _TAG,
    "CKV_K8S_43": "no chart knows the digest before the image is built; image.digest pins it",
}
# What it says of the pod of `helm test`.
CHECKOV_HOOK = {"CKV_K8S_8": _HOOK, "CKV_K8S_9": _HOOK, "CKV2_K8S_6": _HOOK}
# What it says of values that take a step of the ladder: the step itself.
CHECKOV_STEPS = {
    "CKV_K8S_17": "interfaces: the PID namespace of the node",
    "CKV_K8S_19": "interfaces: its network",
    "CKV2_K8S_6": "interfaces: no NetworkPolicy binds who is in the node's network",
    "CKV_K8S_23": _USER,
    "CKV_K8S_40": _USER,
    "CKV_K8S_25": "namespaces: SYS_PTRACE",
}
STEPS = {"runtime-state", "namespaces", "interfaces", "sockets", "everything"}
# The same of kube-score.
KUBE_SCORE_ALWAYS = {"container-image-pull-policy": _TAG, "pod-networkpolicy": _HOOK}
_KUBE_SCORE_USER = {"container-security-context-user-group-id": _USER}
KUBE_SCORE_STEPS = {
    "runtime-state": _KUBE_SCORE_USER,
    "namespaces": _KUBE_SCORE_USER,
    "sockets": _KUBE_SCORE_USER,
    "everything": _KUBE_SCORE_USER,
    "web-config": {"pod-probes-identical": "web.authenticated: kubelets have no password"},
}


def test_helm_lint() -> None:
    """Helm finds nothing, in strict mode, with any of the values."""
    for values in CI_VALUES:
        done(go_program("helm"), "lint", "--strict", CHART, "--values", values)


def test_helm_unittest(tmp_path: Path) -> None:
    """What the suites beside the chart say of it is so; snapshots are up to date."""
    chart = tmp_path / "cgexporter"
    shutil.copytree(CHART, chart)
    done(go_program("helm-unittest"), "--strict", chart)
    for snapshot in (CHART / "tests/__snapshot__").iterdir():
        assert (chart / "tests/__snapshot__" / snapshot.name).read_text() == snapshot.read_text()


@pytest.mark.parametrize("version", KUBERNETES)
def test_kubeconform(tmp_path: Path, version: str) -> None:
    """All that is rendered is valid, to the last key, in three versions of Kubernetes."""
    values = ["--kube-version", f"{version}.0"]
    rendered = [text("--values", each, *values) for each in CI_VALUES]
    kinds = {
        each["kind"]: each["apiVersion"]
        for ci in CI_VALUES
        for each in resources("--values", ci, *values)
        if not each["apiVersion"].startswith("monitoring.") and each["kind"] not in NO_SCHEMA
    }
    kubernetes_schemas(version, kinds, tmp_path)
    monitoring_schemas(tmp_path)
    command: list[str | Path] = [
        go_program("kubeconform"),
        *("-strict", "-summary", "-output", "json"),
        *("-schema-location", f"{tmp_path}/{{{{ .ResourceKind }}}}{{{{ .KindSuffix }}}}.json"),
    ]
    found = json.loads(done(*command, text="\n---\n".join(rendered)))["summary"]
    assert found["invalid"] == found["errors"] == found["skipped"] == 0
    assert found["valid"] > 5 * len(CI_VALUES)
    for right, wrong in (
        ("hostPID: false", 'hostPID: "false"'),
        ("hostIPC: false", "hostIpc: false"),
        ("honorLabels: false", "honourLabels: false"),
    ):
        assert run(*command, text="\n---\n".join(rendered).replace(right, wrong)).returncode


def test_checkov(tmp_path: Path) -> None:
    """Checkov faults what is listed above, each where it is said to be, and nothing else."""
    for values in CI_VALUES:
        (tmp_path / f"{values.stem}.yaml").write_text(text("--values", values))
    result = run(
        *(linters() / "checkov", "--directory", tmp_path, "--framework", "kubernetes"),
        *("--skip-download", "--compact", "--quiet", "--output", "json"),
    )
    report = json.loads(result.stdout)
    assert report["summary"]["passed"] > 100 * len(CI_VALUES)
    seen = set()
    for check in report["results"]["failed_checks"]:
        found = check["check_id"]
        name = Path(check["file_path"]).stem.removesuffix("-values")
        expected = found in CHECKOV_ALWAYS
        expected |= found in CHECKOV_HOOK and check["resource"].endswith("-test-scrape")
        expected |= found in CHECKOV_STEPS and name in STEPS
        assert expected, (name, found, check["check_name"], check["resource"])
        seen.add(found)
    assert seen == {*CHECKOV_ALWAYS, *CHECKOV_HOOK, *CHECKOV_STEPS}


def test_kube_score() -> None:
    """Kube-score faults nothing but what is listed above."""
    for values in CI_VALUES:
        step = KUBE_SCORE_STEPS.get(values.stem.removesuffix("-values"), {})
        ignored = [f"--ignore-test={name}" for name in KUBE_SCORE_ALWAYS | step]
        result = run(
            go_program("kube-score"),
            *("score", "-", *ignored, "--output-format", "ci"),
            *("--ignore-container-cpu-limit", "--kubernetes-version", "v1.35"),
            text=text("--values", values),
        )
        lines = result.stdout.splitlines()
        bad = [line for line in lines if not line.startswith(("[OK]", "[SKIPPED]"))]
        assert lines
        assert bad == [], values.name
        assert result.returncode == 0


def test_yamllint() -> None:
    """Values are written one way."""
    rules = "{extends: default, rules: {line-length: {max: 100}, document-start: disable}}"
    done(linters() / "yamllint", "--strict", "-d", rules, CHART / "values.yaml", *CI_VALUES)
