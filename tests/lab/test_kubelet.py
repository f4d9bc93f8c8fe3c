"""A node with a real kubelet: its pods without a privilege, and its own numbers beside ours."""

import contextlib
import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration.seen import CONTAINER, Sample, samples
from tests.lab import exporter, privileges
from tests.lab.conftest import Guests
from tests.lab.machine import Guest
from tests.lab.pods import KUBELET, PODS, Pod, PodContainer, told_of
from tests.lab.record import record, shown_here, shown_there

pytestmark = pytest.mark.guest("kubelet")

_CADVISOR = ("--metrics.names=cadvisor", "--web.telemetry-path=/metrics/cadvisor")
_FREEZE = "/sys/fs/cgroup/kubepods.slice/cgroup.freeze"
_NODE = "lab"
_ATTEMPTS = 5
# Of docs/CADVISOR.md: what differs on purpose in families that both serve.
DIFFERENT: Mapping[str, str] = {
    "container_last_seen": "the time of the scrape here",
    "container_start_time_seconds": "of the cgroup's directory here, of the runtime there",
    "container_memory_kernel_usage": "0 there on v2",
    "container_memory_failcnt_total": "0 there on v2",
    "container_oom_events_total": "from the kernel's log there, gone with the container",
    "cadvisor_version_info": "ours and theirs",
}


@dataclass(frozen=True, slots=True)
class Running:
    """A container as the kubelet tells of it."""

    pod: Pod
    container: PodContainer
    id: str
    pod_uid: str


@pytest.fixture(scope="module")
def node(guests: Guests) -> Guest:
    """A node whose pods run."""
    return guests.get("kubelet")


@contextlib.contextmanager
def still(node: Guest) -> Iterator[None]:
    """Let the kubelet, which takes a third of a CPU for itself, stand still for a `with` block."""
    node.run("systemctl freeze kubelet")
    try:
        yield
    finally:
        node.run("systemctl thaw kubelet")


@pytest.fixture(scope="module")
def running(node: Guest) -> list[Running]:
    """Its containers."""
    pods = {f"{pod.name}-{_NODE}": pod for pod in PODS}
    found = []
    for item in told_of(node):
        pod = pods[item["metadata"]["name"]]
        containers = {each.name: each for each in pod.containers}
        for status in item["status"]["containerStatuses"]:
            identity = status["containerID"].removeprefix("containerd://")
            container = containers[status["name"]]
            found.append(Running(pod, container, identity, item["metadata"]["uid"]))
    assert len(found) == sum(len(pod.containers) for pod in PODS)
    return found


@pytest.fixture(scope="module")
def unprivileged(node: Guest) -> list[Sample]:
    """The page of a service that runs as uid 65534 without a capability."""
    properties = (*exporter.NOBODY, *exporter.NO_CAPABILITY)
    with exporter.served(node, properties=properties):
        pid = node.run("systemctl show -P MainPID cgexporter")
        status = node.run(f"cat /proc/{pid}/status")
        assert re.search(r"^Uid:\s+65534\s", status, re.MULTILINE)
        assert re.search(r"^CapEff:\s+0+$", status, re.MULTILINE)
        return exporter.named_page(node)


def _of(lines: list[Sample], name: str, **labels: str) -> list[Sample]:
    return [s for s in lines if s.name == name and labels.items() <= s.labels.items()]


def test_pods_without_privilege(unprivileged: list[Sample], running: list[Running]) -> None:
    """Each container is there once, with all its names, QoS class and pod; no sandbox is."""
    infos = _of(unprivileged, f"{CONTAINER}info")
    assert len(infos) == len(running)
    for each in running:
        (info,) = _of(infos, f"{CONTAINER}info", container_id=f"containerd://{each.id}")
        assert (
            info.labels.items()
            >= {
                "namespace": "default",
                "pod": f"{each.pod.name}-{_NODE}",
                "container": each.container.name,
                "qos_class": each.pod.qos,
                "pod_uid": each.pod_uid,
                "runtime": "containerd",
                "driver": "systemd",
            }.items()
        )
    pods = _of(unprivileged, "cgexporter_pod_info")
    assert {s.labels["pod"] for s in pods} == {f"{pod.name}-{_NODE}" for pod in PODS}
    assert len(pods) == len(PODS)


