"""cAdvisor's names for what is read anyway: ``--metrics.names=cadvisor``.

For rules and dashboards that were written for cAdvisor or for the kubelet's /metrics/cadvisor.
Names, labels and row kinds are theirs. docs/CADVISOR.md says what is not served and where a
value differs on purpose: nothing here is a constant, and nothing has a timestamp. Sources:
cAdvisor's lib/metrics/prometheus.go and lib/container/libcontainer/handler.go.
"""

import math
import resource
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from cgexporter.correlate.view import Container, Pod, View
from cgexporter.metric import COUNTER, GAUGE, Kind
from cgexporter.model import Cgroup, Snapshot
from cgexporter.model.units import MICROSECONDS
from cgexporter.publish import Format, header, label_value

Pairs = tuple[tuple[str, str], ...]
Values = Iterable[tuple[Pairs, float | None]]


@dataclass(frozen=True, slots=True)
class Host:
    """What a value may need beside its cgroup."""

    snapshot: Snapshot
    births: Mapping[str, float]  # by path: when the cgroup was made, since the epoch


class Family(NamedTuple):
    """One family of cAdvisor's.

    Attributes:
        needs: rows of our table whose files it is computed from.
        collector: a collector of ours that must be on, for what cAdvisor too leaves out by
            default; "" is always.
    """

    name: str
    kind: Kind
    help: str
    needs: tuple[str, ...]
    values: Callable[[Cgroup, Host], Values]
    collector: str = ""


def _value(path: str, convert: Callable[[float], float] | None = None) -> Callable[..., Values]:
    """One sample: a field of a section, absent where either is."""
    section_name, _, field_name = path.partition(".")

    def values(cgroup: Cgroup, host: Host) -> Values:
        del host
        section = getattr(cgroup, section_name)
        value = None if section is None else getattr(section, field_name)
        return (((), value if value is None or convert is None else convert(value)),)

    return values


def _none_is_zero(limit: float) -> float:
    """Their 0 is no limit."""
    return 0 if limit == math.inf else limit


def _limited(path: str) -> Callable[..., Values]:
    """A field of `cpu`, of cgroups with a CPU limit alone."""
    plain = _value(path)

    def values(cgroup: Cgroup, host: Host) -> Values:
        limit = cgroup.cpu.limit_cores if cgroup.cpu else None
        return () if limit is None or limit == math.inf else plain(cgroup, host)

    return values


def _cpu_usage(cgroup: Cgroup, host: Host) -> Values:
    del host
    return (((("cpu", "total"),), cgroup.cpu.usage_seconds if cgroup.cpu else None),)


