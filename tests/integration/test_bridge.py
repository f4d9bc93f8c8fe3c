"""Where a container's interface ends: the veth and bridge that Docker made for it."""

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.engines import Engine, docker
from tests.integration.processes import output
from tests.integration.support import eventually, need_root, program

_UNPRIVILEGED = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all")


@dataclass(frozen=True, slots=True)
class World:
    """A dockerd whose bridge is in a network namespace of its own, the host's left alone."""

    engine: Engine
    enter: tuple[str, ...]

    def run(self, *command: str) -> str:
        """Run a command on that network."""
        done = subprocess.run([*self.enter, *command], check=True, capture_output=True, text=True)
        return done.stdout


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Start dockerd with its default bridge, one more network, and a container on each."""
    need_root()
    unshare = program("unshare", "util-linux")
    for tool, package in (("bridge", "iproute2"), ("iptables", "iptables")):
        program(tool, package)
    keeper = subprocess.Popen([unshare, "--net", "sleep", "600"])
    try:
        host = Path("/proc/net/dev").stat().st_ino
        eventually(lambda: Path(f"/proc/{keeper.pid}/net/dev").stat().st_ino != host, "unshare")
        enter = (program("nsenter", "util-linux"), "--target", str(keeper.pid), "--net")
        subprocess.run([*enter, "ip", "link", "set", "lo", "up"], check=True)
        directory = tmp_path_factory.mktemp("docker")
        with docker(directory, prefix=enter) as engine:
            engine.call("network", "create", "own")
            engine.start("on-default")
            engine.start("on-own", "--network=own")
            engine.start("on-both")
            engine.start("web", "-p", "127.0.0.1:8080:80", "-p", "5353:53/udp")
            engine.call("network", "connect", "own", "on-both")
            yield World(engine, enter)
    finally:
        keeper.kill()
        keeper.wait()


def expected(world: World, name: str) -> set[tuple[str, str, str]]:
    """Interface, its other end and the bridge, from `ip link` on both sides and `bridge link`."""
    pid = world.engine.pid(name)
    inside = subprocess.run(
        ["nsenter", "--target", str(pid), "--net", "ip", "-json", "link"],
        check=True,
        capture_output=True,
        text=True,
    )
    ends = {link["link_index"]: link["ifname"] for link in json.loads(inside.stdout)[1:]}
    ports = {
        port["ifname"]: port["master"] for port in json.loads(world.run("bridge", "-j", "link"))
    }
    outside = {
        link["ifindex"]: link["ifname"] for link in json.loads(world.run("ip", "-j", "link"))
    }
    return {(ends[index], outside[index], ports[outside[index]]) for index in ends}


def ends(page: str, identity: str) -> set[tuple[str, str, str]]:
    """The same from cgexporter's metrics."""
    found = set()
    for labels in re.findall(
        r"^cgexporter_container_interface_info\{(.*)\} 1$", page, re.MULTILINE
    ):
        values = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        if values["id"] == identity[:12]:
            found.add((values["interface"], values["host_interface"], values["bridge"]))
    return found


@pytest.mark.parametrize("privileges", [(), _UNPRIVILEGED], ids=["root", "nobody"])
@pytest.mark.parametrize("name", ["on-default", "on-own", "on-both"])
def test_ends(world: World, name: str, privileges: tuple[str, ...]) -> None:
    """Each interface ends where `bridge link` says, for root and for nobody alike."""
    page = output("--once", "--format", "prom", prefix=(*world.enter, *privileges))
    assert ends(page, world.engine.containers[name]) == expected(world, name)


def test_the_bridge_is_the_one_docker_says(world: World) -> None:
    """docker0 and br-<network> are those of docker inspect, and the counters are theirs too."""
    page = output("--once", "--format", "prom", prefix=world.enter)
    networks = world.engine.inspect("on-both")["NetworkSettings"]["Networks"]
    bridges = {
        "docker0" if name == "bridge" else f"br-{network['NetworkID'][:12]}"
        for name, network in networks.items()
    }
    identity = world.engine.containers["on-both"]
    assert {bridge for _, _, bridge in ends(page, identity)} == bridges
    assert f'receive_bytes_total{{id="{identity[:12]}",interface="eth0"}}' in page


