"""Published ports, as runtimes write them down."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgexporter.correlate.facts import Port
from cgexporter.exporter import Exporter
from cgexporter.local.json import document
from cgexporter.names import annotations, ports
from cgexporter.names.pick import Picked, Shape, pick
from cgexporter.publish import Format
from tests.tools.hosts import Host, container, docker, hex_id

WEB = Port("127.0.0.1", 8080, 80, "tcp")
DNS = Port("", 53, 53, "udp")


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """An empty host."""
    return Host(tmp_path)


def picked(content: object, shape: Shape) -> Picked:
    """What a shape picks."""
    return pick(bytearray(json.dumps(content).encode()), shape)


def test_docker_state(host: Host) -> None:
    """A port that is exposed and not published has no binding; one may have several."""
    content = {
        "80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}],
        "53/udp": [{"HostIp": "0.0.0.0", "HostPort": "53"}, {"HostIp": "::", "HostPort": "53"}],
        "443/tcp": None,
    }
    host.cgroup(docker("web"))
    file = host.docker(hex_id("web"), "web")
    state = json.loads(file.read_text()) | {"NetworkSettings": {"Ports": content}}
    host.write("/" + str(file.relative_to(host.root)), state)
    found = container(host.view(), docker("web"))
    assert found.facts.ports == (
        Port("0.0.0.0", 53, 53, "udp"),
        WEB,
        Port("::", 53, 53, "udp"),
    )


def test_podman_ranges() -> None:
    """One mapping of Podman's may be many ports in a row."""
    content = [
        {"host_ip": "", "host_port": 53, "container_port": 53, "range": 1, "protocol": "udp"},
        {"host_ip": "::1", "host_port": 9000, "container_port": 80, "range": 3, "protocol": "tcp"},
    ]
    assert ports.podman(picked(content, ports.PODMAN)) == (
        DNS,
        Port("::1", 9000, 80, "tcp"),
        Port("::1", 9001, 81, "tcp"),
        Port("::1", 9002, 82, "tcp"),
    )


def test_lists_and_manifests() -> None:
    """Docker's list, a pod's manifest, and what is written into annotations."""
    listed = [
        {"IP": "127.0.0.1", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
        {"PrivatePort": 9, "Type": "tcp"},
    ]
    assert ports.docker_list(picked(listed, ports.DOCKER_LIST)) == (WEB,)
    manifest = [
        {"containerPort": 53, "hostPort": 53, "protocol": "UDP"},
        {"containerPort": 80, "protocol": "TCP"},
    ]
    assert ports.of_pod(picked(manifest, ports.POD)) == (DNS,)
    written = '[{"HostPort":8080,"ContainerPort":80,"Protocol":"tcp","HostIP":"127.0.0.1"}]'
    assert annotations.read({"nerdctl/ports": written}, frozenset()).ports == (WEB,)
    crio = '[{"host_port":53,"container_port":53,"protocol":"udp","host_ip":""}]'
    key = "io.kubernetes.cri-o.PortMappings"
    assert annotations.read({key: crio}, frozenset()).ports == (DNS,)
    assert annotations.read({}, frozenset()).ports is None


@pytest.mark.parametrize(
    "odd",
    [
        *({"HostPort": 0}, {"HostPort": 65536}, {"HostPort": -1}, {"HostPort": True}),
        *({"ContainerPort": "x"}, {"Protocol": "icmp"}, {"HostIP": "a\nb"}, {"HostIP": "1" * 50}),
    ],
    ids=str,
)
def test_odd_ports_are_none(odd: dict[str, object]) -> None:
    """What is no port, address or protocol is not published."""
    usual: dict[str, object] = {"HostPort": 1, "ContainerPort": 1, "Protocol": "tcp", "HostIP": ""}
    assert ports.nerdctl(json.dumps([usual])) == (Port("", 1, 1, "tcp"),)
    assert ports.nerdctl(json.dumps([usual | odd])) == ()


@given(st.text())
def test_any_label(written: str) -> None:
    """Whoever starts a container may label it with anything."""
    assert ports.nerdctl(written) in (None, ())


def test_many_ports() -> None:
    """A container that publishes all ports has at most a hundred series."""
    content = [{"host_port": 1, "container_port": 1, "range": 65535, "protocol": "tcp"}]
    found = ports.podman(picked(content, ports.PODMAN))
    assert found is not None
    assert len(found) == ports.MAX_PORTS


def published(exporter: Exporter) -> tuple[list[str], str]:
    """The families of ports, and the JSON document."""
    view = exporter.name(exporter.look())
    page = exporter.render(view, Format.TEXT)
    exporter.close()
    lines = [line for line in page.splitlines() if "_published_port_info{" in line]
    return lines, document(view)


def test_on_the_page(host: Host) -> None:
    """Ports are said of the container, those of a sandbox of its pod."""
    pod = f"/machine.slice/machine-libpod_pod_{hex_id('pod')}.slice"
    for name in ("app", "infra"):
        host.cgroup(f"{pod}/libpod-{hex_id(name)}.scope")
    host.cgroup(f"/machine.slice/libpod-{hex_id('web')}.scope")
    mapping = {"host_port": 53, "container_port": 53, "range": 1, "protocol": "udp"}
    configs: dict[str, dict[str, object]] = {
        "app": {"name": "app"},
        "infra": {"isInfra": True, "newPortMappings": [mapping]},
        "web": {"name": "web", "newPortMappings": [mapping | {"host_ip": "10.0.0.1"}]},
    }
    host.libpod(
        {
            "ctr": {hex_id(name): {"config": json.dumps(its)} for name, its in configs.items()},
            "pod": {hex_id("pod"): {"config": json.dumps({"name": "shop"})}},
        }
    )
    lines, told = published(host.exporter())
    uid, id_ = hex_id("pod"), hex_id("web")[:12]
    assert lines == [
        (
            f'cgexporter_container_published_port_info{{container="web",host_ip="10.0.0.1",'
            f'host_port="53",id="{id_}",port="53",protocol="udp"}} 1'
        ),
        (
            'cgexporter_pod_published_port_info{host_port="53",pod="shop",port="53",protocol="udp",'
            f'uid="{uid}"}} 1'
        ),
    ]
    (web,) = (each for each in json.loads(told)["containers"] if each["container"] == "web")
    assert web["published_ports"] == [
        {"host_ip": "10.0.0.1", "host_port": 53, "port": 53, "protocol": "udp"}
    ]