def _shares(cgroup: Cgroup, host: Host) -> Values:
    del host
    cpu = cgroup.cpu
    if cpu is None:
        return ()
    if cpu.shares is not None or cpu.weight is None:
        return (((), cpu.shares),)
    return (((), 2 + (cpu.weight - 1) * 262142 // 9999),)


def _quota(cgroup: Cgroup, host: Host) -> Values:
    del host
    cpu = cgroup.cpu
    if cpu is None or cpu.limit_cores is None or cpu.limit_cores == math.inf:
        return ()
    return (((), round(cpu.limit_cores * (cpu.period_seconds or 0) * MICROSECONDS)),)


def _memory_limit(cgroup: Cgroup, host: Host) -> Values:
    if cgroup.path == "/":
        return (((), host.snapshot.machine.memory.mem_total),)
    return _value("memory.max_bytes", _none_is_zero)(cgroup, host)


def _swap_limit(cgroup: Cgroup, host: Host) -> Values:
    """v1 limits memory and swap together, v2 swap alone; so do these values."""
    del host
    memory = cgroup.memory
    if memory is None or memory.swap_max_bytes is None:
        return ()
    limit = memory.swap_max_bytes
    if memory.high_bytes is None and memory.max_bytes is not None:  # v1
        limit += memory.max_bytes
    return (((), _none_is_zero(limit)),)


def _reservation(cgroup: Cgroup, host: Host) -> Values:
    del host
    memory = cgroup.memory
    if memory is None:
        return ()
    limit = memory.min_bytes if memory.soft_limit_bytes is None else memory.soft_limit_bytes
    return (((), None if limit is None else _none_is_zero(limit)),)


def _faults(cgroup: Cgroup, host: Host) -> Values:
    del host
    memory = cgroup.memory
    if memory is None:
        return ()
    kinds = (("pgfault", memory.page_faults), ("pgmajfault", memory.major_page_faults))
    return [
        ((("failure_type", kind), ("scope", scope)), count)
        for kind, count in kinds
        for scope in ("container", "hierarchy")
    ]


def _limit_hits(cgroup: Cgroup, host: Host) -> Values:
    del host
    memory = cgroup.memory
    if memory is None:
        return ()
    return (((), memory.events_max if memory.failures is None else memory.failures),)


def _oom(cgroup: Cgroup, host: Host) -> Values:
    """Kills in the cgroup and below; of a pod those of its removed containers too."""
    del host
    memory, kept = cgroup.memory, cgroup.kept
    counts = [
        *((memory.events_oom_kill, memory.events_local_oom_kill) if memory else ()),
        kept.oom_kills if kept else None,
    ]
    return (((), max((count for count in counts if count is not None), default=None)),)


def _device(number: str, host: Host) -> str:
    name = host.snapshot.devices.get(number)
    return f"/dev/{name}" if name else ""


def _each_device(section: str, field_name: str) -> Callable[..., Values]:
    """One sample a device."""

    def values(cgroup: Cgroup, host: Host) -> Values:
        return [
            ((("device", _device(each.device, host)),), getattr(each, field_name))
            for each in getattr(cgroup, section) or ()
        ]

    return values


def _device_usage(cgroup: Cgroup, host: Host) -> Values:
    for each in cgroup.io or ():
        major, _, minor = each.device.partition(":")
        for operation, count in (("Read", each.read_bytes), ("Write", each.written_bytes)):
            yield (
                (
                    ("device", _device(each.device, host)),
                    ("major", major),
                    ("minor", minor),
                    ("operation", operation),
                ),
                count,
            )


def _each_interface(field_name: str) -> Callable[..., Values]:
    """One sample an interface of the network namespace."""

    def values(cgroup: Cgroup, host: Host) -> Values:
        del host
        return [
            ((("interface", each.interface),), getattr(each, field_name))
            for each in cgroup.network or ()
        ]

    return values


def _network(name: str, text: str, row: str) -> Family:
    field_name = row.removeprefix("network_")
    return Family(
        f"container_network_{name}_total", COUNTER, text, (row,), _each_interface(field_name)
    )


def _each_size(field_name: str) -> Callable[..., Values]:
    def values(cgroup: Cgroup, host: Host) -> Values:
        del host
        return [
            ((("pagesize", each.pagesize),), getattr(each, field_name))
            for each in cgroup.hugetlb or ()
        ]

    return values


def _numa_pages(cgroup: Cgroup, host: Host) -> Values:
    del host
    page_bytes = resource.getpagesize()
    return [
        (
            (("node", node.node), ("scope", "hierarchy"), ("type", kind)),
            None if count is None else count // page_bytes,
        )
        for node in cgroup.numa or ()
        for kind, count in (
            ("anon", node.anon),
            ("file", node.file),
            ("unevictable", node.unevictable),
        )
    ]


def _birth(cgroup: Cgroup, host: Host) -> Values:
    return (((), host.births.get(cgroup.path)),)


def _now(cgroup: Cgroup, host: Host) -> Values:
    del cgroup
    return (((), int(host.snapshot.started)),)


def _pressure(resource_name: str, kind: str) -> Family:
    word = {"waiting": "at least one task", "stalled": "all tasks"}[kind]
    return Family(
        f"container_pressure_{resource_name}_{kind}_seconds_total",
        COUNTER,
        f"Time {word} waited for {resource_name}.",
        (f"pressure_{resource_name}_{kind}_seconds",),
        _value(f"pressure.{resource_name}_{kind}_seconds"),
    )


def _io(name: str, text: str, row: str) -> Family:
    field_name = row.removeprefix("io_")
    return Family(
        f"container_fs_{name}_total", COUNTER, text, (row,), _each_device("io", field_name)
    )


def _io_cost(name: str, text: str) -> Family:
    return Family(
        f"container_fs_io_cost_{name}_seconds_total",
        COUNTER,
        text,
        (f"io_cost_{name}_seconds",),
        _each_device("io_cost", f"cost_{name}_seconds"),
    )


def _memory(name: str, text: str, row: str, kind: Kind = GAUGE) -> Family:
    field_name = row.removeprefix("memory_")
    return Family(f"container_memory_{name}", kind, text, (row,), _value(f"memory.{field_name}"))


def _throttling(name: str, text: str, row: str) -> Family:
    field_name = row.removeprefix("cpu_")
    values = _limited(f"cpu.{field_name}")
    needs = (row, "cpu_limit_cores")
    return Family(f"container_cpu_cfs_{name}_total", COUNTER, text, needs, values)


FAMILIES: tuple[Family, ...] = (
    Family("container_last_seen", GAUGE, "When the cgroup was read last.", (), _now),
    Family(
        "container_cpu_usage_seconds_total",
        COUNTER,
        "CPU time used.",
        ("cpu_usage_seconds",),
        _cpu_usage,
    ),
    Family(
        "container_cpu_user_seconds_total",
        COUNTER,
        "CPU time used in user mode.",
        ("cpu_user_seconds",),
        _value("cpu.user_seconds"),
    ),
    Family(
        "container_cpu_system_seconds_total",
        COUNTER,
        "CPU time used in the kernel.",
        ("cpu_system_seconds",),
        _value("cpu.system_seconds"),
    ),
    _throttling("periods", "Enforcement periods.", "cpu_periods"),
    _throttling("throttled_periods", "Throttled periods.", "cpu_throttled_periods"),
    _throttling("throttled_seconds", "Time throttled.", "cpu_throttled_seconds"),
    _throttling("burst_periods", "Periods that used burst.", "cpu_bursts"),
    _throttling("burst_seconds", "CPU time taken from burst.", "cpu_burst_seconds"),
    _memory("usage_bytes", "Memory charged, page cache included.", "memory_current_bytes"),
    _memory("working_set_bytes", "Use without inactive files.", "memory_working_set_bytes"),
    _memory("max_usage_bytes", "Highest use.", "memory_peak_bytes"),
    _memory("rss", "Anonymous memory.", "memory_anon_bytes"),
    _memory("cache", "Page cache, tmpfs included.", "memory_file_bytes"),
    _memory("swap", "Swap used.", "memory_swap_current_bytes"),
    _memory("mapped_file", "Page cache mapped.", "memory_file_mapped_bytes"),
    _memory("kernel_usage", "Kernel memory.", "memory_kernel_bytes"),
    _memory("total_active_file_bytes", "Active page cache.", "memory_active_file_bytes"),
    _memory("total_inactive_file_bytes", "Inactive page cache.", "memory_inactive_file_bytes"),
    _memory("file_dirty_bytes", "Dirty page cache.", "memory_file_dirty_bytes"),
    _memory("file_writeback_bytes", "Page cache in writeback.", "memory_file_writeback_bytes"),
    _memory("pgscan_total", "Pages scanned.", "memory_scanned_pages", COUNTER),
    _memory("pgsteal_total", "Pages reclaimed.", "memory_reclaimed_pages", COUNTER),
    _memory("workingset_refault_file_total", "File refaults.", "memory_refaults_file", COUNTER),
    _memory("workingset_refault_anon_total", "Anon refaults.", "memory_refaults_anon", COUNTER),
    _memory("events_high_total", "memory.high breaches.", "memory_events_high", COUNTER),
    _memory("events_max_total", "memory.max limit hits.", "memory_events_max", COUNTER),
    Family(
        "container_memory_failcnt",
        COUNTER,
        "Limit hits.",
        ("memory_failures", "memory_events_max"),
        _limit_hits,
    ),
    Family(
        "container_memory_failures_total",
        COUNTER,
        "Page faults, by failure_type pgfault or pgmajfault.",
        ("memory_page_faults", "memory_major_page_faults"),
        _faults,
    ),
    Family(
        "container_memory_migrate",
        GAUGE,
        "1 where memory follows a change of cpuset.mems.",
        ("cpuset_memory_migrate",),
        _value("cpuset_more.memory_migrate"),
        "cpuset_requested",
    ),
    Family(
        "container_memory_numa_pages",
        GAUGE,
        "Pages on each NUMA node.",
        ("memory_numa_anon_bytes",),
        _numa_pages,
        "memory_numa",
    ),
    Family(
        "container_oom_events_total",
        COUNTER,
        "Processes killed by the OOM killer.",
        ("memory_events_oom_kill",),
        _oom,
    ),
    *(
        _pressure(resource_name, kind)
        for resource_name in ("cpu", "memory", "io")
        for kind in ("stalled", "waiting")
    ),
    _io("reads_bytes", "Bytes read.", "io_read_bytes"),
    _io("writes_bytes", "Bytes written.", "io_written_bytes"),
    _io("reads", "Reads completed.", "io_reads"),
    _io("writes", "Writes completed.", "io_writes"),
    _io_cost("usage", "Device time used, by io.cost."),
    _io_cost("wait", "Time waited for the device, by io.cost."),
    _io_cost("indebt", "Time in debt, by io.cost."),
    _io_cost("indelay", "Time slowed down for debt, by io.cost."),
    Family(
        "container_blkio_device_usage_total",
        COUNTER,
        "Bytes by device and operation.",
        ("io_read_bytes", "io_written_bytes"),
        _device_usage,
    ),
    Family(
        "container_processes",
        GAUGE,
        "Processes in the cgroup itself.",
        ("processes",),
        _value("processes.processes"),
    ),
    Family("container_threads", GAUGE, "Threads.", ("pids_current",), _value("pids.current")),
    Family(
        "container_threads_max",
        GAUGE,
        "Limit of threads; 0 is none.",
        ("pids_max",),
        _value("pids.max", _none_is_zero),
    ),
    _network("receive_bytes", "Bytes received.", "network_receive_bytes"),
    _network("receive_packets", "Packets received.", "network_receive_packets"),
    _network("receive_packets_dropped", "Received packets dropped.", "network_receive_drops"),
    _network("receive_errors", "Bad packets received.", "network_receive_errors"),
    _network("transmit_bytes", "Bytes sent.", "network_transmit_bytes"),
    _network("transmit_packets", "Packets sent.", "network_transmit_packets"),
    _network("transmit_packets_dropped", "Packets dropped unsent.", "network_transmit_drops"),
    _network("transmit_errors", "Packets that could not be sent.", "network_transmit_errors"),
    Family(
        "container_hugetlb_usage_bytes",
        GAUGE,
        "Huge pages in use.",
        ("hugetlb_current_bytes",),
        _each_size("current_bytes"),
        "hugetlb",
    ),
    Family(
        "container_hugetlb_max_usage_bytes",
        GAUGE,
        "Most huge pages in use.",
        ("hugetlb_peak_bytes",),
        _each_size("peak_bytes"),
        "hugetlb",
    ),
    Family(
        "container_hugetlb_failcnt",
        COUNTER,
        "Limit hits of huge pages.",
        ("hugetlb_events_max",),
        _each_size("events_max"),
        "hugetlb",
    ),
    Family("container_creation_time_seconds", GAUGE, "When the cgroup was made.", (), _birth),
    Family("container_start_time_seconds", GAUGE, "When the cgroup was made.", (), _birth),
    Family(
        "container_spec_cpu_period",
        GAUGE,
        "Enforcement period of the CPU limit in microseconds.",
        ("cpu_period_seconds",),
        _value("cpu.period_seconds", lambda seconds: round(seconds * MICROSECONDS)),
    ),
    Family(
        "container_spec_cpu_quota",
        GAUGE,
        "CPU limit in microseconds a period.",
        ("cpu_limit_cores", "cpu_period_seconds"),
        _quota,
    ),
    Family(
        "container_spec_cpu_shares",
        GAUGE,
        "CPU shares; on v2 converted from the weight.",
        ("cpu_shares", "cpu_weight"),
        _shares,
    ),
    Family(
        "container_spec_memory_limit_bytes",
        GAUGE,
        "Memory limit; 0 is none.",
        ("memory_max_bytes",),
        _memory_limit,
    ),
    Family(
        "container_spec_memory_swap_limit_bytes",
        GAUGE,
        "Swap limit, on v1 with memory; 0 is none.",
        ("memory_swap_max_bytes", "memory_max_bytes", "memory_high_bytes"),
        _swap_limit,
    ),
    Family(
        "container_spec_memory_reservation_limit_bytes",
        GAUGE,
        "memory.min, on v1 the soft limit; 0 is none.",
        ("memory_min_bytes", "memory_soft_limit_bytes"),
        _reservation,
    ),
)
# Families about the machine and the exporter, by name: kind and help.
MACHINE: Mapping[str, str] = {
    "machine_cpu_cores": "CPUs that are online.",
    "machine_memory_bytes": "Memory of the machine.",
    "machine_swap_bytes": "Swap of the machine.",
    "machine_scrape_error": "1 where the machine's facts could not be read.",
    "container_scrape_error": "Always 0: a scan that fails gives no page.",
    "cadvisor_version_info": "The kernel; cadvisorVersion is cgexporter's.",
}


class Names(NamedTuple):
    """The labels of a row beside `id`, "" where unknown, as the kubelet has them."""

    container: str = ""
    image: str = ""
    name: str = ""
    namespace: str = ""
    pod: str = ""


def names_of(subject: Container | Pod | Cgroup) -> Names:
    """What is known of a container, sandbox, pod or cgroup.

    In a pod `name` is the container's ID, as the kubelet has it; elsewhere its name, as
    cAdvisor by itself has it for Docker.
    """
    if isinstance(subject, Cgroup):
        return Names()
    facts = subject.facts
    namespace, pod = facts.namespace or "", facts.pod or ""
    if isinstance(subject, Pod):
        return Names(namespace=namespace, pod=pod)
    in_pod = subject.qos_class is not None
    known = (subject.container_id, subject.name) if in_pod else (subject.name, subject.container_id)
    return Names(
        container=subject.name or "" if in_pod and not facts.sandbox else "",
        image=facts.image or "",
        name=next(filter(None, known), ""),
        namespace=namespace,
        pod=pod,
    )


@dataclass(slots=True)
class _Row:
    """One cgroup's labels, as text without the closing brace."""

    identity: tuple[object, ...]
    before: str
    after: str


@dataclass(slots=True)
class CadvisorPublisher:
    """Renders views with cAdvisor's names.

    Args:
        families: those to serve.
        version: of this program.
    """

    families: Sequence[Family]
    version: str
    _rows: dict[str, _Row] = field(default_factory=dict)

    @property
    def needs(self) -> set[str]:
        """Rows of our table whose files must be read."""
        return {name for family in self.families for name in family.needs}

    def render(self, view: View, births: Mapping[str, float], form: Format) -> str:
        """Render all families, without ``# EOF``."""
        host = Host(view.snapshot, births)
        rows: dict[str, _Row] = {}
        subjects: list[tuple[_Row, Cgroup]] = []
        for subject, cgroup in _subjects(view):
            names = names_of(subject)
            row = self._rows.get(cgroup.path)
            if row is None or row.identity != names:
                row = _row(names, cgroup.path)
            rows[cgroup.path] = row
            subjects.append((row, cgroup))
        self._rows = rows
        parts: list[str] = []
        for family in self.families:
            lines = [
                f"{family.name}{_labels(row, pairs)} {_number(value)}\n"
                for row, cgroup in subjects
                for pairs, value in family.values(cgroup, host)
                if value is not None
            ]
            if lines:
                parts.append(_header(family.name, family.kind, family.help, form))
                parts += lines
        parts.extend(self._machine(view.snapshot, form))
        return "".join(parts)

    def _machine(self, snapshot: Snapshot, form: Format) -> Iterator[str]:
        machine = snapshot.machine
        boot = label_value(machine.boot_id or "")
        labels = f'{{boot_id="{boot}",machine_id="",system_uuid=""}}'
        cpus, memory, swap = machine.cpus, machine.memory.mem_total, machine.memory.swap_total
        version = (
            f'{{cadvisorRevision="",cadvisorVersion="{self.version}",dockerVersion="",'
            f'kernelVersion="{label_value(machine.kernel or "")}",osVersion=""}}'
        )
        samples = {
            "machine_cpu_cores": (labels, cpus),
            "machine_memory_bytes": (labels, memory),
            "machine_swap_bytes": (labels, swap),
            "machine_scrape_error": ("", int(cpus is None or memory is None)),
            "container_scrape_error": ("", 0),
            "cadvisor_version_info": (version, 1),
        }
        for name, (labelled, value) in samples.items():
            if value is not None:
                yield _header(name, GAUGE, MACHINE[name], form)
                yield f"{name}{labelled} {value}\n"


def _header(name: str, kind: Kind, text: str, form: Format) -> str:
    if form is Format.OPENMETRICS and name.endswith("_total"):
        return header(name.removesuffix("_total"), kind, "", text, form)
    if form is Format.OPENMETRICS and kind is COUNTER:
        # Its samples would have to end in _total.
        return f"# HELP {name} {text}\n# TYPE {name} unknown\n"
    return f"# HELP {name} {text}\n# TYPE {name} {kind.value}\n"


def _number(value: float) -> str:
    return "+Inf" if value == math.inf else repr(value)


# Labels are in alphabetical order, as the kubelet writes them.
_BEFORE = ("container",)
_AFTER = ("id", "image", "name", "namespace", "pod")


def _row(names: Names, path: str) -> _Row:
    known = {**names._asdict(), "id": path}
    before, after = (
        ",".join(f'{name}="{label_value(known[name])}"' for name in part)
        for part in (_BEFORE, _AFTER)
    )
    return _Row(names, before, after)


def _labels(row: _Row, pairs: Pairs) -> str:
    more = "".join(f',{name}="{label_value(value)}"' for name, value in pairs)
    return f"{{{row.before}{more},{row.after}}}"


def _subjects(view: View) -> Iterator[tuple[Container | Pod | Cgroup, Cgroup]]:
    for container in view.containers:
        yield container, container.cgroup
    # The kubelet has a pod's network on the row of its sandbox.
    sandboxed = {one.cgroup.path.rpartition("/")[0]: one for one in view.sandboxes}
    for pod in view.pods:
        if pod.cgroup.network and pod.cgroup.path in sandboxed:
            sandbox = sandboxed.pop(pod.cgroup.path)
            yield sandbox, sandbox.cgroup.changed(network=pod.cgroup.network)
            yield pod, pod.cgroup.changed(network=None)
        else:
            yield pod, pod.cgroup
    for sandbox in sandboxed.values():
        yield sandbox, sandbox.cgroup
    for cgroup in view.cgroups:
        yield cgroup, cgroup
