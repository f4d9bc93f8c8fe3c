"""Files of a network namespace below ``/proc/PID/net``. Source: proc_pid_net(5).

net/core/net-procfs.c prints dev; net/ipv4/proc.c snmp, netstat and sockstat; net/ipv6/proc.c
sockstat6; net/ipv4/igmp.c igmp.
"""

from typing import NamedTuple

from cgexporter.parse.formats import ParseError, decimal, lines_of, text_of
from cgexporter.parse.proc import name_of

_DEV_FIELDS = 16


class NetDev(NamedTuple):
    """One line of ``dev``. `rx_drop` includes frames that found no buffer (missed)."""

    name: str
    rx_bytes: int
    rx_packets: int
    rx_errs: int
    rx_drop: int
    rx_fifo: int
    rx_frame: int
    rx_compressed: int
    rx_multicast: int
    tx_bytes: int
    tx_packets: int
    tx_errs: int
    tx_drop: int
    tx_fifo: int
    tx_colls: int
    tx_carrier: int
    tx_compressed: int


def parse_net_dev(data: bytes) -> list[NetDev]:
    """Parse ``dev``: two lines of titles, then an interface a line.

    Raises:
        ParseError: a line has not 16 counters.
    """
    interfaces = []
    for line in data.split(b"\n")[2:]:
        if not line:
            continue
        # A name holds neither colon nor blank (dev_valid_name); counters may touch the colon.
        name, _, counters = line.partition(b":")
        words = counters.split()
        if len(words) != _DEV_FIELDS or not all(map(bytes.isdigit, words)):
            raise ParseError(f"expected an interface and 16 counters, found {line[:80]!r}")
        interfaces.append(NetDev(name_of(name.strip()), *map(int, words)))
    return interfaces


def parse_snmp(data: bytes) -> dict[str, dict[str, int]]:
    """Parse ``snmp`` or ``netstat``: two lines a protocol, its keys and their values.

    ``Tcp MaxConn`` is signed, -1 for no limit.

    Raises:
        ParseError: the lines do not come in such pairs.
    """
    protocols: dict[str, dict[str, int]] = {}
    lines = lines_of(text_of(data))
    if len(lines) % 2:
        raise ParseError(f"expected pairs of lines, found {len(lines)} lines")
    for titles, values in zip(lines[::2], lines[1::2], strict=True):
        name, *keys = titles.split()
        same, *words = values.split()
        if name != same or len(keys) != len(words):
            raise ParseError(f"expected keys and values of {name[:20]!r}, found {values[:80]!r}")
        protocols[name.removesuffix(":")] = dict(zip(keys, map(_signed, words), strict=True))
    return protocols


def _signed(word: str) -> int:
    return -decimal(word[1:]) if word[:1] == "-" else decimal(word)


def parse_sockstat(data: bytes) -> dict[str, dict[str, int]]:
    """Parse ``sockstat`` or ``sockstat6``: ``PROTOCOL: KEY VALUE KEY VALUE …``.

    Raises:
        ParseError: a line has not that form.
    """
    protocols = {}
    for line in lines_of(text_of(data)):
        name, *words = line.split()
        if not name.endswith(":") or len(words) % 2:
            raise ParseError(f"expected PROTOCOL: KEY VALUE …, found {line[:80]!r}")
        protocols[name[:-1]] = dict(zip(words[::2], map(_signed, words[1::2]), strict=True))
    return protocols


def parse_igmp(data: bytes) -> dict[str, int]:
    """Parse ``igmp``: the index of each interface that is up and has IPv4, by name.

    Raises:
        ParseError: a line of an interface does not begin with its index.
    """
    indices = {}
    for line in data.split(b"\n")[1:]:
        if line and not line.startswith(b"\t"):
            index, _, rest = line.partition(b"\t")
            name, colon, _ = rest.partition(b":")
            if not index.isdigit() or not colon:
                raise ParseError(f"expected INDEX NAME : …, found {line[:80]!r}")
            indices[name_of(name.strip())] = int(index)
    return indices


def parse_if_inet6(data: bytes) -> dict[str, int]:
    """Parse ``if_inet6``: the index of each interface with an IPv6 address, by name.

    Raises:
        ParseError: a line has not six words.
    """
    indices = {}
    for line in data.split(b"\n"):
        words = line.split()
        if not words:
            continue
        if len(words) != 6:
            raise ParseError(f"expected an address of an interface, found {line[:80]!r}")
        try:
            indices[name_of(words[5])] = int(words[1], 16)
        except ValueError:
            raise ParseError(f"expected an index, found {words[1]!r}") from None
    return indices


def parse_udp6(data: bytes) -> dict[str, int]:
    """Parse ``snmp6``: its UDP counters; ``snmp`` has those of IPv4 alone.

    Raises:
        ParseError: a line of them is not ``KEY VALUE``.
    """
    counters = {}
    for line in lines_of(text_of(data)):
        if line.startswith("Udp6"):
            key, *value = line.split()
            if len(value) != 1:
                raise ParseError(f"expected KEY VALUE, found {line[:80]!r}")
            counters[key] = decimal(value[0])
    return counters
