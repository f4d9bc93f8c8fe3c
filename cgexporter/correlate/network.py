"""Network of each network namespace, read through one process that is in it.

Needs no privilege. Nothing of a namespace is held open but the /proc/PID directory of that
process: see docs/decisions/0006-network-files.md.
"""

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from cgexporter import kernel, rtnetlink
from cgexporter.correlate.identity import Correlator
from cgexporter.correlate.processes import Process, read_birth
from cgexporter.correlate.view import Container, View
from cgexporter.descriptors import Descriptors
from cgexporter.kernel import Content, Missing
from cgexporter.model import Cgroup
from cgexporter.model.network import (
    End,
    Network,
    NetworkNamespace,
    Transport,
    interface,
    transport,
)
from cgexporter.parse.formats import ParseError
from cgexporter.parse.net import (
    parse_if_inet6,
    parse_igmp,
    parse_net_dev,
    parse_snmp,
    parse_sockstat,
    parse_udp6,
)
from cgexporter.walker import is_due

log = logging.getLogger(__name__)

_TRANSPORT_FILES = {
    "snmp": parse_snmp,
    "netstat": parse_snmp,
    "sockstat": parse_sockstat,
    "sockstat6": parse_sockstat,
    "snmp6": parse_udp6,
}
# Whoever has a network namespace of his own may make interfaces as he likes.
MAX_INTERFACES = 64
_ROOT = "/"
DEFAULT_EXCLUDE = "lo|veth.*"


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSettings:
    """What to read of networks; flags fill it.

    Attributes:
        include, exclude: regular expressions of whole names of interfaces.
        host: publish the host's own network too.
    """

    include: str = ".*"
    exclude: str = DEFAULT_EXCLUDE
    host: bool = False


class _UnreadError(Exception):
    """The process is not, or no longer, in the network namespace."""


