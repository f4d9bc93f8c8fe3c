"""What a Prometheus answers to all that the dashboards ask."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.integration.prometheus import Prometheus, Series
from tests.tools import promql
from tests.tools.sickbay import DOCKER, KUBERNETES

FILES = sorted((Path(__file__).resolve().parents[2] / "dashboards").glob("*.json"))
# The hosts that a dashboard is for. What Docker has is no pod's.
HOSTS = {
    "cgexporter-docker": (DOCKER,),
    "cgexporter-qos": (KUBERNETES,),
    "cgexporter-container": (DOCKER, KUBERNETES),
    "cgexporter-exporter": (DOCKER, KUBERNETES),
    "cgexporter-node": (DOCKER, KUBERNETES),
    "cgexporter-pressure": (DOCKER, KUBERNETES),
}


@dataclass(frozen=True, slots=True)
class Answers:
    """Asks with variables as Grafana fills them in: all, on one host.

    Attributes:
        rate: what ``$__rate_interval`` is.
        span: what ``$__range`` is.
    """

    prometheus: Prometheus
    rate: str = "10s"
    span: str = "30s"

    def to(self, expr: str, host: str) -> list[Series]:
        """The answer to one expression."""
        values = {
            "$__rate_interval": self.rate,
            "$__range": self.span,
            "$__interval": self.rate,
            "$instance": host,
        }
        return self.prometheus.query(promql.filled(expr, values))


def dashboards() -> Iterator[dict[str, Any]]:
    """All of them."""
    for file in FILES:
        yield json.loads(file.read_text())


def gaps(answers: Answers) -> tuple[int, set[tuple[str, str, str]]]:
    """How many queries there are, and those without data: dashboard and host, panel, letter."""
    count, empty = 0, set()
    for dashboard in dashboards():
        uid = dashboard["uid"]
        for host in HOSTS[uid]:
            for panel in dashboard["panels"]:
                for target in panel.get("targets", []):
                    count += 1
                    if not answers.to(target["expr"], host):
                        where = f"{uid.removeprefix('cgexporter-')}@{host.partition('-')[0]}"
                        empty.add((where, panel["title"], target["refId"]))
    return count, empty
