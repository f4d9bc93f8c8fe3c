"""What a scan saw: cgroups in base units, one shape for v1, v2 and hybrid hosts."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from cgexporter.kernel import Missing
from cgexporter.model.cpu import Cpu
from cgexporter.model.io import Io
from cgexporter.model.memory import Memory
from cgexporter.model.network import Network, Transport
from cgexporter.model.pressure import Pressure
from cgexporter.model.tasks import Core, Cpuset, Pids


class Mode(enum.Enum):
    """How a host mounts its cgroup hierarchies."""

    UNIFIED = "unified"  # v2 only
    LEGACY = "legacy"  # v1 only
    HYBRID = "hybrid"  # v1 controllers, and a v2 tree beside them


@dataclass(frozen=True, slots=True)
class Cgroup:
    """One cgroup at one moment. A section is None where the host has no source for it.

    `path` is as in /proc/PID/cgroup of the host, "/" for the root; `trees` are the mount
    points of the hierarchies that have a cgroup there. A section that did not
    change since the last scan is the same object as it was then.
    """

    path: str
    inode: int
    leaf: bool
    cpu: Cpu | None = None
    cpuset: Cpuset | None = None
    pressure: Pressure | None = None
    memory: Memory | None = None
    io: Io | None = None
    pids: Pids | None = None
    core: Core | None = None
    trees: frozenset[str] = frozenset()
    # Of a network namespace and not of the cgroup: correlation adds them.
    network: Network | None = None
    transport: Transport | None = None


SECTIONS = ("cpu", "cpuset", "pressure", "memory", "io", "pids", "core")
NETWORK_SECTIONS = ("network", "transport")


@dataclass(frozen=True, slots=True)
class FileSupport:
    """What became of one file over all cgroups of a scan."""

    read: int = 0
    missing: Mapping[Missing, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One finished scan of a host.

    Attributes:
        started: seconds since the epoch when the scan began.
        duration_seconds: how long it took.
        cgroups: by path, parents before children, in order of path.
        devices: block device names by MAJOR:MINOR.
        files: by name, what became of each file that was asked for.
        parse_errors: by file name, how many did not have their format in this scan.
        skipped: cgroups left out because reading them failed.
        dropped: cgroups left out by the bound on their number.
    """

    started: float
    duration_seconds: float
    mode: Mode
    cgroups: Mapping[str, Cgroup]
    devices: Mapping[str, str]
    files: Mapping[str, FileSupport]
    parse_errors: Mapping[str, int]
    skipped: int
    dropped: int
