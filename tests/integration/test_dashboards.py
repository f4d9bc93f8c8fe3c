"""What dashboards and alerts ask has answers: real containers, exporters and Prometheus.

Pressure of containers and what else only cgroup v2 counts comes from a captured node whose
counters the test moves on; everything of ``docker-1`` is measured on this machine.
"""

import re
import time
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet

import pytest

from tests.integration.support import eventually
from tests.tools.answers import HOSTS, Answers, dashboards, gaps
from tests.tools.sickbay import DOCKER, KUBERNETES, Sickbay, sickbay

# Queries, by letter, for which a host has nothing to answer.
V1_ONLY, V2_ONLY, NO_PODS = "counted on v1 only", "counted on v2 only", "pods and manifests"
CAPTURE, WELL = "a capture has no processes to look into", "nothing went wrong"
ABSENT = {
    ("container@docker", "At the memory limit"): ("AB", V2_ONLY),
    ("container@docker", "CPU"): ("C", NO_PODS),
    ("container@docker", "Memory"): ("D", NO_PODS),
    ("container@docker", "Network"): ("AC", NO_PODS),
    ("container@docker", "Network errors and drops"): ("ACEG", NO_PODS),
    ("container@kubernetes", "Network"): ("ABCD", CAPTURE),
    ("container@kubernetes", "Network errors and drops"): ("ABCDEFGH", CAPTURE),
    ("docker@docker", "At the memory limit"): ("AB", V2_ONLY),
    ("exporter@docker", "Reading"): ("B", WELL),
    ("exporter@docker", "Watches"): ("B", WELL),
    ("exporter@kubernetes", "Reading"): ("B", WELL),
    ("exporter@kubernetes", "Watches"): ("B", WELL),
    ("node@docker", "OOM kills"): ("C", NO_PODS),
    ("node@kubernetes", "OOM kills"): ("B", WELL),
    ("node@kubernetes", "Kernel namespaces"): ("A", CAPTURE),
    ("qos@kubernetes", "Tiers: share of CPU when it is scarce"): ("B", V1_ONLY),
}
# Alerts that must fire: for real containers here, and for the captured node.
FIRE = {
    *(
        (name, DOCKER)
        for name in (
            "ContainerCPUThrottlingHigh",
            "ContainerCPUThrottlingSevere",
            "ContainerCPUNearLimit",
            "ContainerMemoryNearLimit",
            "ContainerMemoryPressureHigh",
            "ContainerIOPressureHigh",
            "ContainerOOMKilled",
            "OOMKillLoop",
            "ContainerPidsNearLimit",
            "ContainerPidsLimitHit",
        )
    ),
    *(
        (name, KUBERNETES)
        for name in (
            "ContainerCPUThrottlingHigh",
            "ContainerCPUPressureHigh",
            "ContainerMemoryNearLimit",
            "ContainerMemoryPressureHigh",
            "ContainerMemoryPressureCritical",
            "ContainerMemoryHighReclaim",
            "ContainerPageCacheThrashing",
            "ContainerIOPressureHigh",
            "ContainerOOMKilled",
            "NodeMemoryPressureHigh",
        )
    ),
}


@pytest.fixture(scope="module")
def bay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sickbay]:
    """Sick containers, watched for half a minute."""
    with sickbay(tmp_path_factory.mktemp("bay"), fast=True) as bay:
        eventually(lambda: len(bay.prometheus.query("up == 1")) == 2, "both exporters")
        time.sleep(20)
        yield bay


def eventually_none(lacking: Callable[[], AbstractSet[object]], what: str) -> None:
    """Ask again and again until nothing is lacking; the failure says what is."""
    last: AbstractSet[object] = frozenset()

    def complete() -> bool:
        nonlocal last
        last = lacking()
        return not last

    try:
        eventually(complete, what)
    except pytest.fail.Exception:
        pytest.fail(f"{what}: {last}")


def test_alerts_fire(bay: Sickbay) -> None:
    """The alerts fire for containers that are sick, with seconds for minutes."""
    eventually_none(lambda: FIRE - bay.firing(), "do not fire")


def test_a_kill_is_told_once(bay: Sickbay) -> None:
    """A kill in a container that lives on is not told of its cgroup and its pod as well."""
    for alert, what in (("CgroupOOMKilled", "cgroup"), ("PodOOMKilled", "pod")):
        found = bay.prometheus.query(f'ALERTS{{alertname="{alert}",alertstate="firing"}}')
        assert not {each["metric"].get(what) for each in found} & {
            "/docker",
            "burst-786f948c54-fpn8t",
        }


def test_every_panel_has_data(bay: Sickbay) -> None:
    """No query of any panel is without an answer, on the hosts that its dashboard is for."""
    known = {(*where, letter) for where, (letters, _) in ABSENT.items() for letter in letters}

    def unanswered() -> set[tuple[str, str, str]]:
        count, empty = gaps(Answers(bay.prometheus))
        assert count > 200
        return empty - known

    # Of what happens now and then, a window may have nothing, the next has something.
    eventually_none(unanswered, "no data")


def test_docker_dashboard_is_full(bay: Sickbay) -> None:
    """On a host without Kubernetes, each panel of its own dashboard shows something."""
    answers = Answers(bay.prometheus)
    (docker,) = (each for each in dashboards() if each["uid"] == "cgexporter-docker")
    panels = [panel for panel in docker["panels"] if panel["type"] != "row"]
    assert len(panels) > 15
    for panel in panels:
        answered = [answers.to(target["expr"], DOCKER) for target in panel["targets"]]
        assert any(answered), panel["title"]


def test_variables_work_with_and_without_kubernetes(bay: Sickbay) -> None:
    """Each variable's series are there on both hosts, containers' names and IDs too."""
    answers = Answers(bay.prometheus)
    for dashboard in dashboards():
        for host in HOSTS[dashboard["uid"]]:
            for variable in dashboard["templating"]["list"]:
                if variable["type"] == "query":
                    _, inner, label = re.split(
                        r"^label_values\(|, (?=\w+\)$)", variable["query"]["query"]
                    )
                    found = answers.to(inner, host)
                    assert found, (dashboard["uid"], variable["name"])
                    named = any(label.rstrip(")") in each["metric"] for each in found)
                    assert named or (host == DOCKER and variable["name"] in ("namespace", "pod"))


def test_rules_are_healthy(bay: Sickbay) -> None:
    """Prometheus evaluates every rule without an error, and recording rules have series."""
    assert bay.prometheus.rule_errors() == []
    for name in (
        "container:cgexporter_memory_limit:ratio",
        "instance:cgexporter_cpu_usage_seconds:sum_rate5m",
    ):
        assert bay.prometheus.query(name), name
