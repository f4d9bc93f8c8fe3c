"""The chart on a node of a cluster: its pod runs from the image and names every pod there."""

import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.integration.seen import CONTAINER, Sample
from tests.lab import release
from tests.lab.cluster import NODE
from tests.lab.conftest import Guests
from tests.lab.machine import GuestError
from tests.lab.release import CHART, DEPLOYMENT, NAME, NAMESPACE, PODS, STATIC, Node
from tests.tools import bases, cluster
from tests.tools.toolbox import unavailable

pytestmark = pytest.mark.guest("cluster")

_SYS_PTRACE = 19  # linux/capability.h


@pytest.fixture(scope="module")
def node(
    guests: Guests, repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Node]:
    """A node with pods and the image."""
    guests.stop()
    if os.geteuid() != 0:
        unavailable("building images here needs root")
    if absent := cluster.missing() + bases.missing():
        unavailable(f"not installed (sudo python3 dev.py tools): {', '.join(absent)}")
    if not release.saved().exists():
        unavailable("state cluster is not built: python3 dev.py lab-build")
    with release.node(repository, tmp_path_factory.mktemp("chart")) as made:
        yield made


def _of(page: list[Sample], name: str, **labels: str) -> list[Sample]:
    return [s for s in page if s.name == name and labels.items() <= s.labels.items()]


def _names(pod: Mapping[str, Any]) -> tuple[str, str]:
    return pod["metadata"]["namespace"], pod["metadata"]["name"]


def assert_names(node: Node, page: list[Sample]) -> None:
    """Each pod and container of the node is there once by its names, and nothing else is."""
    known = node.pods()
    keys = ("container_id", "namespace", "pod", "container", "qos_class")
    infos = [tuple(s.labels.get(key) for key in keys) for s in _of(page, f"{CONTAINER}info")]
    running = [
        (status["containerID"], *_names(pod), status["name"], pod["status"]["qosClass"])
        for pod in known
        for status in pod["status"]["containerStatuses"]
    ]
    assert sorted(infos, key=repr) == sorted(running, key=repr)
    seen = [
        (s.labels.get("namespace"), s.labels.get("pod")) for s in _of(page, "cgexporter_pod_info")
    ]
    assert sorted(seen, key=repr) == sorted(map(_names, known), key=repr)


def assert_declared(page: list[Sample]) -> None:
    """Requests and limits are what manifests ask for; what they do not ask for is not there."""
    for pod in (*PODS, STATIC):
        name = f"{pod.name}-{NODE}" if pod is STATIC else pod.name
        for each in pod.containers:
            asked = {
                "cpu_request_cores": each.cpu_request,
                "cpu_limit_cores": each.cpu_limit,
                "memory_request_bytes": each.memory_request,
                "memory_limit_bytes": each.memory_limit,
            }
            found = {
                sample.name.removeprefix(f"{CONTAINER}declared_"): sample.value
                for sample in page
                if sample.name.startswith(f"{CONTAINER}declared_")
                and (sample.labels["pod"], sample.labels["container"]) == (name, each.name)
            }
            assert found == {key: v for key, v in asked.items() if v not in (None, math.inf)}
    owners = {
        (s.labels["owner_kind"], s.labels["owner_name"].rpartition("-")[0])
        for s in _of(page, "cgexporter_pod_info")
        if s.labels["pod"].startswith(DEPLOYMENT)
    }
    assert owners == {("ReplicaSet", DEPLOYMENT)}


def assert_process(node: Node, pod: Mapping[str, Any], uid: int, capabilities: int = 0) -> None:
    """The exporter runs as a user with these capabilities, cannot get more, and is filtered."""
    said = node.process(pod)
    wanted = {
        "Uid": r"\t".join([f"{uid}"] * 4),
        "CapEff": f"{capabilities:016x}",
        "CapBnd": f"{capabilities:016x}",
        "NoNewPrivs": "1",
        "Seccomp": "2",
    }
    for key, value in wanted.items():
        assert re.search(f"^{key}:\t{value}$", said, re.MULTILINE), said


def test_as_documented(node: Node) -> None:
    """The commands of docs/KUBERNETES.md: it names every pod, passes its test, and leaves nothing.

    The values are the chart's own: nobody, without a capability or a token. What the kubelet
    removes of the pods by and by is looked for when the other tests have had their time.
    """
    text = (node.repository / "docs/KUBERNETES.md").read_text()
    blocks = re.findall(r"<!-- walk -->\n```sh\n(.*?)```", text, re.DOTALL)
    (*prepare, install), (*changes, uninstall) = (block.splitlines() for block in blocks)
    for line in prepare:
        node.run(line)
    before = node.settled()
    node.run(install)
    pod = node.rolled_out()
    uids = {pod["metadata"]["uid"]}
    page = node.page(pod)
    assert_names(node, page)
    assert not _of(page, f"{CONTAINER}declared_cpu_request_cores")
    assert_process(node, pod, 65534)
    node.lab.tell_names()
    said = node.run("helm test cgexporter --namespace monitoring")
    assert re.search(r"^Phase:\s+Succeeded$", said, re.MULTILINE), said
    seen = ((True, False), (True, True), (False, False))
    for line, (declares, has_memory_stat) in zip(changes, seen, strict=True):
        node.run(line)
        pod = node.rolled_out()
        assert pod["metadata"]["uid"] not in uids, "there is a new pod"
        uids.add(pod["metadata"]["uid"])
        page = node.page(pod)
        assert_names(node, page)
        if declares:
            assert_declared(page)
        assert bool(_of(page, f"{CONTAINER}declared_cpu_request_cores")) == declares
        assert bool(_of(page, f"{CONTAINER}memory_stat_active_anon_bytes")) == has_memory_stat
    node.run(uninstall)
    node.gone(before)
    node.removed |= uids


