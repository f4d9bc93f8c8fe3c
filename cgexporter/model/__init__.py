"""What a scan saw: cgroups in base units, one shape for v1, v2 and hybrid hosts."""

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Any

from cgexporter.kernel import Missing
from cgexporter.model.controllers import Controller, Hugetlb, Misc, Rdma
from cgexporter.model.cpu import Cpu, CpuMore, OneCpu
from cgexporter.model.effective import Effective
from cgexporter.model.io import Io
from cgexporter.model.io_more import IoBfq, IoCost, IoLimits
from cgexporter.model.kept import Kept
from cgexporter.model.machine import Machine
from cgexporter.model.memory import Memory
from cgexporter.model.memory_more import (
    Kmem,
    MemoryMore,
    MemoryPaging,
    MemoryPolicy,
    Numa,
    Swap,
)
from cgexporter.model.network import Network, Transport
from cgexporter.model.pressure import Pressure
from cgexporter.model.tasks import (
    Core,
    CoreMore,
    Cpuset,
    CpusetMore,
    Pids,
    PidsLocal,
    Processes,
)


class Mode(enum.Enum):
    """How a host mounts its cgroup hierarchies."""

    UNIFIED = "unified"  # v2 only
    LEGACY = "legacy"  # v1 only
    HYBRID = "hybrid"  # v1 controllers, and a v2 tree beside them


# Never changed once a view has it, but not frozen: a frozen one of so many fields takes three times
# as long to make, and a busy container makes one in each scan.
@dataclass(slots=True, unsafe_hash=True)
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
    cpu_more: CpuMore | None = None
    each_cpu: tuple[OneCpu, ...] | None = None
    cpuset_more: CpusetMore | None = None
    memory_more: MemoryMore | None = None
    memory_paging: MemoryPaging | None = None
    memory_policy: MemoryPolicy | None = None
    numa: Numa | None = None
    swap: Swap | None = None
    kmem: Kmem | None = None
    io_limits: IoLimits | None = None
    io_cost: IoCost | None = None
    io_bfq: IoBfq | None = None
    hugetlb: tuple[Hugetlb, ...] | None = None
    rdma: tuple[Rdma, ...] | None = None
    misc: tuple[Misc, ...] | None = None
    pids_local: PidsLocal | None = None
    processes: Processes | None = None
    core_more: CoreMore | None = None
    controllers: tuple[Controller, ...] | None = None
    effective: Effective | None = None  # made by correlate.limits
    kept: Kept | None = None  # made by correlate.events
    trees: frozenset[str] = frozenset()
    # Of a network namespace and not of the cgroup: correlation adds them.
    network: Network | None = None
    transport: Transport | None = None

    def changed(self, **values: object) -> "Cgroup":
        """The same with other values: `dataclasses.replace` in a fifth of its time."""
        twin = Cgroup(*_values_of(self))
        for name, value in values.items():
            setattr(twin, name, value)
        return twin


_values_of: Callable[[Cgroup], tuple[Any, ...]] = attrgetter(*(f.name for f in fields(Cgroup)))

# Each section that is read from the cgroup's own files.
SECTIONS = (
    *("cpu", "cpuset", "pressure", "memory", "io", "pids", "core"),
    *("cpu_more", "each_cpu", "cpuset_more"),
    *("memory_more", "memory_paging", "memory_policy", "numa", "swap", "kmem"),
    *("io_limits", "io_cost", "io_bfq", "hugetlb", "rdma", "misc"),
    *("pids_local", "processes", "core_more", "controllers"),
)
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
        machine: what procfs says of the whole machine.
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
    machine: Machine = field(default_factory=Machine)
