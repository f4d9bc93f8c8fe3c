"""Network of one network namespace: its interfaces, TCP, UDP and sockets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from cgexporter.parse.net import NetDev


class Interface(NamedTuple):
    """One interface: what it received and sent since it was made."""

    interface: str
    receive_bytes: int
    receive_packets: int
    receive_errors: int
    receive_drops: int
    transmit_bytes: int
    transmit_packets: int
    transmit_errors: int
    transmit_drops: int


Network = tuple[Interface, ...]


class End(NamedTuple):
    """Where an interface of a container ends on the host."""

    interface: str
    host_interface: str
    bridge: str | None  # or bond or VRF: what the host's interface is a port of


class Transport(NamedTuple):
    """TCP and UDP, over IPv4 and IPv6; None is "not counted"."""

    tcp_active_opens: int | None = None
    tcp_passive_opens: int | None = None
    tcp_failed_opens: int | None = None
    tcp_established_resets: int | None = None
    tcp_sent_resets: int | None = None
    tcp_received_segments: int | None = None
    tcp_sent_segments: int | None = None
    tcp_retransmitted_segments: int | None = None
    tcp_receive_errors: int | None = None
    tcp_listen_overflows: int | None = None
    tcp_listen_drops: int | None = None
    tcp_timeouts: int | None = None
    tcp_established: int | None = None
    tcp_sockets: int | None = None
    tcp_time_wait_sockets: int | None = None
    udp_received_datagrams: int | None = None
    udp_sent_datagrams: int | None = None
    udp_receive_errors: int | None = None
    udp_receive_buffer_errors: int | None = None
    udp_send_buffer_errors: int | None = None
    udp_no_port: int | None = None
    udp_sockets: int | None = None
    sockets: int | None = None


@dataclass(frozen=True, slots=True)
class NetworkNamespace:
    """One network namespace in one scan.

    Attributes:
        owner: path of the cgroup for which it is published: its pod's, its container's.
        network: the interfaces that are published.
        ends: where they end on the host, as far as that is known.
    """

    owner: str
    network: Network | None
    transport: Transport | None
    ends: Sequence[End] = ()


# By the inode of net/dev, which tells network namespaces apart.
Networks = Mapping[int, NetworkNamespace]


def interface(dev: NetDev) -> Interface:
    """Build from a line of ``dev``."""
    return Interface(
        dev.name,
        dev.rx_bytes,
        dev.rx_packets,
        dev.rx_errs,
        dev.rx_drop,
        dev.tx_bytes,
        dev.tx_packets,
        dev.tx_errs,
        dev.tx_drop,
    )


Protocols = Mapping[str, Mapping[str, int]]
_NONE: Mapping[str, int] = {}


def _sum(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return one if other is None else other
    return one + other


def transport(
    snmp: Protocols | None,
    netstat: Protocols | None,
    sockstat: Protocols | None,
    sockstat6: Protocols | None,
    snmp6: Mapping[str, int] | None,
) -> Transport:
    """Build from ``snmp``, ``netstat``, ``sockstat``, ``sockstat6`` and ``snmp6``.

    ``Tcp`` counts both IP versions, ``Udp`` IPv4 alone; ``Udp6…`` is in snmp6.
    """
    tcp = (snmp or {}).get("Tcp", _NONE)
    udp, udp6 = (snmp or {}).get("Udp", _NONE), snmp6 or _NONE
    extended = (netstat or {}).get("TcpExt", _NONE)
    four, six = sockstat or {}, sockstat6 or {}
    tcp_sockets = four.get("TCP", _NONE)
    return Transport(
        tcp.get("ActiveOpens"),
        tcp.get("PassiveOpens"),
        tcp.get("AttemptFails"),
        tcp.get("EstabResets"),
        tcp.get("OutRsts"),
        tcp.get("InSegs"),
        tcp.get("OutSegs"),
        tcp.get("RetransSegs"),
        tcp.get("InErrs"),
        extended.get("ListenOverflows"),
        extended.get("ListenDrops"),
        extended.get("TCPTimeouts"),
        tcp.get("CurrEstab"),
        _sum(tcp_sockets.get("inuse"), six.get("TCP6", _NONE).get("inuse")),
        tcp_sockets.get("tw"),
        _sum(udp.get("InDatagrams"), udp6.get("Udp6InDatagrams")),
        _sum(udp.get("OutDatagrams"), udp6.get("Udp6OutDatagrams")),
        _sum(udp.get("InErrors"), udp6.get("Udp6InErrors")),
        _sum(udp.get("RcvbufErrors"), udp6.get("Udp6RcvbufErrors")),
        _sum(udp.get("SndbufErrors"), udp6.get("Udp6SndbufErrors")),
        _sum(udp.get("NoPorts"), udp6.get("Udp6NoPorts")),
        _sum(four.get("UDP", _NONE).get("inuse"), six.get("UDP6", _NONE).get("inuse")),
        four.get("sockets", _NONE).get("used"),
    )
