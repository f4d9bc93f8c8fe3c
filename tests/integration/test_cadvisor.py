"""Rules in the manner of kubernetes-mixin, over cAdvisor's names, in a real Prometheus."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.integration.networks import in_network, inside
from tests.integration.processes import Server
from tests.integration.prometheus import Prometheus, Series
from tests.integration.runc import Runc, Setting, block_device
from tests.integration.support import eventually, program

UID = "0a1b2c3d-1111-2222-3333-444455556666"
POD = f"kubepods/burstable/pod{UID}"
APP = "ca" * 32
QUOTA_CORES = 0.2
LIMIT_BYTES = 64 << 20
PACKETS, PACKET_BYTES = 50, 1000  # a second, and of each

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


class MixinServer(Server):
    """A server at the kubelet's path, with cAdvisor's names and those of the pod.

    runc by hand leaves no names: the test leaves what the kubelet and containerd leave.
    """

    def __init__(self, log: Path) -> None:
        root = log.parent / "root"
        logs = root / "var/log/containers"
        logs.mkdir(parents=True)
        target = f"/var/log/pods/shop_cart-0_{UID}/app/0.log"
        (logs / f"cart-0_shop_app-{APP}.log").symlink_to(target)
        bundle = root / f"run/containerd/io.containerd.runtime.v2.task/k8s.io/{APP}"
        bundle.mkdir(parents=True)
        image = {"io.kubernetes.cri.image-name": "registry.example/app:1"}
        (bundle / "config.json").write_text(json.dumps({"annotations": image}))
        flags = ("--metrics.names=cadvisor", "--web.telemetry-path=/metrics/cadvisor")
        super().__init__(log, *flags, f"--identity.root={root}")


class MixinPrometheus(Prometheus):
    """A Prometheus with the rules, that scrapes as the job of a kubelet."""

    def __init__(self, prometheus: str, directory: Path, target: int) -> None:
        (directory / "rules.yml").write_text(json.dumps(RULES))
        super().__init__(prometheus, directory, target)

    def configuration(self, target: int) -> str:
        """Its prometheus.yml."""
        return CONFIG.replace("TARGET", str(target))


def traffic(app: int, peer: int, stop: threading.Event) -> list[threading.Thread]:
    """Two networks send to each other, by processes in them, until they are to stop.

    Each sends PACKETS a second of PACKET_BYTES by eth0. As many go by eth1 to the peer and come by
    eth2 to the pod, and are dropped: they are longer than the other end's MTU.
    """
    ip = program("ip", "iproute2")
    for number in range(3):
        device = f"eth{number}"
        inside(
            app,
            *(ip, "link", "add", device, "type", "veth"),
            *("peer", "name", device, "netns", str(peer)),
        )
        for pid, own in ((app, 1), (peer, 2)):
            key = f"/proc/sys/net/ipv6/conf/{device}/disable_ipv6"
            inside(pid, "sh", "-c", f"echo 1 >{key}")
            inside(pid, ip, "address", "add", f"10.9.{number}.{own}/24", "dev", device)
            inside(pid, ip, "link", "set", device, "up")
    inside(peer, ip, "link", "set", "eth1", "mtu", "500")
    inside(app, ip, "link", "set", "eth2", "mtu", "500")
    # With 8 bytes of UDP, 20 of IP and 14 of Ethernet.
    content = bytes(PACKET_BYTES - 42)

    def send(*to: str) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.bind(("", 7000))
            due = time.monotonic()
            while not stop.is_set():
                for address in to:
                    with contextlib.suppress(OSError):  # its queue is full
                        sender.sendto(content, (address, 7000))
                due += 1 / PACKETS
                stop.wait(max(0.0, due - time.monotonic()))

    return [
        in_network(app, lambda: send("10.9.0.2", "10.9.1.2")),
        in_network(peer, lambda: send("10.9.0.1", "10.9.2.1")),
    ]


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
    limits: dict[str, Setting] = {
        "cpu": {"quota": int(QUOTA_CORES * 100_000), "period": 100_000},
        "memory": {"limit": LIMIT_BYTES},
    }
    if disk := block_device(data):
        # On v1 nothing is counted of a disk until there is a limit: block/blk-throttle.h.
        far = {"major": disk[0], "minor": disk[1], "rate": 1 << 40}
        limits["blockIO"] = {"throttleReadBpsDevice": [far]}
    app = runc.run(
        "app",
        "(while :; do dd if=/data/file of=/dev/null bs=64k iflag=direct 2>/dev/null; sleep 0.1;"
        " done) & while :; do :; done",
        resources=limits,
        cgroups_path=f"/{POD}/{APP}",
        binds={"/data": data},
    )
    peer = runc.run("peer", "exec sleep 600", resources={}, cgroups_path=f"/{runc.unique}-peer")
    stop = threading.Event()
    senders = traffic(app.pid, peer.pid, stop)
    server = MixinServer(directory / "server.log")
    prometheus = None
    try:
        server.wait_until_listening()
        prometheus = MixinPrometheus(program("prometheus", "prometheus"), directory, server.port)
        prometheus.wait_until_ready()
        yield Lab(prometheus, server, disk is not None)
        server.assert_stops()
    finally:
        if prometheus is not None:
            prometheus.stop()
        server.kill()
        stop.set()
        for sender in senders:
            sender.join()


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


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bytes", PACKETS * PACKET_BYTES),
        ("packets", PACKETS),
        ("packets_dropped", PACKETS),
    ],
)
@pytest.mark.parametrize("way", ["receive", "transmit"])
def test_network_panels(lab: Lab, way: str, name: str, expected: float) -> None:
    """Bandwidth, packets and drops by pod are those of its network, each way."""
    select = f'{JOB}, namespace="shop"'
    expression = f"sum(rate(container_network_{way}_{name}_total{{{select}}}[10s])) by (pod)"

    def right() -> bool:
        series = lab.one(expression)
        assert series["metric"] == {"pod": "cart-0"}
        return 0.8 * expected < float(series["value"][1]) < 1.2 * expected

    eventually(right, f"{expression} near {expected}")


def test_machine(lab: Lab) -> None:
    """Panels divide by the machine's cores and memory."""
    assert float(lab.one(f"machine_cpu_cores{{{JOB}}}")["value"][1]) >= 1
    assert float(lab.one(f"machine_memory_bytes{{{JOB}}}")["value"][1]) > 1 << 28


def test_the_whole_page_is_taken(lab: Lab) -> None:
    """Prometheus finds nothing wrong with the page."""
    eventually(lambda: lab.prometheus.target()["health"] == "up", "a good scrape")
    assert lab.prometheus.target()["lastError"] == ""
