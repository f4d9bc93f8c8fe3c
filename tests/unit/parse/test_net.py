"""Parsers of files below /proc/PID/net, with what a 6.18 kernel prints."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgexporter.model.network import transport
from cgexporter.parse.formats import ParseError
from cgexporter.parse.net import (
    NetDev,
    parse_if_inet6,
    parse_igmp,
    parse_net_dev,
    parse_snmp,
    parse_sockstat,
    parse_udp6,
)

_TITLES = b"Inter-|   Receive  |  Transmit\n face |bytes    packets ...\n"
DEV = (
    _TITLES
    + b"    lo: 1243025401   93103    0    0    0     0          0         0 1243025401   93103"
    b"    0    0    0     0       0          0\n"
    b"  eth0:2110      25    1    2    0     0          0         0      962      13    3    4"
    b"    0     0       0          0\n"
)
SNMP = (
    b"Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens RetransSegs\n"
    b"Tcp: 1 200 120000 -1 12 7\n"
    b"Udp: InDatagrams NoPorts\n"
    b"Udp: 1000 2\n"
)
NETSTAT = b"TcpExt: SyncookiesSent ListenOverflows ListenDrops\nTcpExt: 0 3 4\n"
SOCKSTAT = b"sockets: used 9\nTCP: inuse 2 orphan 0 tw 5 alloc 3 mem 1\nUDP: inuse 1 mem 0\n"
SOCKSTAT6 = b"TCP6: inuse 4\nUDP6: inuse 6\nFRAG6: inuse 0 memory 0\n"
SNMP6 = b"Ip6InReceives                   \t0\nUdp6InDatagrams                 \t11\n"


def test_interfaces() -> None:
    """Each interface has its counters, also where they touch the colon."""
    lo, eth0 = parse_net_dev(DEV)
    assert (lo.name, lo.rx_bytes, lo.tx_packets) == ("lo", 1_243_025_401, 93_103)
    assert eth0 == NetDev("eth0", 2110, 25, 1, 2, 0, 0, 0, 0, 962, 13, 3, 4, 0, 0, 0, 0)


@pytest.mark.parametrize("line", [b"eth0 1 2\n", b"eth0: 1 2\n", b"eth0:" + b" -1" * 16 + b"\n"])
def test_malformed_interface(line: bytes) -> None:
    """A line the format does not allow is refused, never half read."""
    with pytest.raises(ParseError):
        parse_net_dev(_TITLES + line)


@given(st.lists(st.integers(0, 2**64 - 1), min_size=16, max_size=16))
def test_any_counters(counters: list[int]) -> None:
    """Whatever the counters are, they arrive unchanged."""
    line = f"  e-1: {' '.join(map(str, counters))}\n".encode()
    (found,) = parse_net_dev(_TITLES + line)
    assert list(found[1:]) == counters


def test_protocols() -> None:
    """Keys and values of each protocol are joined; a limit of -1 is one."""
    found = parse_snmp(SNMP)
    assert found["Tcp"]["MaxConn"] == -1
    assert found["Tcp"]["RetransSegs"] == 7
    assert found["Udp"] == {"InDatagrams": 1000, "NoPorts": 2}


@pytest.mark.parametrize(
    "data", [b"Tcp: a\n", b"Tcp: a b\nTcp: 1\n", b"Tcp: a\nUdp: 1\n", b"Tcp: a\nTcp: x\n"]
)
def test_malformed_protocol(data: bytes) -> None:
    """Lines that do not pair are refused."""
    with pytest.raises(ParseError):
        parse_snmp(data)


@pytest.mark.parametrize("data", [b"TCP inuse 1\n", b"TCP: inuse\n", b"TCP: inuse x\n"])
def test_malformed_sockets(data: bytes) -> None:
    """A line of sockets without values is refused."""
    with pytest.raises(ParseError):
        parse_sockstat(data)


def test_transport() -> None:
    """IPv4 and IPv6 are added up where the kernel counts them apart; absent is not 0."""
    found = transport(
        parse_snmp(SNMP),
        parse_snmp(NETSTAT),
        parse_sockstat(SOCKSTAT),
        parse_sockstat(SOCKSTAT6),
        parse_udp6(SNMP6),
    )
    assert (found.tcp_active_opens, found.tcp_retransmitted_segments) == (12, 7)
    assert (found.tcp_listen_overflows, found.tcp_listen_drops) == (3, 4)
    assert (found.tcp_sockets, found.tcp_time_wait_sockets, found.udp_sockets) == (6, 5, 7)
    assert (found.udp_received_datagrams, found.udp_no_port) == (1011, 2)
    assert found.sockets == 9
    assert found.tcp_timeouts is None
    assert transport(None, None, None, None, None) == transport({}, {}, {}, {}, {})


def test_transport_without_ipv6() -> None:
    """Where IPv6 is off there are the IPv4 numbers."""
    found = transport(parse_snmp(SNMP), None, parse_sockstat(SOCKSTAT), None, None)
    assert (found.tcp_sockets, found.udp_received_datagrams) == (2, 1000)


def test_indices() -> None:
    """Interfaces have their indices in igmp and if_inet6."""
    igmp = (
        b"Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n"
        b"1\tlo        :     1      V3\n"
        b"\t\t\t\t010000E0     1 0:00000000\t\t0\n"
        b"12\teth0      :     1      V3\n"
    )
    assert parse_igmp(igmp) == {"lo": 1, "eth0": 12}
    inet6 = b"fe80000000000000003b6cfffe0c0a4d 0b 40 20 80     eth0\n"
    assert parse_if_inet6(inet6) == {"eth0": 11}


@pytest.mark.parametrize("data", [b"\nx\teth0 :\n", b"\n1\teth0\n"])
def test_malformed_igmp(data: bytes) -> None:
    """An interface without an index is refused."""
    with pytest.raises(ParseError):
        parse_igmp(data)


@pytest.mark.parametrize("data", [b"fe80 0b 40 20 eth0\n", b"fe80 xx 40 20 80 eth0\n"])
def test_malformed_inet6(data: bytes) -> None:
    """An address without an index is refused."""
    with pytest.raises(ParseError):
        parse_if_inet6(data)
