"""An independent reading of a container's kernel files, for comparison.

Written from the kernel's documentation and on purpose without a line of cgexporter: what
both say of one file is then not one mistake made once. Knows v1, v2 and hybrid hosts.
Sources: cgroup-v2.rst, cgroup-v1/*.rst, psi.rst, proc(5).
"""

import math
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

# By family without prefix, level and ``_total``: pids_current, io_read_bytes{sda}.
Numbers = dict[str, float]
# The same of one controller; None where this kernel does not offer it.
Readings = Iterator[tuple[str, float | None]]


@dataclass(frozen=True, slots=True)
class Tree:
    """One mounted hierarchy; a v2 one has no controllers here."""

    mount_point: Path
    root: str
    controllers: frozenset[str]
    unified: bool


def hierarchies() -> list[Tree]:
    """The hierarchies that this process sees mounted, each once."""
    trees: dict[str, Tree] = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, rest = line.partition(" - ")
        _, _, device, root, mount_point, *_ = fields.split()
        fstype, _, options = rest.split()
        if fstype in ("cgroup", "cgroup2") and device not in trees:
            controllers = frozenset(options.split(",")) - {"rw", "ro", "xattr"}
            unified = fstype == "cgroup2"
            trees[device] = Tree(Path(mount_point), root, controllers, unified)
    return list(trees.values())


def directories(pid: int) -> dict[str, Path]:
    """The directory of a process' cgroup for each v1 controller, and on v2 ("")."""
    paths: dict[str, str] = {}
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            paths[controller] = path
    found = {}
    for tree in hierarchies():
        for controller in {""} if tree.unified else tree.controllers:
            if controller in paths:
                below = paths[controller].removeprefix(tree.root if tree.root != "/" else "")
                found[controller] = tree.mount_point / below.lstrip("/")
    return found


def cgroup_paths(pid: int) -> set[str]:
    """Each path that /proc/PID/cgroup names, of whatever hierarchy."""
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    return {line.split(":", 2)[2] for line in lines}


def namespaces(pid: int) -> dict[str, int]:
    """The inode of each namespace of a process, from the links that name them."""
    inodes = {}
    for link in Path(f"/proc/{pid}/ns").iterdir():
        kind, inode = os.readlink(link).rstrip("]").split(":[")
        if kind == link.name:  # also pid_for_children and time_for_children are there
            inodes[kind] = int(inode)
    return inodes


def numbers(pid: int) -> Numbers:
    """All that is measured of the cgroups of a process, in base units; absent is absent."""
    where = directories(pid)
    unified = where.get("")
    found: Numbers = {}
    for controller, v1, v2 in _READERS:
        if controller in where and v1 is not None:
            readings = v1(where[controller])
        elif unified is not None and v2 is not None:
            readings = v2(unified)
        else:
            continue
        found |= {name: value for name, value in readings if value is not None}
    return found


def _word(directory: Path, file: str) -> str | None:
    try:
        return (directory / file).read_text().strip()
    except FileNotFoundError:
        return None


def _count(directory: Path, file: str) -> float | None:
    word = _word(directory, file)
    return None if word is None else math.inf if word == "max" else int(word)


def _keyed(directory: Path, file: str) -> dict[str, int]:
    lines = (_word(directory, file) or "").splitlines()
    return {key: int(value) for key, value in (line.split() for line in lines)}


def _per(count: float | None, unit: int) -> float | None:
    return None if count is None else count / unit


def _cpuacct_v1(cpuacct: Path) -> Readings:
    ticks, hertz = _keyed(cpuacct, "cpuacct.stat"), os.sysconf("SC_CLK_TCK")
    yield "cpu_usage_seconds", _per(_count(cpuacct, "cpuacct.usage"), 10**9)
    yield "cpu_user_seconds", ticks["user"] / hertz
    yield "cpu_system_seconds", ticks["system"] / hertz


def _cpu_v1(cpu: Path) -> Readings:
    stat = _keyed(cpu, "cpu.stat")
    yield "cpu_periods", stat["nr_periods"]
    yield "cpu_throttled_periods", stat["nr_throttled"]
    yield "cpu_throttled_seconds", stat["throttled_time"] / 10**9
    local = _keyed(cpu, "cpu.stat.local")
    yield "cpu_throttled_local_seconds", _per(local.get("throttled_time"), 10**9)
    yield "cpu_bursts", stat.get("nr_bursts")
    yield "cpu_burst_seconds", _per(stat.get("burst_time"), 10**9)
    quota, period = _word(cpu, "cpu.cfs_quota_us"), _word(cpu, "cpu.cfs_period_us")
    if quota is not None and period is not None:
        yield "cpu_limit_cores", math.inf if quota == "-1" else int(quota) / int(period)
        yield "cpu_period_seconds", int(period) / 10**6
    yield "cpu_burst_limit_seconds", _per(_count(cpu, "cpu.cfs_burst_us"), 10**6)
    yield "cpu_shares", _count(cpu, "cpu.shares")
    yield "cpu_idle", _count(cpu, "cpu.idle")


