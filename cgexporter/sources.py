"""Which files each section of the model is built from, on v2 and on v1.

One table: a file, its parser, and the function that builds the section. A new kernel file
is one entry here, beside its parser and its field of the model.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from cgexporter.hierarchies import Hierarchies, Hierarchy
from cgexporter.model.cpu import cpu_v1, cpu_v2
from cgexporter.model.io import io_v1, io_v2
from cgexporter.model.memory import memory_v1, memory_v2
from cgexporter.model.pressure import pressure
from cgexporter.model.tasks import core, cpuset, pids
from cgexporter.parse.core import parse_cgroup_events, parse_cgroup_stat
from cgexporter.parse.cpu import parse_cpu_max, parse_cpu_stat, parse_cpu_stat_local
from cgexporter.parse.formats import ranges, single_limit, single_value
from cgexporter.parse.io import parse_io_stat
from cgexporter.parse.memory import parse_memory_events, parse_memory_stat
from cgexporter.parse.pids import parse_pids_events
from cgexporter.parse.psi import parse_pressure
from cgexporter.parse.v1 import blkio as v1_blkio
from cgexporter.parse.v1 import cpu as v1_cpu
from cgexporter.parse.v1 import freezer as v1_freezer
from cgexporter.parse.v1 import memory as v1_memory

Parse = Callable[[bytes], object]


class SourceFile(NamedTuple):
    """One file of a section, in the hierarchy that has it on this host."""

    name: str
    parse: Parse
    hierarchy: Hierarchy


@dataclass(frozen=True, slots=True)
class Source:
    """How one section of `Cgroup` is made on this host."""

    section: str
    files: Sequence[SourceFile]
    build: Callable[..., object]
    tells_leaf: bool = False  # the builder must know whether the cgroup has children

    def make(self, parsed: Sequence[object], leaf: bool) -> object:
        """Build the section from what the parsers made of its files."""
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

# The same files on v1 and v2.
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


def sources_of(hierarchies: Hierarchies) -> list[Source]:
    """Choose each section's source on this host.

    A controller is on the unified hierarchy or on one of v1, never on both. A section is
    taken from v1 where one of its controllers is there; what needs no controller (PSI,
    cpu.stat's usage, core files) from the unified hierarchy where the host has one.
    """
    chosen: dict[str, Source] = {}
    unified = hierarchies.unified
    for row in (*_V1, _PIDS, _CORE):
        files = [
            SourceFile(name, parse, hierarchy)
            for controller, name, parse in row.files
            if (hierarchy := hierarchies.legacy.get(controller) if controller else unified)
        ]
        if files:
            chosen[row.section] = _source(row, files)
    for row in (*_V2, _PIDS):
        if unified is not None and row.section not in chosen:
            files = [SourceFile(name, parse, unified) for _, name, parse in row.files]
            chosen[row.section] = _source(row, files)
    return list(chosen.values())


def _source(row: _Row, files: Sequence[SourceFile]) -> Source:
    """Fill the places of files that this host cannot have, so that builders get them all."""
    present = {file.name: file for file in files}
    places = [present.get(name) for _, name, _ in row.files]
    if all(places):
        return Source(row.section, files, row.build, row.tells_leaf)

    def build(*parsed: object, **leaf: bool) -> object:
        values = dict(zip((file.name for file in files), parsed, strict=True))
        return row.build(*(values.get(name) for _, name, _ in row.files), **leaf)

    return Source(row.section, files, build, row.tells_leaf)