def test_limits_of_pods(unprivileged: list[Sample], running: list[Running]) -> None:
    """Limits of containers are what their manifests ask for, and pods' are the sums."""
    for each in running:
        labels = {"pod": f"{each.pod.name}-{_NODE}", "container": each.container.name}
        (cpu,) = _of(unprivileged, f"{CONTAINER}cpu_limit_cores", **labels)
        (memory,) = _of(unprivileged, f"{CONTAINER}memory_max_bytes", **labels)
        assert cpu.value == each.container.cpu_limit
        assert memory.value == each.container.memory_limit
    for pod in PODS:
        (cpu,) = _of(unprivileged, "cgexporter_pod_cpu_limit_cores", pod=f"{pod.name}-{_NODE}")
        (memory,) = _of(unprivileged, "cgexporter_pod_memory_max_bytes", pod=f"{pod.name}-{_NODE}")
        assert cpu.value == sum(each.cpu_limit for each in pod.containers)
        assert memory.value == sum(each.memory_limit for each in pod.containers)


def test_host_network_without_privilege(unprivileged: list[Sample]) -> None:
    """The pod on the host's network is told from those that have their own."""
    shared = _of(unprivileged, f"{CONTAINER}namespace_shared", kind="net")
    on_host = {s.labels["pod"] for s in shared if s.labels["with"] == "host"}
    assert on_host == {f"onhost-{_NODE}"}
    counted = {
        s.labels["pod"] for s in _of(unprivileged, "cgexporter_pod_network_receive_bytes_total")
    }
    assert counted == {f"{pod.name}-{_NODE}" for pod in PODS if pod.name != "onhost"}


def test_oom_kills(unprivileged: list[Sample]) -> None:
    """OOM kills in a pod are counted on it."""
    (kills,) = _of(unprivileged, "cgexporter_pod_memory_events_oom_kill_total", pod="killed-lab")
    assert kills.value > 0


def test_recording_elsewhere(node: Guest, running: list[Running], tmp_path: Path) -> None:
    """A recording shows here, to the byte, what it shows there: every container and its pod."""
    recording = record(node, "kubelet", tmp_path)
    here = shown_here(recording)
    with still(node):
        assert here == shown_there(node, recording)
    seen = json.loads(here)["containers"]
    assert sorted((each["container_id"], each["pod_uid"]) for each in seen) == sorted(
        (each.id, each.pod_uid) for each in running
    )


def test_what_each_privilege_adds(
    request: pytest.FixtureRequest, node: Guest, repository: Path
) -> None:
    """docs/PRIVILEGES.md is what each privilege shows; none hides a number of a cgroup."""
    with still(node):
        privileges.check(request, node, "kubelet", repository)


# -- beside the kubelet's own numbers --------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pages:
    """The kubelet's page, of one moment, between two of ours; its pods were frozen meanwhile."""

    theirs: str
    before: list[Sample]
    after: list[Sample]
    resource: list[Sample]
    own: list[Sample]
    summary: Any


Key = tuple[str, frozenset[tuple[str, str]]]


def _table(lines: list[Sample]) -> dict[Key, float]:
    found = {}
    for name, labels, value in lines:
        key = (name, frozenset(labels.items()))
        assert key not in found, "no series appears twice"
        found[key] = value
    return found


@pytest.fixture(scope="module")
def pages(node: Guest) -> Pages:
    """Scrape both while no pod's counter moves: the kubelet looks only each 10 to 15 s."""
    (address,) = (
        item["status"]["podIP"]
        for item in told_of(node)
        if item["metadata"]["name"] == f"besteffort-{_NODE}"
    )
    node.run(f"curl -sS -m 20 'http://{address}:8080/?[1-20]'")
    with exporter.served(node, *_CADVISOR):
        exporter.page(node, "/metrics/cadvisor")
        before = samples(exporter.page(node, "/metrics/cadvisor"))
        frozen = f"grep -qx 'frozen 1' {Path(_FREEZE).parent}/cgroup.events"
        node.run(f"echo 1 >{_FREEZE}; for _ in $(seq 100); do {frozen} && exit; sleep 0.2; done")
        try:
            for _ in range(_ATTEMPTS):
                first = samples(exporter.page(node, "/metrics/cadvisor"))
                theirs = _collected_after(node, node.json("date +%s") + 2)
                resource = samples(node.run(f"curl -sS {KUBELET}/metrics/resource"))
                summary = node.json(f"curl -sS {KUBELET}/stats/summary")
                own = samples(exporter.once(node, "--format", "prom"))
                after = samples(exporter.page(node, "/metrics/cadvisor"))
                if _of_pods(first) == _of_pods(after):
                    break
        finally:
            node.run(f"echo 0 >{_FREEZE}")
    return Pages(theirs, before, after, resource, own, summary)