def _cpu_v2(cpu: Path) -> Readings:
    stat = _keyed(cpu, "cpu.stat")
    yield "cpu_usage_seconds", stat["usage_usec"] / 10**6
    yield "cpu_user_seconds", stat["user_usec"] / 10**6
    yield "cpu_system_seconds", stat["system_usec"] / 10**6
    yield "cpu_periods", stat.get("nr_periods")
    yield "cpu_throttled_periods", stat.get("nr_throttled")
    yield "cpu_throttled_seconds", _per(stat.get("throttled_usec"), 10**6)
    local = _keyed(cpu, "cpu.stat.local")
    yield "cpu_throttled_local_seconds", _per(local.get("throttled_usec"), 10**6)
    yield "cpu_bursts", stat.get("nr_bursts")
    yield "cpu_burst_seconds", _per(stat.get("burst_usec"), 10**6)
    if maximum := _word(cpu, "cpu.max"):
        quota, period = maximum.split()
        yield "cpu_limit_cores", math.inf if quota == "max" else int(quota) / int(period)
        yield "cpu_period_seconds", int(period) / 10**6
    yield "cpu_burst_limit_seconds", _per(_count(cpu, "cpu.max.burst"), 10**6)
    yield "cpu_weight", _count(cpu, "cpu.weight")
    yield "cpu_idle", _count(cpu, "cpu.idle")


def _limit_v1(memory: Path, file: str) -> float | None:
    """Unlimited is the largest number of whole pages that a long holds."""
    unlimited = (2**63 - 1) // os.sysconf("SC_PAGESIZE") * os.sysconf("SC_PAGESIZE")
    count = _count(memory, file)
    return math.inf if count == unlimited else count


def _memory_v1(memory: Path) -> Readings:
    stat, control = _keyed(memory, "memory.stat"), _keyed(memory, "memory.oom_control")
    current = int(_word(memory, "memory.usage_in_bytes") or 0)
    limit = _limit_v1(memory, "memory.limit_in_bytes")
    both = _limit_v1(memory, "memory.memsw.limit_in_bytes")
    yield "memory_current_bytes", current
    yield "memory_working_set_bytes", max(0, current - stat["total_inactive_file"])
    yield "memory_peak_bytes", _count(memory, "memory.max_usage_in_bytes")
    yield "memory_max_bytes", limit
    yield "memory_soft_limit_bytes", _limit_v1(memory, "memory.soft_limit_in_bytes")
    if both is not None and limit is not None:
        yield "memory_swap_max_bytes", both if both == math.inf else both - limit
    yield "memory_swap_current_bytes", stat.get("total_swap")
    yield "memory_failures", _count(memory, "memory.failcnt")
    yield "memory_anon_bytes", stat["total_rss"]
    yield "memory_file_bytes", stat["total_cache"]
    yield "memory_shmem_bytes", stat["total_shmem"]
    yield "memory_file_mapped_bytes", stat["total_mapped_file"]
    yield "memory_file_dirty_bytes", stat["total_dirty"]
    yield "memory_file_writeback_bytes", stat["total_writeback"]
    yield "memory_inactive_file_bytes", stat["total_inactive_file"]
    yield "memory_kernel_bytes", _count(memory, "memory.kmem.usage_in_bytes")
    yield "memory_refaults_anon", stat.get("total_workingset_refault_anon")
    yield "memory_refaults_file", stat.get("total_workingset_refault_file")
    yield "memory_page_faults", stat["total_pgfault"]
    yield "memory_major_page_faults", stat["total_pgmajfault"]
    yield "memory_events_oom_kill", control["oom_kill"]  # of a cgroup without children
    yield "memory_events_local_oom_kill", control["oom_kill"]


