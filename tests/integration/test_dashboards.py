"""What dashboards and alerts ask has answers: real containers, exporters and Prometheus.

Pressure of containers and what else only cgroup v2 counts comes from a captured node whose
counters the test moves on; everything of ``docker-1`` is measured on this machine.
"""

import time
from collections.abc import Iterator

import pytest

from tests.integration.support import eventually
from tests.tools.answers import Answers, gaps
from tests.tools.sickbay import DOCKER, KUBERNETES, Sickbay, sickbay

# Panel and letter, by dashboard and host: what the captured node or this machine does not have.
ABSENT = {
    # A capture has no network namespace's counters.
    ("container@kubernetes", "Network"),
    ("container@kubernetes", "Network errors and drops"),
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


def test_alerts_fire(bay: Sickbay) -> None:
    """The alerts fire for containers that are sick, with seconds for minutes."""
    missing: set[tuple[str, str]] = set()

    def all_fire() -> bool:
        missing.clear()
        missing.update(FIRE - bay.firing())
        return not missing

    try:
        eventually(all_fire, "the alerts")
    except pytest.fail.Exception:
        pytest.fail(f"do not fire: {missing}")


def test_every_panel_has_data(bay: Sickbay) -> None:
    """No query of any panel is without an answer, on the hosts that its dashboard is for."""
    count, empty = gaps(Answers(bay.prometheus))
    assert count > 200
    assert {gap for gap in empty if gap[:2] not in ABSENT} == set()


def test_rules_are_healthy(bay: Sickbay) -> None:
    """Prometheus evaluates every rule without an error, and recording rules have series."""
    assert bay.prometheus.rule_errors() == []
    for name in (
        "container:cgexporter_memory_limit:ratio",
        "instance:cgexporter_cpu_usage_seconds:sum_rate5m",
    ):
        assert bay.prometheus.query(name), name
