"""Traffic and its troubles appear once, on the right pod or container, as the kernel counts."""

import json
import os
import re
import secrets
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cgexporter.exporter import Exporter, Settings
from cgexporter.metrics import DEFAULT_COLLECTORS
from cgexporter.publish import Format
from tests.integration.cgroups import Cgroups
from tests.integration.networks import in_network, inside
from tests.integration.processes import output
from tests.integration.runc import Container, Runc
from tests.integration.support import PATIENCE_SECONDS, eventually, program

_SLEEP = "exec sleep 600"


@dataclass(frozen=True, slots=True)
class World:
    """A pod of two containers and a container by itself, with a cable between their networks."""

    pod: Container
    mate: Container
    alone: Container
    pod_uid: str
    pod_ids: tuple[str, str]
    alone_id: str


def links(pid: int) -> Mapping[str, Any]:
    """``ip -s link`` in a network namespace, by interface."""
    found = json.loads(inside(pid, program("ip", "iproute2"), "-json", "-stats", "link"))
    return {link["ifname"]: link["stats64"] for link in found}


def samples(page: str) -> Mapping[str, float]:
    """Each sample by its series."""
    lines = (line.rpartition(" ") for line in page.splitlines() if not line.startswith("#"))
    return {series: float(value) for series, _, value in lines}