def _of_pods(lines: list[Sample]) -> dict[Key, float]:
    """What stands still with frozen pods, unless the kernel moves their page cache for others."""
    return {key: value for key, value in _table(lines).items() if _is_frozen(*key)}


def _is_frozen(name: str, labels: frozenset[tuple[str, str]]) -> bool:
    """Whether a row stands still with its pod; networks' neighbours send to frozen pods too."""
    is_pods = dict(labels).get("id", "").startswith("/kubepods")
    return is_pods and name not in DIFFERENT and not name.startswith("container_network_")


def _collected_after(node: Guest, second: int) -> str:
    """The kubelet's page, once it has looked at all pods after a moment."""
    deadline = time.monotonic() + 120
    while True:
        text = node.run(f"curl -sS {KUBELET}/metrics/cadvisor")
        times = [
            int(line.rpartition(" ")[2])
            for line in text.splitlines()
            if 'id="/kubepods' in line and re.search(r"\} \S+ \d{13}$", line)
        ]
        if times and min(times) > second * 1000:
            return text
        assert time.monotonic() < deadline, "the kubelet does not look at its pods"
        time.sleep(4)


def _left_out(name: str, labels: Mapping[str, str], value: float) -> bool:
    """Whether a row is missing on purpose: docs/CADVISOR.md says why."""
    on_host = {f"{pod.name}-{_NODE}" for pod in PODS if pod.spec.get("hostNetwork")}
    if name.startswith("container_network_"):  # the host's, which is no pod's
        return labels["id"] == "/" or labels["pod"] in on_host
    # What the kernel does not count for the root, and file systems, which are no devices.
    return labels["id"] == "/" and value == 0


def test_the_kubelets_cadvisor(pages: Pages) -> None:
    """Every row of the kubelet's that we serve is there, labels included, with its value.

    Of pods, which stood still, values are equal. Of what went on counters lie between the two of
    ours: what is no pod, and networks, whose neighbours send to frozen pods too.
    """
    theirs = _table(samples(pages.theirs))
    before, after = _table(pages.before), _table(pages.after)
    served = {name for name, _ in after}
    missing: list[object] = []
    unequal: list[object] = []
    equal = 0
    for (name, labels), value in theirs.items():
        path = dict(labels).get("id")
        if path is None or name not in served:
            continue
        mine = after.get((name, labels))
        if mine is None and _left_out(name, dict(labels), value):
            continue
        if mine is None:
            missing.append((name, sorted(labels), value))
        elif name in DIFFERENT:
            continue
        elif _is_frozen(name, labels):
            if mine == value:
                equal += 1
            else:
                unequal.append((name, sorted(labels), value, mine))
        elif name.endswith("_total"):
            first = before.get((name, labels), 0)
            if not first <= value <= mine:
                unequal.append((name, sorted(labels), value, (first, mine)))
    print(json.dumps({"equal": equal, "missing": missing, "unequal": unequal}, indent=1))
    assert not missing
    assert not unequal
    assert equal > 500


# The kubelet's /metrics/resource, which autoscalers and `kubectl top` read → ours.
RESOURCE: Mapping[str, str] = {
    "container_cpu_usage_seconds_total": "cgexporter_container_cpu_usage_seconds_total",
    "container_memory_working_set_bytes": "cgexporter_container_memory_working_set_bytes",
    "pod_cpu_usage_seconds_total": "cgexporter_pod_cpu_usage_seconds_total",
    "pod_memory_working_set_bytes": "cgexporter_pod_memory_working_set_bytes",
}


def test_the_kubelets_resource(pages: Pages) -> None:
    """What `kubectl top` shows of pods and containers is what we say, under the same names."""
    compared = 0
    for name, labels, value in pages.resource:
        if name in RESOURCE:
            (mine,) = _of(pages.own, RESOURCE[name], **labels)
            assert mine.value == value, (name, labels)
            compared += 1
    containers = sum(len(pod.containers) for pod in PODS)
    assert compared == 2 * (containers + len(PODS))


def test_the_kubelets_network(pages: Pages) -> None:
    """Network bytes of pods are those of the kubelet's summary."""
    theirs = {pod["podRef"]["name"]: pod.get("network", {}) for pod in pages.summary["pods"]}
    ours = _of(pages.own, "cgexporter_pod_network_receive_bytes_total", interface="eth0")
    assert len(ours) == len(PODS) - 1
    for sample in ours:
        (interface,) = (
            each for each in theirs[sample.labels["pod"]]["interfaces"] if each["name"] == "eth0"
        )
        # The bridge sends to each of its ports now and then, frozen pod or not.
        assert 0 < interface["rxBytes"] <= sample.value <= interface["rxBytes"] + 2000