class _Reader:
    """One network namespace between scans."""

    def __init__(self, net_dev: int, procfs: str, descriptors: Descriptors) -> None:
        self.network: Network | None = None
        self.transport: Transport | None = None
        self.dropped = 0
        self.ends: Sequence[End] = ()
        self._net_dev = net_dev
        self._procfs = procfs
        self._descriptors = descriptors
        self._fd = -1
        self._process: Process | None = None
        self._reads = 0
        # Of each file the inode, which tells that it is this namespace's, and what it said.
        self._inodes: dict[str, int] = {}
        self._contents: dict[str, Content] = {}
        self._parsed: dict[str, object] = {}
        # Of which interfaces, and of which of the host's, `ends` is known.
        self._ends_names: tuple[str, ...] = ()
        self._ends_of = -1
        self._namespace: NetworkNamespace | None = None

    def read(self, candidates: Iterable[Process], ask: "_Asked") -> bool:
        """Read it through the process of the last scan, or else through another.

        Returns:
            False where none of them is in it (any more).
        """
        if self._fd >= 0 and self._read_again(ask):
            return True
        tried = [self._process] if self._process else []
        tried += [process for process in candidates if process != self._process]
        for process in tried:
            held = self._fd >= 0 or self._descriptors.take()
            try:
                self._open(process)
                self._read(ask)
            except (_UnreadError, OSError, ParseError) as exc:
                if not isinstance(exc, _UnreadError):
                    log.warning("network of process %d skipped: %s", process.pid, exc)
                    ask.errors.append("/proc/PID/net")
                self._inodes = {}
                self._close()
                if held:
                    self._descriptors.give_back()
                continue
            if not held:
                self._close()
            return True
        return False

    def _read_again(self, ask: "_Asked") -> bool:
        """Read it through the process that is held; False where that has to be looked into."""
        try:
            self._read(ask)
        except (_UnreadError, OSError, ParseError):
            return False  # happens again where it is not passing, and is dealt with there
        return True

    def namespace(self, owner: str, with_network: bool) -> NetworkNamespace:
        """What it is; the same object as the last time where nothing changed."""
        network = self.network if with_network else None
        last = self._namespace
        if (
            last is None
            or last.owner != owner
            or last.network is not network
            or last.transport is not self.transport
            or last.ends is not self.ends
        ):
            last = NetworkNamespace(owner, network, self.transport, self.ends)
            self._namespace = last
        return last

    def close(self) -> None:
        """Let the process go."""
        if self._fd >= 0:
            self._close()
            self._descriptors.give_back()

    def _close(self) -> None:
        if self._fd >= 0:
            kernel.close(self._fd)
            self._fd = -1

    def _open(self, process: Process) -> None:
        if self._fd >= 0:
            return
        fd = kernel.open_process(self._procfs, process.pid)
        if isinstance(fd, Missing):
            raise _UnreadError
        self._fd, self._process = fd, process
        birth = read_birth(fd)
        if birth is None or birth.started != process.started:
            raise _UnreadError

    def _read(self, ask: "_Asked") -> None:
        inode, content = kernel.read_once(self._fd, "net/dev")
        if inode != self._net_dev or isinstance(content, Missing):
            raise _UnreadError  # a zombie, too, is in no network namespace
        if ask.transport:
            self._read_transport(ask)
        changed = content != self._contents.get("dev")
        if changed:
            self._contents["dev"] = content
            self._build_network(ask)
        if changed or self._ends_of != ask.host_links.generation:
            self._find_ends(ask)

    def _read_transport(self, ask: "_Asked") -> None:
        probe = is_due(self._reads)
        known = len(self._inodes)
        changed = {file for file in _TRANSPORT_FILES if self._has_changed(file, probe)}
        if len(self._inodes) > known and self._has_moved():
            raise _UnreadError
        self._reads += 1
        for file in changed:
            self._parsed[file] = ask.parse(file, self._contents[file])
        if changed or self.transport is None:
            self.transport = transport(*(self._parsed.get(file) for file in _TRANSPORT_FILES))  # type: ignore[arg-type]

    def _has_moved(self) -> bool:
        """Whether the process joined another namespace while it was read."""
        return kernel.inode_below(self._fd, "net/dev") != self._net_dev

    def _has_changed(self, file: str, probe: bool) -> bool:
        if not probe and self._contents.get(file) is Missing.ABSENT:
            return False  # no IPv6 here
        inode, content = kernel.read_once(self._fd, f"net/{file}")
        if content is Missing.GONE or inode != self._inodes.setdefault(file, inode):
            raise _UnreadError
        if content is Missing.ABSENT:
            del self._inodes[file]
        if content == self._contents.get(file):
            return False
        self._contents[file] = content
        return True

    def _build_network(self, ask: "_Asked") -> None:
        devices = ask.parse("dev", self._contents["dev"])
        wanted = [d for d in devices or () if ask.wants(d.name)]  # type: ignore[attr-defined]
        self.dropped = max(0, len(wanted) - MAX_INTERFACES)
        self.network = tuple(interface(device) for device in wanted[:MAX_INTERFACES])

    def _find_ends(self, ask: "_Asked") -> None:
        """Match the interfaces with the host's, where either changed."""
        names = tuple(each.interface for each in self.network or ())
        if self._process is None or (names, ask.host_links.generation) == (
            self._ends_names,
            self._ends_of,
        ):
            return
        self._ends_names, self._ends_of = names, ask.host_links.generation
        self.ends = ()
        if not names or not ask.host_links.peers:
            return
        nsid = ask.host_links.nsid(self._fd, self._process.pid)
        if nsid is None:
            return
        indices: dict[str, int] = {}
        for file, parse in (("net/if_inet6", parse_if_inet6), ("net/igmp", parse_igmp)):
            inode, content = kernel.read_once(self._fd, file)
            if inode and not isinstance(content, Missing):
                indices.update(parse(content))
        if self._has_moved():
            self._ends_of = -1  # the next scan notices, and looks again
            return
        self.ends = tuple(
            End(name, *ask.host_links.peers[nsid, indices[name]])
            for name in names
            if (nsid, indices.get(name)) in ask.host_links.peers
        )


