"""Which files each section of the model is built from, on v2 and on v1.

One table: a file, its parser, and the function that builds the section. A new kernel file
is one entry here, beside its parser and its field of the model.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from cgexporter import kernel
from cgexporter.hierarchies import Hierarchies, Hierarchy
from cgexporter.kernel import Missing
from cgexporter.model import io_more, memory_more
from cgexporter.model.controllers import controllers, hugetlb, misc, rdma
from cgexporter.model.cpu import cpu_more_v1, cpu_more_v2, cpu_v1, cpu_v2, each_cpu
from cgexporter.model.io import io_v1, io_v2
from cgexporter.model.memory import memory_v1, memory_v2
from cgexporter.model.pressure import pressure
from cgexporter.model.tasks import (
    PidsLocal,
    Processes,
    core,
    core_more,
    cpuset,
    cpuset_more_v1,
    cpuset_more_v2,
    pids,
)
from cgexporter.parse import controllers as parse_controllers
from cgexporter.parse import core as parse_core
from cgexporter.parse import cpu as parse_cpu
from cgexporter.parse import io as parse_io
from cgexporter.parse import memory as parse_memory
from cgexporter.parse.core import parse_cgroup_events, parse_cgroup_stat
from cgexporter.parse.cpu import parse_cpu_max, parse_cpu_stat, parse_cpu_stat_local
from cgexporter.parse.formats import line_count, ranges, single_limit, single_value
from cgexporter.parse.io import parse_io_stat
from cgexporter.parse.memory import parse_memory_events, parse_memory_stat
from cgexporter.parse.pids import parse_pids_events
from cgexporter.parse.psi import parse_pressure
from cgexporter.parse.v1 import blkio as v1_blkio
from cgexporter.parse.v1 import cpu as v1_cpu
from cgexporter.parse.v1 import freezer as v1_freezer
from cgexporter.parse.v1 import memory as v1_memory
from cgexporter.seldom import CPUS, KILLS, WRITTEN, Occasion

Parse = Callable[[bytes], object]
# Asked with a section and a file of it: is anything in it published?
Wants = Callable[[str, str], bool]

# Stands in a file's name for each of the host's huge page sizes.
SIZE = "<size>"
_LEGACY_NAMES = {"io": "blkio"}
# The second is read only where the kernel lacks the first, which says more.
_TWINS = {
    "blkio.throttle.io_service_bytes_recursive": "blkio.throttle.io_service_bytes",
    "blkio.throttle.io_serviced_recursive": "blkio.throttle.io_serviced",
}

# Files that change when somebody writes to a file of the same directory, and never otherwise. So
# no list of devices, which come and go, and nothing that the kernel takes back itself.
_SETTINGS = frozenset(
    (
        *("cpu.max", "cpu.max.burst", "cpu.weight", "cpu.idle", "cpu.weight.nice"),
        *("cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.cfs_burst_us", "cpu.shares"),
        *("memory.max", "memory.high", "memory.low", "memory.min", "memory.swap.max"),
        *("memory.swap.high", "memory.zswap.max", "memory.oom.group"),
        *("memory.limit_in_bytes", "memory.soft_limit_in_bytes"),
        *("memory.memsw.limit_in_bytes", "memory.kmem.limit_in_bytes"),
        *("pids.max", "cgroup.max.depth", "cgroup.max.descendants"),
    )
)
# What else does not change at any time, for what is taken out of it: v2's cpu.stat has CPU time,
# and v1's memory.oom_control also whether a cgroup is out of memory now.
_OCCASIONS: Mapping[tuple[str, Parse], Occasion] = {
    ("cpuset.cpus.effective", ranges): CPUS,
    ("cpuset.mems.effective", ranges): CPUS,
    ("cpuset.effective_cpus", ranges): CPUS,
    ("cpuset.effective_mems", ranges): CPUS,
    ("memory.oom_control", v1_memory.parse_oom_kill): KILLS,
    ("cpu.stat", v1_cpu.parse_cpu_stat): Occasion("cpu.cfs_quota_us"),
    ("cpu.stat.local", v1_cpu.parse_cpu_stat_local): Occasion("cpu.cfs_quota_us", above=True),
    ("cpu.stat.local", parse_cpu_stat_local): Occasion("cpu.max", above=True),
}
# v1's counts what is refused to the cgroup itself, v2's also what is refused below.
_LEGACY_OCCASIONS: Mapping[tuple[str, Parse], Occasion] = {
    ("pids.events", parse_pids_events): Occasion("pids.max", above=True),
}


class SourceFile(NamedTuple):
    """One file of a section, in the hierarchy that has it on this host."""

    name: str
    parse: Parse
    hierarchy: Hierarchy

    @property
    def occasion(self) -> Occasion | None:
        """When what is taken out of it may change; None: at any time."""
        if self.name in _SETTINGS:
            return WRITTEN
        key = (self.name, self.parse)
        legacy = None if self.hierarchy.unified else _LEGACY_OCCASIONS.get(key)
        return legacy or _OCCASIONS.get(key)


@dataclass(frozen=True, slots=True)
class Source:
    """How one section of `Cgroup` is made on this host.

    Attributes:
        build: takes what the parsers made of `arguments` files, None for those that are not read.
        places: which of the arguments is of each of `files`.
        tells_leaf: whether it must know whether the cgroup has children.
    """

    section: str
    files: Sequence[SourceFile]
    build: Callable[..., object]
    places: Sequence[int]
    arguments: int
    tells_leaf: bool = False

    def make(self, parsed: Sequence[object], leaf: bool) -> object:
        """Build the section from what the parsers made of its files, None where there is none."""
        if self.tells_leaf:
            return self.build(*parsed, leaf=leaf)
        return self.build(*parsed)


class _Row(NamedTuple):
    section: str
    build: Callable[..., object]
    files: Sequence[tuple[str, str, Parse]]  # controller ("" is the core), file, parser
    tells_leaf: bool = False


_V2 = (
    _Row(
        "cpu",
        cpu_v2,
        (
            # Every cgroup has cpu.stat; the controller adds lines and the other files.
            ("", "cpu.stat", parse_cpu_stat),
            ("cpu", "cpu.stat.local", parse_cpu_stat_local),
            ("cpu", "cpu.max", parse_cpu_max),
            ("cpu", "cpu.max.burst", single_value),
            ("cpu", "cpu.weight", single_value),
            ("cpu", "cpu.idle", single_value),
        ),
    ),
    _Row(
        "cpuset",
        cpuset,
        (
            ("cpuset", "cpuset.cpus.effective", ranges),
            ("cpuset", "cpuset.mems.effective", ranges),
        ),
    ),
    _Row(
        "pressure",
        pressure,
        (
            ("", "cpu.pressure", parse_pressure),
            ("", "memory.pressure", parse_pressure),
            ("", "io.pressure", parse_pressure),
            ("", "irq.pressure", parse_pressure),
        ),
    ),
    _Row(
        "memory",
        memory_v2,
        (
            ("memory", "memory.stat", parse_memory_stat),
            ("memory", "memory.current", single_value),
            ("memory", "memory.peak", single_value),
            ("memory", "memory.max", single_limit),
            ("memory", "memory.high", single_limit),
            ("memory", "memory.low", single_limit),
            ("memory", "memory.min", single_limit),
            ("memory", "memory.swap.current", single_value),
            ("memory", "memory.swap.max", single_limit),
            ("memory", "memory.events", parse_memory_events),
            ("memory", "memory.events.local", parse_memory_events),
        ),
    ),
    _Row("io", io_v2, (("io", "io.stat", parse_io_stat),)),
    _Row(
        "cpu_more",
        cpu_more_v2,
        (
            ("", "cpu.stat", parse_cpu.parse_cpu_stat_more),
            ("cpu", "cpu.weight.nice", parse_cpu.parse_nice),
            ("cpu", "cpu.uclamp.min", parse_cpu.parse_uclamp),
            ("cpu", "cpu.uclamp.max", parse_cpu.parse_uclamp),
        ),
    ),
    _Row(
        "cpuset_more",
        cpuset_more_v2,
        (
            ("cpuset", "cpuset.cpus", ranges),
            ("cpuset", "cpuset.mems", ranges),
            ("cpuset", "cpuset.cpus.exclusive.effective", ranges),
            ("cpuset", "cpuset.cpus.partition", parse_core.parse_word),
        ),
    ),
    _Row(
        "memory_more",
        memory_more.memory_more_v2,
        (("memory", "memory.stat", parse_memory.parse_memory_stat_more),),
    ),
    _Row("memory_policy", memory_more.policy_v2, (("memory", "memory.oom.group", single_value),)),
    _Row(
        "numa",
        memory_more.numa_v2,
        (("memory", "memory.numa_stat", parse_memory.parse_numa_stat),),
    ),
    _Row(
        "swap",
        memory_more.swap_v2,
        (
            ("memory", "memory.swap.high", single_limit),
            ("memory", "memory.swap.peak", single_value),
            ("memory", "memory.zswap.current", single_value),
            ("memory", "memory.zswap.max", single_limit),
            ("memory", "memory.zswap.writeback", single_value),
            ("memory", "memory.swap.events", parse_memory.parse_swap_events),
        ),
    ),
    _Row(
        "io_limits",
        io_more.limits_v2,
        (
            ("io", "io.max", parse_io.parse_io_max),
            ("io", "io.weight", parse_io.parse_weights),
            ("io", "io.bfq.weight", parse_io.parse_weights),
            ("io", "io.latency", parse_io.parse_io_latency),
        ),
    ),
    _Row("io_cost", io_more.cost, (("io", "io.stat", parse_io.parse_io_cost),)),
    _Row(
        "hugetlb",
        hugetlb,
        (
            ("hugetlb", f"hugetlb.{SIZE}.current", single_value),
            ("hugetlb", f"hugetlb.{SIZE}.max", single_limit),
            ("hugetlb", f"hugetlb.{SIZE}.events", parse_controllers.parse_events_max),
            ("hugetlb", f"hugetlb.{SIZE}.rsvd.current", single_value),
            ("hugetlb", f"hugetlb.{SIZE}.rsvd.max", single_limit),
        ),
    ),
    _Row("pids_local", PidsLocal, (("pids", "pids.events.local", parse_pids_events),)),
    _Row(
        "processes",
        Processes,
        (("", "cgroup.procs", line_count), ("", "cgroup.threads", line_count)),
    ),
)

_V1 = (
    _Row(
        "cpu",
        cpu_v1,
        (
            ("cpuacct", "cpuacct.usage", single_value),
            ("cpuacct", "cpuacct.stat", v1_cpu.parse_cpuacct_stat),
            ("cpu", "cpu.stat", v1_cpu.parse_cpu_stat),
            ("cpu", "cpu.stat.local", v1_cpu.parse_cpu_stat_local),
            ("cpu", "cpu.cfs_quota_us", v1_cpu.parse_cfs_quota),
            ("cpu", "cpu.cfs_period_us", v1_cpu.parse_cfs_period),
            ("cpu", "cpu.cfs_burst_us", single_value),
            ("cpu", "cpu.shares", single_value),
            ("cpu", "cpu.idle", single_value),
        ),
    ),
    _Row(
        "cpuset",
        cpuset,
        (
            ("cpuset", "cpuset.effective_cpus", ranges),
            ("cpuset", "cpuset.effective_mems", ranges),
        ),
    ),
    _Row(
        "memory",
        memory_v1,
        (
            ("memory", "memory.stat", v1_memory.parse_memory_stat),
            ("memory", "memory.usage_in_bytes", single_value),
            ("memory", "memory.max_usage_in_bytes", single_value),
            ("memory", "memory.limit_in_bytes", v1_memory.parse_limit),
            ("memory", "memory.soft_limit_in_bytes", v1_memory.parse_limit),
            ("memory", "memory.memsw.limit_in_bytes", v1_memory.parse_limit),
            ("memory", "memory.failcnt", single_value),
            ("memory", "memory.kmem.usage_in_bytes", single_value),
            ("memory", "memory.oom_control", v1_memory.parse_oom_kill),
        ),
        tells_leaf=True,
    ),
    _Row(
        "io",
        io_v1,
        (
            ("blkio", "blkio.throttle.io_service_bytes_recursive", v1_blkio.parse_by_operation),
            ("blkio", "blkio.throttle.io_serviced_recursive", v1_blkio.parse_by_operation),
            ("blkio", "blkio.throttle.io_service_bytes", v1_blkio.parse_by_operation),
            ("blkio", "blkio.throttle.io_serviced", v1_blkio.parse_by_operation),
        ),
        tells_leaf=True,
    ),
    _Row(
        "cpu_more",
        cpu_more_v1,
        (
            # Of the v2 tree beside.
            ("", "cpu.stat", parse_cpu.parse_cpu_stat_more),
            ("cpu", "cpu.rt_runtime_us", v1_cpu.parse_cfs_quota),
            ("cpu", "cpu.rt_period_us", single_value),
        ),
    ),
    _Row(
        "each_cpu",
        each_cpu,
        (("cpuacct", "cpuacct.usage_percpu", v1_cpu.parse_usage_percpu),),
    ),
    _Row(
        "cpuset_more",
        cpuset_more_v1,
        (
            ("cpuset", "cpuset.cpus", ranges),
            ("cpuset", "cpuset.mems", ranges),
            ("cpuset", "cpuset.memory_migrate", single_value),
            ("cpuset", "cpuset.memory_pressure", single_value),
        ),
    ),
    _Row(
        "memory_more",
        memory_more.memory_more_v1,
        (("memory", "memory.stat", v1_memory.parse_memory_stat_more),),
    ),
    _Row(
        "memory_paging",
        memory_more.memory_paging,
        (("memory", "memory.stat", v1_memory.parse_memory_stat_more),),
    ),
    _Row(
        "memory_policy",
        memory_more.policy_v1,
        (
            ("memory", "memory.swappiness", single_value),
            ("memory", "memory.oom_control", v1_memory.parse_oom_control),
            ("memory", "memory.use_hierarchy", single_value),
        ),
    ),
    _Row(
        "numa",
        memory_more.numa_v1,
        (("memory", "memory.numa_stat", v1_memory.parse_numa_stat),),
    ),
    _Row(
        "swap",
        memory_more.swap_v1,
        (
            ("memory", "memory.memsw.usage_in_bytes", single_value),
            ("memory", "memory.memsw.max_usage_in_bytes", single_value),
            ("memory", "memory.memsw.failcnt", single_value),
        ),
    ),
    _Row(
        "kmem",
        memory_more.Kmem,
        (
            ("memory", "memory.kmem.max_usage_in_bytes", single_value),
            ("memory", "memory.kmem.limit_in_bytes", v1_memory.parse_limit),
            ("memory", "memory.kmem.failcnt", single_value),
            ("memory", "memory.kmem.tcp.usage_in_bytes", single_value),
            ("memory", "memory.kmem.tcp.max_usage_in_bytes", single_value),
            ("memory", "memory.kmem.tcp.limit_in_bytes", v1_memory.parse_limit),
            ("memory", "memory.kmem.tcp.failcnt", single_value),
        ),
    ),
    _Row(
        "io_limits",
        io_more.limits_v1,
        (
            ("blkio", "blkio.throttle.read_bps_device", v1_blkio.parse_by_device),
            ("blkio", "blkio.throttle.write_bps_device", v1_blkio.parse_by_device),
            ("blkio", "blkio.throttle.read_iops_device", v1_blkio.parse_by_device),
            ("blkio", "blkio.throttle.write_iops_device", v1_blkio.parse_by_device),
            ("blkio", "blkio.bfq.weight", parse_io.parse_weights),
            ("blkio", "blkio.bfq.weight_device", parse_io.parse_weights),
        ),
    ),
    _Row(
        "io_bfq",
        io_more.bfq,
        (
            ("blkio", "blkio.bfq.io_service_bytes_recursive", v1_blkio.parse_by_operation),
            ("blkio", "blkio.bfq.io_serviced_recursive", v1_blkio.parse_by_operation),
            ("blkio", "blkio.bfq.io_service_time_recursive", v1_blkio.parse_by_operation),
            ("blkio", "blkio.bfq.io_wait_time_recursive", v1_blkio.parse_by_operation),
            ("blkio", "blkio.bfq.io_merged_recursive", v1_blkio.parse_by_operation),
            ("blkio", "blkio.bfq.io_queued_recursive", v1_blkio.parse_by_operation),
            ("blkio", "blkio.bfq.time_recursive", v1_blkio.parse_by_device),
            ("blkio", "blkio.bfq.sectors_recursive", v1_blkio.parse_by_device),
        ),
    ),
    _Row(
        "hugetlb",
        hugetlb,
        (
            ("hugetlb", f"hugetlb.{SIZE}.usage_in_bytes", single_value),
            ("hugetlb", f"hugetlb.{SIZE}.limit_in_bytes", v1_memory.parse_limit),
            ("hugetlb", f"hugetlb.{SIZE}.failcnt", single_value),
            ("hugetlb", f"hugetlb.{SIZE}.rsvd.usage_in_bytes", single_value),
            ("hugetlb", f"hugetlb.{SIZE}.rsvd.limit_in_bytes", v1_memory.parse_limit),
            ("hugetlb", f"hugetlb.{SIZE}.max_usage_in_bytes", single_value),
            ("hugetlb", f"hugetlb.{SIZE}.rsvd.max_usage_in_bytes", single_value),
            ("hugetlb", f"hugetlb.{SIZE}.rsvd.failcnt", single_value),
        ),
    ),
    _Row(
        "processes",
        Processes,
        (("cpu", "cgroup.procs", line_count), ("cpu", "tasks", line_count)),
    ),
)

# Kernels of some distributions (openEuler with psi_v1=1) have PSI on the cpuacct hierarchy.
_V1_PRESSURE = _Row(
    "pressure",
    pressure,
    tuple(
        ("cpuacct", f"{resource}.pressure", parse_pressure)
        for resource in ("cpu", "memory", "io", "irq")
    ),
)

# A hybrid host freezes by the v1 controller and counts in the unified hierarchy.
_CORE = _Row(
    "core",
    core,
    (
        ("", "cgroup.events", parse_cgroup_events),
        ("", "cgroup.stat", parse_cgroup_stat),
        ("freezer", "freezer.state", v1_freezer.parse_frozen),
    ),
)

_UNIFIED_ONLY = (
    _Row(
        "core_more",
        core_more,
        (
            ("", "cgroup.freeze", single_value),
            ("", "cgroup.stat.local", parse_core.parse_cgroup_stat_local),
            ("", "cgroup.pressure", single_value),
            ("", "cgroup.max.depth", single_limit),
            ("", "cgroup.max.descendants", single_limit),
        ),
    ),
    _Row("controllers", controllers, (("", "cgroup.stat", parse_core.parse_cgroup_subsystems),)),
)

# The same files on v1 and v2.
_SAME = (
    _Row(
        "rdma",
        rdma,
        (
            ("rdma", "rdma.current", parse_controllers.parse_rdma),
            ("rdma", "rdma.max", parse_controllers.parse_rdma),
        ),
    ),
    _Row(
        "misc",
        misc,
        (
            ("misc", "misc.current", parse_controllers.parse_misc),
            ("misc", "misc.peak", parse_controllers.parse_misc),
            ("misc", "misc.max", parse_controllers.parse_misc),
            ("misc", "misc.events", parse_controllers.parse_misc_events),
            ("misc", "misc.capacity", parse_controllers.parse_misc),
        ),
    ),
)
_PIDS = _Row(
    "pids",
    pids,
    (
        ("pids", "pids.current", single_value),
        ("pids", "pids.peak", single_value),
        ("pids", "pids.max", single_limit),
        ("pids", "pids.events", parse_pids_events),
    ),
)


_TABLE = (*_V1, *_SAME, _V1_PRESSURE, _PIDS, _CORE, *_UNIFIED_ONLY, *_V2)


def files_in(section: str, text: str) -> frozenset[str]:
    """The files of a section that a source of the metric table names."""
    words = set(text.split())
    return frozenset(
        name
        for row in _TABLE
        if row.section == section
        for _, name, _ in row.files
        if name in words
    )


def everything(section: str, file: str) -> bool:
    """Read each file of each section."""
    del section, file
    return True


def sources_of(hierarchies: Hierarchies, wants: Wants = everything) -> list[Source]:
    """Choose each section's source on this host.

    A controller is on the unified hierarchy or on one of v1, never on both. A section is
    taken from v1 where one of its controllers is there; what needs no controller (PSI,
    cpu.stat's usage, core files) from the unified hierarchy where the host has one.

    Args:
        hierarchies: of the host.
        wants: which files to read; a section without any is left out.
    """
    chosen: dict[str, Source] = {}
    unified = hierarchies.unified
    v1_pressure = (_V1_PRESSURE,) if _has_v1_pressure(hierarchies) else ()
    for row in (*_V1, *v1_pressure, *_SAME, _PIDS, _CORE, *_UNIFIED_ONLY):
        files = [
            SourceFile(name, parse, hierarchy)
            for controller, name, parse in row.files
            if (hierarchy := hierarchies.legacy.get(controller) if controller else unified)
        ]
        if files and (row not in _V1 or any(not file.hierarchy.unified for file in files)):
            chosen[row.section] = _source(row, files, wants)
    for row in (*_V2, *_SAME, _PIDS):
        if unified is not None and row.section not in chosen:
            files = [
                SourceFile(name, parse, unified)
                for controller, name, parse in row.files
                if _LEGACY_NAMES.get(controller, controller) not in hierarchies.legacy
            ]
            chosen[row.section] = _source(row, files, wants)
    return [source for source in chosen.values() if source.files]


def _has_v1_pressure(hierarchies: Hierarchies) -> bool:
    tree, unified = hierarchies.legacy.get("cpuacct"), hierarchies.unified
    return (
        tree is not None
        and _offers(tree, "cpu.pressure")
        and (unified is None or not _offers(unified, "cpu.pressure"))
    )


def _offers(tree: Hierarchy, name: str) -> bool:
    """Whether a hierarchy's root has a file."""
    return not isinstance(kernel.status(f"{tree.mount_point}/{name}"), Missing)


def _is_wanted(row: _Row, file: SourceFile, wants: Wants) -> bool:
    for more, less in _TWINS.items():
        if file.name == less:
            return wants(row.section, more) and not _offers(file.hierarchy, more)
    return wants(row.section, file.name)


def _source(row: _Row, files: Sequence[SourceFile], wants: Wants) -> Source:
    present = {file.name: file for file in files if _is_wanted(row, file, wants)}
    names = [name for _, name, _ in row.files]
    build = row.build
    if any(SIZE in name for name in names):
        trees = dict.fromkeys(file.hierarchy.mount_point for file in present.values())
        sizes = tuple(sorted({s for tree in trees for s in kernel.huge_page_sizes(tree)}))
        build = partial(hugetlb, sizes)
        present = {
            name.replace(SIZE, size): file._replace(name=name.replace(SIZE, size))
            for size in sizes
            for name, file in present.items()
        }
        names = [name.replace(SIZE, size) for size in sizes for name in names]
    places = [names.index(name) for name in present]
    chosen = list(present.values())
    return Source(row.section, chosen, build, places, len(names), row.tells_leaf)
