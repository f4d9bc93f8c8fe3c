"""Rules in the manner of kubernetes-mixin, over cAdvisor's names, in a real Prometheus."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.integration.processes import Server
from tests.integration.prometheus import Prometheus, Series
from tests.integration.runc import Runc, block_device
from tests.integration.support import eventually, program

POD = "kubepods/burstable/pod0a1b2c3d-1111-2222-3333-444455556666"
APP = "ca" * 32
QUOTA_CORES = 0.2
LIMIT_BYTES = 64 << 20

# kubernetes-mixin looks at 5 minutes, of scrapes each 30 seconds; here all goes 30 times faster.
JOB = 'job="cadvisor", metrics_path="/metrics/cadvisor"'
# Node of a pod, as kube-state-metrics tells it.
JOIN = (
    "* on (cluster, namespace, pod) group_left(node) topk by (cluster, namespace, pod) "
    '(1, max by (cluster, namespace, pod, node) (kube_pod_info{node!=""}))'
)
DEVICES = 'device=~"(/dev/)?(mmcblk.p.+|nvme.+|rbd.+|sd.+|vd.+|xvd.+|dm-.+|dasd.+)"'
THROTTLED = "node_namespace_pod_container:container_cpu_usage_seconds_total:sum_rate5m"
WITHOUT = "without (id, metrics_path, name, image, endpoint, job, node)"
RULES = {
    "groups": [
        {
            "name": "mixin",
            "interval": "1s",
            "rules": [
                {
                    "record": "kube_pod_info",
                    "expr": "vector(1)",
                    "labels": {"namespace": "shop", "pod": "cart-0", "node": "n1"},
                },
                {
                    "record": THROTTLED,
                    "expr": "sum by (cluster, namespace, pod, container) ("
                    f'rate(container_cpu_usage_seconds_total{{{JOB}, image!=""}}[10s])) {JOIN}',
                },
                *(
                    {
                        "record": f"node_namespace_pod_container:container_memory_{name}",
                        "expr": f'container_memory_{name}{{{JOB}, image!=""}} {JOIN}',
                    }
                    for name in ("working_set_bytes", "rss", "cache", "swap")
                ),
                {
                    "alert": "CPUThrottlingHigh",
                    "expr": "sum(increase(container_cpu_cfs_throttled_periods_total"
                    f'{{container!="", {JOB}}}[10s])) {WITHOUT} / '
                    f'sum(increase(container_cpu_cfs_periods_total{{container!="", {JOB}}}[10s])) '
                    f"{WITHOUT} > (25 / 100)",
                },
            ],
        }
    ]
}
# Names come from other sources than the kernel's files: here the test is the source.
NAMED = f"""
import sys
from cgexporter import cadvisor, cli
from cgexporter.cadvisor import Names

known = cadvisor.names_of

def names_of(subject):
    path = subject.path if hasattr(subject, "path") else subject.cgroup.path
    if path == "/{POD}/{APP}":
        return Names("app", "registry.example/app:1", "{APP}", "shop", "cart-0")
    return Names("", "", "", "shop", "cart-0") if path == "/{POD}" else known(subject)

cadvisor.names_of = names_of
sys.exit(cli.main(sys.argv[1:]))
"""


class MixinServer(Server):
    """A server at the kubelet's path, with cAdvisor's names and those of the pod."""

    def __init__(self, log: Path) -> None:
        self._log = log
        flags = ("--metrics.names=cadvisor", "--web.telemetry-path=/metrics/cadvisor")
        with log.open("w") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-c", NAMED, "--web.listen-address", "127.0.0.1:0", *flags],
                stderr=stderr,
            )
        self.port = 0


class MixinPrometheus(Prometheus):
    """A Prometheus with the rules, that scrapes as the job of a kubelet."""

    def __init__(self, prometheus: str, directory: Path, target: int) -> None:
        (directory / "rules.yml").write_text(json.dumps(RULES))
        super().__init__(prometheus, directory, target)

    def configuration(self, target: int) -> str:
        """Its prometheus.yml."""
        return CONFIG.replace("TARGET", str(target))


class Lab(NamedTuple):
    """A container that works, the server and a Prometheus that scrapes it."""

    prometheus: Prometheus
    server: Server
    has_disk: bool

    def one(self, expression: str) -> Series:
        """The only element of a result, once there is one."""
        found = eventually(lambda: self.prometheus.query(expression), expression)
        assert len(found) == 1, found
        return found[0]


@pytest.fixture(scope="module")
def lab(runc: Runc, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A container of a pod with a CPU limit that it hits, which reads a file again and again."""
    directory = tmp_path_factory.mktemp("mixin")
    data = directory / "data"
    data.mkdir()
    (data / "file").write_bytes(bytes(1 << 20))
    runc.run(
        "app",
        "(while :; do dd if=/data/file of=/dev/null bs=64k iflag=direct 2>/dev/null; sleep 0.1;"
        " done) & while :; do :; done",
        resources={
            "cpu": {"quota": int(QUOTA_CORES * 100_000), "period": 100_000},
            "memory": {"limit": LIMIT_BYTES},
        },
        cgroups_path=f"/{POD}/{APP}",
        binds={"/data": data},
    )
    server = MixinServer(directory / "server.log")
    prometheus = None
    try:
        server.wait_until_listening()
        prometheus = MixinPrometheus(program("prometheus", "prometheus"), directory, server.port)
        prometheus.wait_until_ready()
        yield Lab(prometheus, server, block_device(data) is not None)
        server.assert_stops()
    finally:
        if prometheus is not None:
            prometheus.stop()
        server.kill()