class _HostLinks:
    """The interfaces of the exporter's own network namespace, which should be the host's."""

    def __init__(self, procfs: str) -> None:
        self.generation = 0
        # By what we call its other end's namespace, and its index there: name and bridge.
        self.peers: dict[tuple[int, int], tuple[str, str | None]] = {}
        self.missing = ""
        self._procfs = procfs
        self._counts_otherwise = kernel.counts_otherwise(procfs)
        self._links: rtnetlink.Links | None = None
        self._opened = False

    def _open(self) -> None:
        self._opened = True
        own, host = (kernel.status(f"{self._procfs}/{pid}/net/dev") for pid in ("self", "1"))
        if isinstance(own, Missing) or isinstance(host, Missing) or own.st_ino != host.st_ino:
            self.missing = "not on the host's network"
        try:
            self._links = rtnetlink.opened()
        except OSError as exc:
            self._give_up(exc)

    def refresh(self) -> None:
        """Ask for the interfaces again if they changed."""
        if not self._opened:
            self._open()
        if self._links is None:
            return
        try:
            if not self._links.changed():
                return
            links = self._links.all()
        except (OSError, ParseError) as exc:
            self._give_up(exc)
            return
        self.generation += 1
        names = {link.ifindex: link.name for link in links}
        self.peers = {
            (link.peer_nsid, link.peer_index): (link.name, names.get(link.master or 0))
            for link in links
            if link.kind == "veth" and link.peer_nsid is not None and link.peer_index is not None
        }

    def nsid(self, process_fd: int, pid: int) -> int | None:
        """What we call the network namespace of a process; None where it has no name.

        By PID anyone may ask, but for PIDs as we count them; else its namespace must be
        opened, for which one needs ptrace access.
        """
        if self._links is None:
            return None
        try:
            if not self._counts_otherwise:
                answer = self._links.nsid_of_process(pid)
            else:
                fd = kernel.open_namespace(process_fd, "net")
                if isinstance(fd, Missing):
                    self.missing = "permission denied"
                    return None
                try:
                    answer = self._links.nsid_of_descriptor(fd)
                finally:
                    kernel.close(fd)
        except (OSError, ParseError) as exc:
            self._give_up(exc)
            return None
        return None if isinstance(answer, Missing) else answer

    def _give_up(self, problem: Exception) -> None:
        log.warning("interfaces of the host are not known, rtnetlink failed: %s", problem)
        self.missing = "not supported"
        self.close()

    def close(self) -> None:
        """Close the sockets."""
        if self._links is not None:
            self._links.close()
            self._links = None


class _Asked:
    """What is wanted of each namespace, and what came of it in this scan."""

    def __init__(self, settings: NetworkSettings, sections: Sequence[str], procfs: str) -> None:
        self.transport = "transport" in sections
        self.host_links = _HostLinks(procfs)
        self.errors: list[str] = []
        self._include = re.compile(settings.include)
        self._exclude = re.compile(settings.exclude)
        self._wanted: dict[str, bool] = {}

    def wants(self, name: str) -> bool:
        """Whether an interface is published."""
        wanted = self._wanted.get(name)
        if wanted is None:
            if len(self._wanted) > 100_000:
                self._wanted.clear()
            wanted = self._wanted[name] = bool(
                self._include.fullmatch(name) and not self._exclude.fullmatch(name)
            )
        return wanted

    def parse(self, file: str, content: Content) -> object:
        """Parse a file; None where it is missing or not in its format."""
        if isinstance(content, Missing):
            return None
        parse = parse_net_dev if file == "dev" else _TRANSPORT_FILES[file]
        try:
            return parse(content)
        except ParseError as exc:
            log.warning("/proc/PID/net/%s: %s", file, exc)
            self.errors.append(f"net/{file}")
            return None


class _Attached(NamedTuple):
    """A cgroup with its network, and what it was made of."""

    of: Cgroup
    namespace: NetworkNamespace
    cgroup: Cgroup


class _Plan(NamedTuple):
    """One network namespace: for whom it is published, and through whom it can be read."""

    net_dev: int
    owner: str
    paths: Sequence[str]
    processes: Sequence[Process]