def test_an_interface_that_is_moved(world: World) -> None:
    """After `docker network disconnect` the interface and its end are gone."""
    world.engine.call("network", "disconnect", "own", "on-both")
    page = output("--once", "--format", "prom", prefix=world.enter)
    found = ends(page, world.engine.containers["on-both"])
    assert {bridge for _, _, bridge in found} == {"docker0"}
    assert found == expected(world, "on-both")


def ports(world: World, *flags: str) -> set[tuple[str, str, str]]:
    """Where the ports of `web` lead, from cgexporter's metrics."""
    page = output("--once", "--format", "prom", *flags, prefix=world.enter)
    found = set()
    for labels in re.findall(
        r"^cgexporter_container_published_port_info\{(.*)\} 1$", page, re.MULTILINE
    ):
        values = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        if values["id"] == world.engine.containers["web"][:12]:
            port = f"{values['port']}/{values['protocol']}"
            found.add((port, values["host_ip"], values["host_port"]))
    return found


def test_published_ports(world: World) -> None:
    """Ports, TCP and UDP, are those of docker inspect: from Docker's state and from its socket."""
    bindings = world.engine.inspect("web")["NetworkSettings"]["Ports"]
    told = {
        (port, bound["HostIp"], bound["HostPort"])
        for port, its in bindings.items()
        for bound in its or ()
    }
    assert ("80/tcp", "127.0.0.1", "8080") in told
    assert ("53/udp", "0.0.0.0", "5353") in told
    data, socket = world.engine.places
    assert ports(world, f"--identity.state-root=docker={data}") == told
    assert ports(world, "--no-identity.state", f"--identity.socket=docker={socket}") == told


# The host's /proc is mounted elsewhere, and /proc is that of a PID namespace of our own.
_ELSEWHERE = (
    *("unshare", "--mount", "--pid", "--fork", "sh", "-c"),
    (
        "mount -t tmpfs -o mode=755 none /mnt && mkdir /mnt/proc && mount --bind /proc /mnt/proc "
        '&& mount -t proc none /proc && exec "$@"'
    ),
    "sh",
)
_HOST_PROC = "--path.procfs=/mnt/proc"


def unsupported(page: str) -> list[str]:
    """Why it is not known where interfaces end."""
    pattern = r'^cgexporter_supported\{file="rtnetlink",reason="(.+)"\} 0$'
    return re.findall(pattern, page, re.MULTILINE)


@pytest.mark.parametrize("name", ["on-default", "on-own", "on-both"])
def test_ends_from_another_pid_namespace(world: World, name: str) -> None:
    """PIDs as the host counts them say nothing there; by descriptors root finds the same ends."""
    page = output("--once", "--format", "prom", _HOST_PROC, prefix=(*world.enter, *_ELSEWHERE))
    assert ends(page, world.engine.containers[name]) == expected(world, name)


def test_nobody_in_another_pid_namespace(world: World) -> None:
    """A descriptor takes ptrace access: without it the ends are not known, and that is said."""
    prefix = (*world.enter, *_ELSEWHERE, *_UNPRIVILEGED)
    page = output("--once", "--format", "prom", _HOST_PROC, prefix=prefix)
    assert not ends(page, world.engine.containers["on-default"])
    assert unsupported(page) == ["permission denied"]


@pytest.mark.parametrize("privileges", [(), _UNPRIVILEGED], ids=["root", "nobody"])
def test_from_another_network_namespace(world: World, privileges: tuple[str, ...]) -> None:
    """On a network of its own, and in a PID namespace of its own, no end is made up.

    The counters are there all the same.
    """
    prefix = ("unshare", "--net", *_ELSEWHERE, *privileges)
    page = output("--once", "--format", "prom", _HOST_PROC, prefix=prefix)
    identity = world.engine.containers["on-default"][:12]
    assert not re.findall(r"^cgexporter_container_interface_info", page, re.MULTILINE)
    assert unsupported(page)
    assert f'receive_bytes_total{{id="{identity}",interface="eth0"}}' in page
