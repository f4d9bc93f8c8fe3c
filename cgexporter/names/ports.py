"""Published ports, as each runtime writes them down.

Sources: moby daemon/network/settings.go (``Ports``, nat.PortMap) and api/types.Port, Podman
libnetwork/types.PortMapping, go-cni's of the same form in ``nerdctl/ports`` and CRI-O's
annotation, Kubernetes core/v1 ContainerPort.
"""

import re
from collections.abc import Iterable, Iterator, Mapping

from cgexporter.correlate.facts import Port
from cgexporter.names.pick import VALUE, Each, Every, Picked, Shape, each, pick
from cgexporter.parse.formats import ParseError

# A container may publish all ports of the host: of more than these nobody needs the list.
MAX_PORTS = 100

_ADDRESS = re.compile(r"[0-9a-fA-F.:]{0,45}")
_PROTOCOLS = ("tcp", "udp", "sctp")

DOCKER_STATE: Shape = Every(Each({"HostIp": VALUE, "HostPort": VALUE}))
DOCKER_LIST: Shape = Each(dict.fromkeys(("IP", "PublicPort", "PrivatePort", "Type"), VALUE))
PODMAN: Shape = Each(
    dict.fromkeys(("host_ip", "host_port", "container_port", "range", "protocol"), VALUE)
)
POD: Shape = Each(dict.fromkeys(("hostIP", "hostPort", "containerPort", "protocol"), VALUE))
_CNI: Shape = Each(
    dict.fromkeys(
        (
            *("HostIP", "HostPort", "ContainerPort", "Protocol"),
            *("hostIP", "hostPort", "containerPort", "protocol"),
        ),
        VALUE,
    )
)
_CRIO: Shape = Each(dict.fromkeys(("host_ip", "host_port", "container_port", "protocol"), VALUE))


def docker_state(picked: Picked) -> tuple[Port, ...] | None:
    """Of ``{"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]}``."""
    if not isinstance(picked, dict):
        return None
    return _ports(
        _port(bound.get("HostIp"), bound.get("HostPort"), *exposed.partition("/")[::2])
        for exposed, bindings in picked.items()
        for bound in each(bindings)
    )


def docker_list(picked: Picked) -> tuple[Port, ...] | None:
    """Of the Docker API's list of containers."""
    return _listed(picked, "IP", "PublicPort", "PrivatePort", "Type")


def podman(picked: Picked) -> tuple[Port, ...] | None:
    """Of Podman's configuration or API, in which one mapping may be a range of ports."""
    if not isinstance(picked, list):
        return None
    return _ports(
        _port(one.get("host_ip"), host, inside, one.get("protocol"))
        for one in each(picked)
        for host, inside in _range(one)
    )


def of_pod(picked: Picked) -> tuple[Port, ...] | None:
    """Of a container in a pod's manifest: those with a ``hostPort``."""
    return _listed(picked, "hostIP", "hostPort", "containerPort", "protocol")


def nerdctl(written: str) -> tuple[Port, ...] | None:
    """Of the label ``nerdctl/ports``: an array of go-cni's PortMapping."""
    picked = _document(written, _CNI)
    ports = _listed(picked, "HostIP", "HostPort", "ContainerPort", "Protocol")
    return ports or _listed(picked, "hostIP", "hostPort", "containerPort", "protocol")


def crio(written: str) -> tuple[Port, ...] | None:
    """Of the annotation ``io.kubernetes.cri-o.PortMappings`` of a sandbox."""
    return _listed(_document(written, _CRIO), "host_ip", "host_port", "container_port", "protocol")


def _document(written: str, shape: Shape) -> Picked:
    try:
        return pick(bytearray(written.encode("utf-8", "surrogateescape")), shape)
    except ParseError:
        return None  # whoever starts a container may label it with anything


def _listed(picked: Picked, ip: str, host: str, inside: str, kind: str) -> tuple[Port, ...] | None:
    if not isinstance(picked, list):
        return None
    return _ports(
        _port(one.get(ip), one.get(host), one.get(inside), one.get(kind)) for one in each(picked)
    )


def _range(mapping: Mapping[str, Picked]) -> Iterator[tuple[int, int]]:
    first, second = _number(mapping.get("host_port")), _number(mapping.get("container_port"))
    many = _number(mapping.get("range")) or 1
    if first and second:
        yield from ((first + more, second + more) for more in range(min(many, MAX_PORTS + 1)))


def _port(ip: Picked, host: Picked, inside: Picked, kind: Picked) -> Port | None:
    host_port, port = _number(host), _number(inside)
    protocol = kind.lower() if isinstance(kind, str) and kind else "tcp"
    address = ip if isinstance(ip, str) else ""
    if not host_port or not port or protocol not in _PROTOCOLS or not _ADDRESS.fullmatch(address):
        return None
    return Port(address, host_port, port, protocol)


def _number(picked: Picked) -> int | None:
    if isinstance(picked, str) and picked.isascii() and picked.isdecimal() and len(picked) < 6:
        picked = int(picked)
    whole = isinstance(picked, int) and not isinstance(picked, bool)
    return picked if whole and 0 < picked < 1 << 16 else None  # type: ignore[return-value,operator]


def _ports(found: Iterable[Port | None]) -> tuple[Port, ...]:
    return tuple(sorted({port for port in found if port is not None})[:MAX_PORTS])