CONFIG = """
global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}
rule_files: [rules.yml]
scrape_configs:
- job_name: cadvisor
  metrics_path: /metrics/cadvisor
  relabel_configs:
  - source_labels: [__metrics_path__]
    target_label: metrics_path
  static_configs: [{targets: ['127.0.0.1:TARGET']}]
"""


def test_cpu(lab: Lab) -> None:
    """The recording rule gives the container's CPU use, not also its pod's."""
    rule = f'{THROTTLED}{{namespace="shop"}}'
    eventually(
        lambda: 0.7 * QUOTA_CORES < float(lab.one(rule)["value"][1]) < 1.3 * QUOTA_CORES, rule
    )
    labels = lab.one(rule)["metric"]
    assert labels["container"] == "app"
    assert (labels["pod"], labels["node"]) == ("cart-0", "n1")


def test_throttling_alert(lab: Lab) -> None:
    """CPUThrottlingHigh fires for the container that hits its limit, and for it alone."""
    alert = lab.one('ALERTS{alertname="CPUThrottlingHigh", namespace="shop"}')
    assert alert["metric"]["container"] == "app"
    assert alert["metric"]["alertstate"] == "firing"


@pytest.mark.parametrize("name", ["working_set_bytes", "rss", "cache"])
def test_memory(lab: Lab, name: str) -> None:
    """The memory rules give the container's memory once."""
    rule = f'node_namespace_pod_container:container_memory_{name}{{namespace="shop"}}'
    series = lab.one(rule)
    assert series["metric"]["container"] == "app"
    assert 0 <= float(series["value"][1]) < LIMIT_BYTES
    if name == "working_set_bytes":
        assert float(series["value"][1]) > 100_000


def test_memory_utilisation_panel(lab: Lab) -> None:
    """Use by limit, as a panel divides them, is between 0 and 1."""
    series = lab.one(
        f'sum(container_memory_working_set_bytes{{{JOB}, container!=""}}) by (pod)'
        f' / sum(container_spec_memory_limit_bytes{{{JOB}, container!=""}}) by (pod)'
    )
    assert 0 < float(series["value"][1]) < 1


def test_fs_panel(lab: Lab) -> None:
    """The storage panel sums the devices of the pod's containers."""
    if not lab.has_disk:
        pytest.skip("the temporary directory is on no block device")
    select = f'{JOB}, container!="", {DEVICES}, namespace="shop"'
    expression = f"sum(rate(container_fs_reads_bytes_total{{{select}}}[10s])) by (pod)"
    eventually(
        lambda: float(lab.one(expression)["value"][1]) > 100_000, f"{expression} above 100 kB/s"
    )


def test_machine(lab: Lab) -> None:
    """Panels divide by the machine's cores and memory."""
    assert float(lab.one(f"machine_cpu_cores{{{JOB}}}")["value"][1]) >= 1
    assert float(lab.one(f"machine_memory_bytes{{{JOB}}}")["value"][1]) > 1 << 28


def test_the_whole_page_is_taken(lab: Lab) -> None:
    """Prometheus finds nothing wrong with the page."""
    eventually(lambda: lab.prometheus.target()["health"] == "up", "a good scrape")
    assert lab.prometheus.target()["lastError"] == ""