def _memory_v2(memory: Path) -> Readings:
    if not (memory / "memory.current").exists():
        return  # the controller is off
    stat, events = _keyed(memory, "memory.stat"), _keyed(memory, "memory.events")
    local = _keyed(memory, "memory.events.local")
    current = int(_word(memory, "memory.current") or 0)
    yield "memory_current_bytes", current
    yield "memory_working_set_bytes", max(0, current - stat["inactive_file"])
    yield "memory_peak_bytes", _count(memory, "memory.peak")
    for name in ("max", "high", "low", "min"):
        yield f"memory_{name}_bytes", _count(memory, f"memory.{name}")
    yield "memory_swap_current_bytes", _count(memory, "memory.swap.current")
    yield "memory_swap_max_bytes", _count(memory, "memory.swap.max")
    for key in ("anon", "file", "kernel", "sock", "shmem", "inactive_file"):
        yield f"memory_{key}_bytes", stat.get(key)
    for key in ("file_mapped", "file_dirty", "file_writeback"):
        yield f"memory_{key}_bytes", stat.get(key)
    for key in ("slab_reclaimable", "slab_unreclaimable"):
        yield f"memory_{key}_bytes", stat.get(key)
    for key in ("anon", "file"):
        yield f"memory_refaults_{key}", stat.get(f"workingset_refault_{key}")
    yield "memory_page_faults", stat["pgfault"]
    yield "memory_major_page_faults", stat["pgmajfault"]
    for key in ("low", "high", "max", "oom", "oom_kill", "oom_group_kill"):
        yield f"memory_events_{key}", events.get(key)
        yield f"memory_events_local_{key}", local.get(key)


def _size(directory: Path, file: str) -> float | None:
    """How many a list such as 0-3,8 has."""
    word = _word(directory, file)
    if word is None:
        return None
    ranges = [part.split("-") for part in word.split(",") if part]
    return sum(int(ends[-1]) - int(ends[0]) + 1 for ends in ranges)


def _cpuset_v1(cpuset: Path) -> Readings:
    yield "cpuset_cpus", _size(cpuset, "cpuset.effective_cpus")
    yield "cpuset_mems", _size(cpuset, "cpuset.effective_mems")


def _cpuset_v2(cpuset: Path) -> Readings:
    yield "cpuset_cpus", _size(cpuset, "cpuset.cpus.effective")
    yield "cpuset_mems", _size(cpuset, "cpuset.mems.effective")


def _pids(pids: Path) -> Readings:
    yield "pids_current", _count(pids, "pids.current")
    yield "pids_peak", _count(pids, "pids.peak")
    yield "pids_max", _count(pids, "pids.max")
    yield "pids_events_max", _keyed(pids, "pids.events").get("max")


def _freezer_v1(freezer: Path) -> Readings:
    yield "frozen", int(_word(freezer, "freezer.state") == "FROZEN")


def _core(unified: Path) -> Readings:
    events, stat = _keyed(unified, "cgroup.events"), _keyed(unified, "cgroup.stat")
    yield "populated", events["populated"]
    yield "frozen", events["frozen"]
    yield "descendants", stat["nr_descendants"]
    yield "dying_descendants", stat["nr_dying_descendants"]


def _pressure(unified: Path) -> Readings:
    words = {"some": "waiting", "full": "stalled"}
    for resource in ("cpu", "memory", "io", "irq"):
        try:
            lines = (_word(unified, f"{resource}.pressure") or "").splitlines()
        except OSError:  # EOPNOTSUPP: booted with psi=0
            continue
        for line in lines:
            total = int(line.rpartition("total=")[2])
            yield f"pressure_{resource}_{words[line.split()[0]]}_seconds", total / 10**6


def _io(name: str, device: str) -> str:
    return f"io_{name}{{{os.path.basename(os.path.realpath(f'/sys/dev/block/{device}'))}}}"


def _io_v1(blkio: Path) -> Readings:
    words = {"Read": ("read", "reads"), "Write": ("written", "writes")}
    words["Discard"] = ("discarded", "discards")
    for file, is_bytes in (("io_service_bytes", True), ("io_serviced", False)):
        content = _word(blkio, f"blkio.throttle.{file}_recursive") or ""
        for device, operation, count in re.findall(r"(\d+:\d+) (\w+) (\d+)", content):
            if operation in words:
                done, operations = words[operation]
                yield _io(f"{done}_bytes" if is_bytes else operations, device), int(count)


def _io_v2(io: Path) -> Readings:
    words = {"rbytes": "read_bytes", "wbytes": "written_bytes", "dbytes": "discarded_bytes"}
    words |= {"rios": "reads", "wios": "writes", "dios": "discards"}
    for line in (_word(io, "io.stat") or "").splitlines():
        device, *pairs = line.split()
        for key, _, count in (pair.partition("=") for pair in pairs):
            if key in words:
                yield _io(words[key], device), int(count)


Reader = Callable[[Path], Readings]

# By controller, "" for what has none: of v1, and of v2 where v1 has not got it.
_READERS: tuple[tuple[str, Reader | None, Reader | None], ...] = (
    ("", _core, None),
    ("", _pressure, None),
    ("cpu", _cpu_v1, _cpu_v2),
    ("cpuacct", _cpuacct_v1, None),
    ("cpuset", _cpuset_v1, _cpuset_v2),
    ("memory", _memory_v1, _memory_v2),
    ("blkio", _io_v1, _io_v2),
    ("pids", _pids, _pids),
    ("freezer", _freezer_v1, None),
)