@pytest.fixture(scope="module")
def world(runc: Runc) -> World:
    """Start containers, and lay the cable inside their networks: the host's is not touched."""
    ip = program("ip", "iproute2")
    uid = f"{secrets.token_hex(4)}-1111-2222-3333-{secrets.token_hex(6)}"
    ids = [secrets.token_hex(32) for _ in range(3)]
    below = f"/{runc.unique}"
    pod = runc.run(
        "pod", _SLEEP, resources={}, cgroups_path=f"{below}/kubepods/burstable/pod{uid}/{ids[0]}"
    )
    mate = runc.run(
        "mate",
        _SLEEP,
        resources={},
        cgroups_path=f"{below}/kubepods/burstable/pod{uid}/{ids[1]}",
        joins={"network": pod.pid, "ipc": pod.pid},
    )
    alone = runc.run("alone", _SLEEP, resources={}, cgroups_path=f"{below}/{ids[2]}")
    inside(
        pod.pid,
        *(ip, "link", "add", "eth0", "type", "veth"),
        *("peer", "name", "eth0", "netns", str(alone.pid)),
    )
    for pid, own in ((pod.pid, "10.9.9.1"), (alone.pid, "10.9.9.2")):
        for key in ("all", "default"):
            inside(pid, "sh", "-c", f"echo 1 >/proc/sys/net/ipv6/conf/{key}/disable_ipv6")
        inside(pid, ip, "address", "add", f"{own}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            inside(pid, ip, "link", "set", device, "up")
    for pid, other in ((pod.pid, alone.pid), (alone.pid, pod.pid)):
        address = json.loads(inside(other, ip, "-json", "link", "show", "eth0"))[0]["address"]
        peer = "10.9.9.2" if pid == pod.pid else "10.9.9.1"
        inside(pid, ip, "neigh", "add", peer, "lladdr", address, "dev", "eth0", "nud", "permanent")
    return World(pod, mate, alone, uid, (ids[0][:12], ids[1][:12]), ids[2][:12])


def send_datagrams(world: World, count: int, size: int) -> None:
    """Send UDP datagrams from the pod to the container alone, where they are read."""
    done = threading.Event()
    may_send = threading.Semaphore(0)

    def receive() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
            listener.bind(("10.9.9.2", 7000))
            listener.settimeout(PATIENCE_SECONDS)
            may_send.release(20)  # no more than its buffer holds
            for _ in range(count):
                listener.recv(65536)
                may_send.release()
            done.set()

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for _ in range(count):
                assert may_send.acquire(timeout=PATIENCE_SECONDS)
                sender.sendto(bytes(size), ("10.9.9.2", 7000))

    threads = [in_network(world.alone.pid, receive), in_network(world.pod.pid, send)]
    for thread in threads:
        thread.join()
    assert done.is_set()


def series(level: str, name: str, labels: str) -> str:
    """A series of a network's metric."""
    return f"cgexporter_{level}_network_{name}{{{labels}}}"


_COUNTERS = {
    "receive_bytes_total": ("rx", "bytes"),
    "receive_packets_total": ("rx", "packets"),
    "receive_errors_total": ("rx", "errors"),
    "receive_drops_total": ("rx", "dropped"),
    "transmit_bytes_total": ("tx", "bytes"),
    "transmit_packets_total": ("tx", "packets"),
    "transmit_errors_total": ("tx", "errors"),
    "transmit_drops_total": ("tx", "dropped"),
}


def test_traffic_of_a_known_size(world: World) -> None:
    """1,000 datagrams of 958 bytes are 1,000,000 bytes on both ends' right counters."""
    before = samples(output("--once", "--format", "prom", "--collector.transport"))
    send_datagrams(world, 1000, 958)  # with 8 of UDP, 20 of IP and 14 of Ethernet
    ours: Mapping[str, float] = {}

    def still() -> bool:
        nonlocal ours
        first = links(world.pod.pid), links(world.alone.pid)
        ours = samples(output("--once", "--format", "prom", "--collector.transport"))
        return first == (links(world.pod.pid), links(world.alone.pid))

    eventually(still, "a moment without traffic")
    for level, label, pid in (
        ("pod", f'interface="eth0",uid="{world.pod_uid}"', world.pod.pid),
        ("container", f'id="{world.alone_id}",interface="eth0"', world.alone.pid),
    ):
        for name, (way, key) in _COUNTERS.items():
            assert ours[series(level, name, label)] == links(pid)["eth0"][way][key], name
    sent = series("pod", "transmit_bytes_total", f'interface="eth0",uid="{world.pod_uid}"')
    got = series("container", "receive_bytes_total", f'id="{world.alone_id}",interface="eth0"')
    assert ours[sent] - before[sent] == 1_000_000
    assert ours[got] - before[got] == 1_000_000
    read = series("container", "udp_received_datagrams_total", f'id="{world.alone_id}"')
    assert ours[read] - before[read] == 1000


def test_once_for_each_namespace(world: World) -> None:
    """A pod's network is on the pod alone, and interfaces that nobody asked for are nowhere."""
    page = output("--once", "--format", "prom", "--collector.transport")
    for identity in world.pod_ids:
        assert not re.search(rf'container_network_\w+{{.*id="{identity}"', page)
    assert f'pod_network_sockets{{uid="{world.pod_uid}"}}' in page
    ours = [line for line in page.splitlines() if world.pod_uid in line or world.alone_id in line]
    assert not [line for line in ours if 'interface="lo"' in line]


def test_filters(world: World) -> None:
    """Interfaces are chosen by patterns of their whole names."""
    label = f'interface="lo",uid="{world.pod_uid}"'
    lo = series("pod", "receive_bytes_total", label)
    eth0 = lo.replace('"lo"', '"eth0"')
    page = samples(
        output(
            "--once",
            "--format",
            "prom",
            "--collector.transport",
            "--network.interface-include",
            "l.",
        )
    )
    assert lo in page
    assert eth0 not in page
    page = samples(
        output(
            "--once",
            "--format",
            "prom",
            "--collector.transport",
            "--network.interface-exclude",
            "eth.*",
        )
    )
    assert lo in page
    assert eth0 not in page
    page = samples(
        output("--once", "--format", "prom", "--collector.transport", "--no-collector.network")
    )
    assert not [name for name in page if "network_receive" in name]
    assert series("pod", "sockets", f'uid="{world.pod_uid}"') in page


def test_the_host_if_asked(world: World) -> None:
    """The host's own network is published where it is asked for, and only there."""
    del world
    mine = "cgexporter_node_network_sockets"
    assert mine not in samples(output("--once", "--format", "prom", "--collector.transport"))
    assert mine in samples(
        output("--once", "--format", "prom", "--collector.transport", "--network.host")
    )


@pytest.fixture
def lossy(world: World) -> Iterator[str]:
    """Lose some of what the pod sends; how, depends on this kernel."""
    tc, iptables = program("tc", "iproute2"), program("iptables", "iptables")
    netem = (tc, "qdisc", "add", "dev", "eth0", "root", "netem", "loss", "20%")
    enter = ("nsenter", "--target", str(world.pod.pid), "--net")
    if subprocess.run([*enter, *netem], check=False, capture_output=True).returncode == 0:
        yield "netem"
        inside(world.pod.pid, tc, "qdisc", "del", "dev", "eth0", "root")
        return
    # A kernel without sch_netem: the other end throws as much away before TCP sees it.
    loss = ("--match", "statistic", "--mode", "random", "--probability", "0.2", "--jump", "DROP")
    inside(world.alone.pid, iptables, "--append", "INPUT", "--in-interface", "eth0", *loss)
    yield "iptables"
    inside(world.alone.pid, iptables, "--flush", "INPUT")


def _tcp(pid: int) -> Mapping[str, int]:
    """The Tcp counters of a network namespace, read independently."""
    lines = Path(f"/proc/{pid}/net/snmp").read_text().splitlines()
    titles, values = (line.split()[1:] for line in lines if line.startswith("Tcp:"))
    return dict(zip(titles, map(int, values), strict=True))


def test_retransmits(world: World, lossy: str) -> None:
    """What TCP sent again is counted on the pod that had to, as its kernel counts it."""
    name = series("pod", "tcp_retransmitted_segments_total", f'uid="{world.pod_uid}"')
    before = samples(output("--once", "--format", "prom", "--collector.transport"))[name]
    ready = threading.Event()

    def receive() -> None:
        with socket.create_server(("10.9.9.2", 7001)) as listener:
            listener.settimeout(60)
            ready.set()
            connection, _ = listener.accept()
            with connection:
                while connection.recv(65536):
                    pass

    def send() -> None:
        assert ready.wait(30)
        with socket.create_connection(("10.9.9.2", 7001), timeout=60) as connection:
            for _ in range(30):
                connection.sendall(bytes(1000))
                time.sleep(0.01)

    for thread in (in_network(world.alone.pid, receive), in_network(world.pod.pid, send)):
        thread.join()
    ours = 0.0

    def still() -> bool:
        nonlocal ours
        count = _tcp(world.pod.pid)["RetransSegs"]
        ours = samples(output("--once", "--format", "prom", "--collector.transport"))[name]
        return count == _tcp(world.pod.pid)["RetransSegs"]

    eventually(still, "a moment without retransmits")
    assert ours == _tcp(world.pod.pid)["RetransSegs"], lossy
    assert ours > before, lossy


def test_an_open_file_would_keep_the_namespace(world: World) -> None:
    """Why no file below /proc/PID/net is held open: it outlives the container's network."""
    sleeper = subprocess.Popen([program("unshare", "util-linux"), "--net", "sleep", "600"])
    try:
        eventually(
            lambda: (
                os.stat(f"/proc/{sleeper.pid}/net/dev").st_ino != os.stat("/proc/net/dev").st_ino
            ),
            "unshare",
        )
        inside(
            sleeper.pid,
            *("ip", "link", "add", "tail", "type", "veth"),
            *("peer", "name", "tail", "netns", str(world.alone.pid)),
        )
        with open(f"/proc/{sleeper.pid}/net/dev") as held:
            sleeper.kill()
            sleeper.wait()
            time.sleep(0.5)
            assert "tail" in held.read()
            assert "tail" in links(world.alone.pid)
        eventually(lambda: "tail" not in links(world.alone.pid), "the end of the namespace")
    finally:
        sleeper.kill()
        sleeper.wait()


def test_the_exporter_keeps_no_namespace(runc: Runc, world: World) -> None:
    """A container's network ends with the container, while the exporter looks on."""
    short = runc.run("short", _SLEEP, resources={}, cgroups_path=f"/{runc.unique}/short")
    inside(
        short.pid,
        *("ip", "link", "add", "tail", "type", "veth"),
        *("peer", "name", "tail", "netns", str(world.alone.pid)),
    )
    exporter = Exporter(Settings())
    try:
        page = exporter.render(exporter.look(), Format.TEXT)
        assert 'network_receive_bytes_total{id="short",interface="tail"}' in page
        assert runc.call("kill", short.name, "KILL")
        eventually(lambda: "tail" not in links(world.alone.pid), "the end of the namespace")
        assert runc.call("delete", "--force", short.name)
        page = exporter.render(exporter.look(), Format.TEXT)
        assert 'id="short"' not in page
    finally:
        exporter.close()


def test_a_process_that_moves(cgroups: Cgroups, world: World, tmp_path: Path) -> None:
    """When the process that is read joins another network, its old one's samples end at once."""
    go, identity = tmp_path / "go", cgroups.new_id()
    script = (
        "ip link add own0 type veth peer name own1; "
        f"until [ -e {go} ]; do sleep 0.05; done; "
        f"exec nsenter --net=/proc/{world.alone.pid}/ns/net sleep 600"
    )
    mover = subprocess.Popen(
        [program("unshare", "util-linux"), "--mount", "--uts", "--net", "sh", "-c", script]
    )
    exporter = Exporter(Settings(max_open_files=50, collectors=DEFAULT_COLLECTORS | {"transport"}))
    try:
        cgroups.make(identity, {}, mover.pid)
        sample = f'network_receive_bytes_total{{id="{identity[:12]}",interface="own0"}}'
        eventually(
            lambda: sample in exporter.render(exporter.look(), Format.TEXT), "the first interface"
        )
        go.touch()
        theirs = os.stat(f"/proc/{world.alone.pid}/net/dev").st_ino
        eventually(lambda: os.stat(f"/proc/{mover.pid}/net/dev").st_ino == theirs, "nsenter")
        view = exporter.look()
        page = exporter.render(view, Format.TEXT)
        assert 'interface="own0"' not in page
        assert f'network_sockets{{id="{world.alone_id}"}}' in page
        view = exporter.look()
        (moved,) = [c for c in view.containers if c.id == identity[:12]]
        network = view.network_of(moved)
        assert network is not None
        assert world.alone_id in network.owner
        members = {m.name: m for m in view.namespaces.containers}
        assert members[identity[:12]].namespaces["net"].containers == (world.alone_id,)
    finally:
        exporter.close()
        mover.kill()
        mover.wait()