class NetworkCollector:
    """Adds to each pod and container what its network namespace counts.

    Args:
        correlator: finds another process of a container whose first one is gone.
        settings: what to read.
        sections: those of `model.NETWORK_SECTIONS` that are wanted.
        descriptors: bounds how many processes are held.
    """

    def __init__(
        self,
        correlator: Correlator,
        settings: NetworkSettings,
        sections: Sequence[str],
        descriptors: Descriptors,
    ) -> None:
        self._correlator = correlator
        self._procfs = correlator.hierarchies.procfs
        self._descriptors = descriptors
        self._host = settings.host
        self._sections = sections
        self._asked = _Asked(settings, sections, self._procfs)
        self._readers: dict[int, _Reader] = {}
        self._attached_before: dict[str, _Attached] = {}
        self._said_dropped = False
        self._planned_of: object = None
        self._plan: Sequence[_Plan] = ()

    def collect(self, view: View) -> View:
        """Read the networks of a view's containers and put them where they belong."""
        self._asked.errors.clear()
        pods = {pod.cgroup.path for pod in view.pods}
        found: dict[int, NetworkNamespace] = {}
        units = [*view.containers, *view.holders, *view.sandboxes]
        if any(unit.process and unit.process.net_dev for unit in units):
            self._asked.host_links.refresh()
        host = view.host.net_dev if view.host else None
        of = (host, pods, [(unit.cgroup.path, unit.process) for unit in units])
        if of != self._planned_of:
            self._plan = _planned(units, host, pods)
        # The same processes are equal at once, equal ones are not: keep these.
        self._planned_of = of
        if moved := self._collect(self._plan, found):  # joined other namespaces meanwhile
            again = [unit for unit in units if unit.cgroup.path in moved]
            processes = [self._correlator.look_again(unit.cgroup.path) for unit in again]
            again = [
                replace(unit, process=process)
                for unit, process in zip(again, processes, strict=True)
            ]
            self._collect(_planned(again, host, pods), found)
        if self._host and view.host is not None and view.host.net_dev is not None:
            self._collect_one(view.host.net_dev, [view.host], _ROOT, found)
        for net_dev in self._readers.keys() - found.keys():
            self._readers.pop(net_dev).close()
        self._say_dropped()
        return self._attached(view, found)

    @property
    def parse_errors(self) -> Sequence[str]:
        """Files of the last scan that were not in their format."""
        return self._asked.errors

    @property
    def dropped(self) -> int:
        """Interfaces that are left out because their namespace has too many."""
        return sum(reader.dropped for reader in self._readers.values())

    @property
    def ends_missing(self) -> str:
        """Why it is not known where interfaces end on the host; "" where it is."""
        return self._asked.host_links.missing

    def close(self) -> None:
        """Let everything go."""
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()
        self._asked.host_links.close()

    def _collect(self, plan: Sequence[_Plan], found: dict[int, NetworkNamespace]) -> set[str]:
        """Read namespaces; returns the paths of containers that are not where they were."""
        moved: set[str] = set()
        for net_dev, owner, paths, processes in plan:
            if net_dev not in found and not self._collect_one(net_dev, processes, owner, found):
                moved.update(paths)
        return moved

    def _collect_one(
        self,
        net_dev: int,
        processes: Sequence[Process],
        owner: str,
        found: dict[int, NetworkNamespace],
    ) -> bool:
        reader = self._readers.get(net_dev)
        if reader is None:
            reader = _Reader(net_dev, self._procfs, self._descriptors)
            self._readers[net_dev] = reader
        if not reader.read(processes, self._asked):
            return False
        found[net_dev] = reader.namespace(owner, "network" in self._sections)
        return True

    def _say_dropped(self) -> None:
        dropped = self.dropped
        if dropped and not self._said_dropped:
            log.warning(
                "%d network interfaces are left out: more than %d in one namespace",
                dropped,
                MAX_INTERFACES,
            )
        self._said_dropped = bool(dropped)

    def _attached(self, view: View, found: Mapping[int, NetworkNamespace]) -> View:
        by_owner = {namespace.owner: namespace for namespace in found.values()}
        attached: dict[str, _Attached] = {}
        before = self._attached_before

        def with_network(cgroup: Cgroup) -> Cgroup:
            namespace = by_owner[cgroup.path]
            last = before.get(cgroup.path)
            if last is None or last.of is not cgroup or last.namespace is not namespace:
                now = cgroup.changed(network=namespace.network, transport=namespace.transport)
                last = _Attached(cgroup, namespace, now)
            attached[cgroup.path] = last
            return last.cgroup

        view = replace(
            view,
            containers=[
                c.with_cgroup(with_network(c.cgroup)) if c.cgroup.path in by_owner else c
                for c in view.containers
            ],
            pods=[
                replace(pod, cgroup=with_network(pod.cgroup))
                if pod.cgroup.path in by_owner
                else pod
                for pod in view.pods
            ],
            cgroups=[with_network(one) if one.path in by_owner else one for one in view.cgroups],
            networks=found,
        )
        self._attached_before = attached
        return view


def _planned(units: Iterable[Container], host: int | None, pods: set[str]) -> Sequence[_Plan]:
    """Who is in which network namespace but the host's."""
    by_net: dict[int, list[tuple[Container, Process]]] = {}
    for unit in units:
        process = unit.process
        if process is not None and process.net_dev is not None and process.net_dev != host:
            by_net.setdefault(process.net_dev, []).append((unit, process))
    plan = []
    for net_dev, members in by_net.items():
        members.sort(key=lambda member: (member[1].started, member[0].cgroup.path))
        containers = [container for container, _ in members]
        paths = [container.cgroup.path for container in containers]
        processes = [process for _, process in members]
        plan.append(_Plan(net_dev, _owner(containers, pods), paths, processes))
    return plan


def _owner(members: Sequence[Container], pods: set[str]) -> str:
    """For whom a network namespace is published: once, for who was there first.

    A pod whose container or sandbox that is; else the container. A sandbox without a pod is
    not published, so another takes its place.
    """
    for container in members:
        if container.place.pod_path in pods:
            return container.place.pod_path
    return next((c for c in members if not c.place.sandbox), members[0]).cgroup.path