@pytest.fixture(scope="module")
def steps(node: Node) -> Iterator[Node]:
    """A namespace for the release that takes one step after the other; nothing stays of it."""
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    node.lab.kubectl("apply", "-f", "-", stdin=json.dumps(space))
    node.prepare_web()
    before = node.settled()
    yield node
    node.helm("uninstall", NAME, "--namespace", NAMESPACE)
    node.gone(before)


def kubelet_and_namespaces(node: Node, pod: Mapping[str, Any]) -> None:
    """Manifests are known, all eight kinds of namespace, and who shares the node's network."""
    page = node.page(pod, until="cgexporter_namespace_sweep_seconds")
    assert_names(node, page)
    assert_declared(page)
    assert len({s.labels["kind"] for s in _of(page, "cgexporter_node_namespaces")}) == 8
    shared = _of(page, f"{CONTAINER}namespace_shared", kind="net", **{"with": "host"})
    assert {s.labels["pod"] for s in shared} == {"onhost"}
    assert_process(node, pod, 0, 1 << _SYS_PTRACE)


def api_and_interfaces(node: Node, pod: Mapping[str, Any]) -> None:
    """Manifests and labels are known, and where pods' interfaces end on the node."""
    page = node.page(pod)
    assert_names(node, page)
    assert_declared(page)
    labels = [
        s.labels.get("label_app_kubernetes_io_name")
        for s in _of(page, "cgexporter_pod_info")
        if s.labels["pod"].startswith(DEPLOYMENT)
    ]
    assert labels == [DEPLOYMENT]
    bridges = {
        s.labels["pod"]: s.labels.get("bridge") for s in _of(page, "cgexporter_pod_interface_info")
    }
    own = [pod for pod in node.pods() if not pod["spec"].get("hostNetwork")]
    assert bridges == {pod["metadata"]["name"]: "cni0" for pod in own}
    assert_process(node, pod, 65534)


def runtime_state(node: Node, pod: Mapping[str, Any]) -> None:
    """Images are known, to uid 0 without a capability."""
    page = node.page(pod)
    assert_names(node, page)
    images = {s.labels["pod"]: s.labels.get("image") for s in _of(page, f"{CONTAINER}info")}
    assert images == {
        pod["metadata"]["name"]: pod["spec"]["containers"][0]["image"] for pod in node.pods()
    }
    assert_process(node, pod, 0)


def cadvisor_and_web_config(node: Node, pod: Mapping[str, Any]) -> None:
    """The names of cAdvisor are served, by TLS and to whoever knows the password alone."""
    with pytest.raises(GuestError, match="401"):
        node.page(pod)
    page = node.page(pod, user=release.USER)
    named = {
        (s.labels["namespace"], s.labels["pod"], s.labels["container"])
        for s in _of(page, "container_memory_working_set_bytes")
        if s.labels["container"]
    }
    assert named == {
        (*_names(pod), status["name"])
        for pod in node.pods()
        for status in pod["status"]["containerStatuses"]
    }
    assert_process(node, pod, 65534)


@pytest.mark.parametrize(
    "check", [kubelet_and_namespaces, api_and_interfaces, runtime_state, cadvisor_and_web_config]
)
def test_steps(steps: Node, check: Callable[[Node, Mapping[str, Any]], None]) -> None:
    """Each step of the ladder, by its `ci/` values, is ready on a node and shows what it is for."""
    names: Sequence[str] = check.__name__.split("_and_")
    files = [f"{CHART}/ci/{name.replace('_', '-')}-values.yaml" for name in names]
    values = [word for file in files for word in ("--values", file)]
    # The operator's kinds are not there; and the 20 ms of each scan that the first look at all
    # processes may take see few of them in a guest.
    others = "serviceMonitor.enabled=false,extraArgs={--namespaces.sweep-ms=2000}"
    words = ("--install", "--reset-values", "--set", others)
    steps.helm("upgrade", NAME, CHART, "--namespace", NAMESPACE, *words, *values)
    check(steps, steps.rolled_out())


def test_nothing_left_on_the_node(node: Node) -> None:
    """Of the pods that ran as documented the node has neither cgroup, nor file, nor mount."""
    assert node.removed, "test_as_documented runs before"
    assert node.left_of(node.removed) == ""
