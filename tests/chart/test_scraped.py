"""Samples keep the names of what they are about, in a Prometheus as an operator sets it up."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.rendered import CHART, of_kind
from tests.integration.prometheus import Prometheus
from tests.integration.support import eventually, program
from tests.tools.hosts import Host, docker, hex_id
from tests.tools.served import served

pytestmark = pytest.mark.timeout(1500)
UID = "11111111_2222_3333_4444_555555555555"


class Operated(Prometheus):
    """A Prometheus with the target labels that the Prometheus operator gives."""

    def __init__(self, home: Path, target: int, endpoint: dict[str, Any]) -> None:
        self._endpoint = endpoint
        super().__init__(program("prometheus", "prometheus"), home, target)

    def configuration(self, target: int) -> str:
        """Labels of the target as from discovery, then the operator's, then the chart's."""
        labels = {
            "__meta_kubernetes_pod_node_name": "node-a",
            "namespace": "monitoring",
            "pod": "lab-cgexporter-x",
            "container": "exporter",
            "service": "lab-cgexporter",
            "endpoint": "metrics",
        }
        relabelings = [
            {
                re.sub(r"[A-Z]", lambda c: f"_{c[0].lower()}", key): value
                for key, value in each.items()
            }
            for each in self._endpoint["relabelings"]
        ]
        job = {
            "job_name": "cgexporter",
            "honor_labels": self._endpoint["honorLabels"],
            "metrics_path": self._endpoint["path"],
            "static_configs": [{"targets": [f"127.0.0.1:{target}"], "labels": labels}],
            "relabel_configs": relabelings,
        }
        interval = {"scrape_interval": "1s", "scrape_timeout": "1s"}
        return yaml.safe_dump({"global": interval, "scrape_configs": [job]})


@pytest.mark.parametrize("kind", ["ServiceMonitor", "PodMonitor"])
def test_labels(tmp_path: Path, kind: str) -> None:
    """A container's series have its pod's name, those of no pod have none, all have the node's."""
    host = Host(tmp_path / "host")
    slices = f"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{UID}.slice"
    host.cgroup(f"{slices}/cri-containerd-{hex_id('app')}.scope")
    host.cgroup(docker("alone"))
    host.log("cart-0", "shop", "app", hex_id("app"), UID.replace("_", "-"))
    spec = of_kind(kind, "--values", CHART / "ci/monitors-values.yaml")["spec"]
    (endpoint,) = spec.get("endpoints") or spec["podMetricsEndpoints"]
    words = ("--path.cgroupfs", host.cgroupfs, "--path.procfs", host.procfs)
    with served(tmp_path / "log", [*words, "--identity.root", host.root]) as server:
        server.eventually(lambda page: 'pod="cart-0"' in page)
        prometheus = Operated(tmp_path, int(server.url.rpartition(":")[2]), endpoint)
        try:
            prometheus.wait_until_ready()
            named = eventually(lambda: prometheus.query('{container="app"}'), "a scrape")
            alone = prometheus.query(f'{{id="{hex_id("alone")[:12]}"}}')
            no_pod = prometheus.query("cgexporter_build_info")
            wrong = prometheus.query('{pod="lab-cgexporter-x",__name__=~"cgexporter.*"}')
        finally:
            prometheus.stop()
    for each in named:
        assert each["metric"]["pod"] == "cart-0"
        assert each["metric"]["namespace"] == "shop"
    assert wrong == []
    assert alone
    assert no_pod
    for each in alone + no_pod:
        assert each["metric"].keys().isdisjoint({"namespace", "pod", "container"})
    for each in named + alone + no_pod:
        assert each["metric"]["node"] == "node-a"
        assert not [label for label in each["metric"] if label.startswith("exported_")]
