"""``cgexporter inspect`` for people: one container on a page."""

import math
from collections.abc import Iterator, Mapping, Sequence

from rich.console import Console
from rich.text import Text

from cgexporter.correlate.processes import KINDS
from cgexporter.exporter import MISSING
from cgexporter.local.columns import pod_of
from cgexporter.local.inspection import Inspection
from cgexporter.local.namespaces import cell
from cgexporter.local.rates import oom_kills, total
from cgexporter.local.table import rendered
from cgexporter.local.text import (
    ABSENT,
    columns_of,
    duration,
    padded,
    plain,
    printable,
    share,
    shortened,
    size,
)
from cgexporter.model.pressure import Pressure

Pairs = Iterator[tuple[str, str]]


def _who(it: Inspection) -> Pairs:
    container = it.container
    facts, process = container.facts, container.process
    yield "id", container.container_id or container.id or ABSENT
    if pod := pod_of(container):
        yield "pod", f"{pod} ({container.qos_class or 'QoS class not known'})"
    if facts.image:
        yield "image", f"{facts.image} (registry {it.registry or 'not known'})"
    yield "runtime", container.runtime or "not known"
    if it.oci_runtime:
        yield "set up by", it.oci_runtime
    if it.started_by:
        yield "started by", " < ".join(f"{p.comm} {p.pid}" for p in it.started_by)
    if it.daemons:
        yield "engines here", ", ".join(f"{p.comm} {p.pid}" for p in it.daemons)
    if facts.restart_count is not None:
        yield "restarts", str(facts.restart_count)
    if facts.compose_project:
        yield "compose", f"{facts.compose_project} {facts.compose_service or ''}"
    if facts.owner_kind:
        yield "owner", f"{facts.owner_kind} {facts.owner_name}"
    if process is not None:
        yield "oom_score_adj", plain(process.oom_score_adj)
    yield "cgroup", container.cgroup.path


def _amount(kind: str, value: float | None) -> str:
    if kind == "memory":
        return size(value)
    return plain(value, 2 if kind == "cpu" else 0)


def _limits(it: Inspection) -> Pairs:
    for limit in it.limits:
        own, effective = (_amount(limit.kind, n) for n in (limit.own, limit.effective))
        setter = limit.file or limit.by
        yield limit.kind, f"{effective} (own {own})" + (f", set by {setter}" if setter else "")


def _ancestors(it: Inspection) -> Iterator[Sequence[str]]:
    yield ("CGROUP", "CPU", "WEIGHT", "PERIODS", "MEMORY", "MAX", "HIGH", "TASKS", "MAX", "OOM")
    for depth, cgroup in enumerate(it.ancestors):
        cpu, memory, pids = cgroup.cpu, cgroup.memory, cgroup.pids
        weight = (cpu.weight if cpu.weight is not None else cpu.shares) if cpu else None
        yield (
            "  " * depth + (cgroup.path.rpartition("/")[2] or "/"),
            plain(cpu.limit_cores if cpu else None, 2),
            plain(weight),
            share(cpu.throttled_periods, cpu.periods) if cpu else ABSENT,
            size(memory.working_set_bytes if memory else None),
            size(memory.max_bytes if memory else None),
            size(memory.high_bytes if memory else None),
            plain(pids.current if pids else None),
            plain(pids.max if pids else None),
            plain(oom_kills(cgroup)),
        )


def _usage(it: Inspection) -> Pairs:
    cgroup, rates = it.container.cgroup, it.rates
    cpu, memory, pids = cgroup.cpu, cgroup.memory, cgroup.pids
    if cpu is not None:
        now = "" if rates is None else f", now {plain(rates.cpu_cores, 2)} cores"
        parts = f"{duration(cpu.user_seconds)} user, {duration(cpu.system_seconds)} system"
        yield "cpu", f"{duration(cpu.usage_seconds)} ({parts}){now}"
    if memory is not None:
        yield (
            "memory",
            (
                f"{size(memory.working_set_bytes)} working set of {size(memory.current_bytes)} "
                f"charged, peak {size(memory.peak_bytes)}: {size(memory.anon_bytes)} anonymous, "
                f"{size(memory.file_bytes)} page cache, swap {size(memory.swap_current_bytes)}"
            ),
        )
    if cgroup.io:
        now = f", now {size(rates.read_bytes)}/s and {size(rates.written_bytes)}/s" if rates else ""
        done = (total(cgroup, "read_bytes"), total(cgroup, "written_bytes"))
        yield "block I/O", f"{size(done[0])} read, {size(done[1])} written{now}"
    if cgroup.cpuset is not None and cgroup.cpuset.cpus:
        yield "may use", f"{cgroup.cpuset.cpus} CPUs"
    if pids is not None:
        yield "tasks", f"{plain(pids.current)} of {plain(pids.max)}, peak {plain(pids.peak)}"


def _waits(pressure: Pressure) -> Pairs:
    for kind in ("cpu", "memory", "io"):
        waiting = getattr(pressure, f"{kind}_waiting_seconds")
        stalled = getattr(pressure, f"{kind}_stalled_seconds")
        if waiting is not None:
            yield f"{kind} pressure", f"{duration(waiting)} waiting, {duration(stalled)} stalled"


def _events(it: Inspection) -> Pairs:
    cgroup, rates = it.container.cgroup, it.rates
    cpu, memory, pids = cgroup.cpu, cgroup.memory, cgroup.pids
    recent = f" in the last {it.seconds:.1f} s" if rates is not None else ""
    if cpu is not None and cpu.periods:
        now = ""
        if rates is not None and rates.periods:
            now = f"; {share(rates.throttled_periods, rates.periods)}{recent}"
        yield (
            "throttled",
            (
                f"{share(cpu.throttled_periods, cpu.periods)} of {cpu.periods} periods, "
                f"{duration(cpu.throttled_seconds)}{now}"
            ),
        )
    if memory is not None:
        now = "" if rates is None else f"; {plain(rates.oom_kills)}{recent}"
        yield "OOM kills", f"{plain(oom_kills(cgroup))}{now}"
        counts = {"low": memory.events_low, "high": memory.events_high, "max": memory.events_max}
        if known := [f"{n} {name}" for name, n in counts.items() if n]:
            yield "memory events", ", ".join(known)
        if memory.failures:
            yield "memory limit hit", f"{memory.failures} times"
    if pids is not None and pids.events_max:
        yield "forks refused", f"{pids.events_max}"
    if cgroup.core is not None and cgroup.core.frozen:
        yield "frozen", "yes"


def _shared(it: Inspection) -> Pairs:
    member = it.member
    if member is None:
        yield "namespaces", "no process of it may be read"
        return
    for kind in KINDS:
        namespace = member.namespaces.get(kind)
        inode = "" if namespace is None or namespace.inode is None else f" ({namespace.inode})"
        others = "" if namespace is None else ", ".join(map(printable, namespace.containers))
        yield kind, f"{cell(namespace)}{inode}{': ' + others if len(others) > 12 else ''}"
    if member.root_uid is not None:
        yield "root is", f"uid {member.root_uid} on the host"


def _network(it: Inspection) -> Pairs:
    if it.network is None:
        return
    ends = {end.interface: end for end in it.network.ends}
    for each in it.interfaces:
        end = ends.get(each.interface)
        where = "" if end is None else f", ends at {end.host_interface}"
        where += f" on {end.bridge}" if end and end.bridge else ""
        dropped = each.receive_drops + each.transmit_drops
        yield (
            each.interface,
            (
                f"{size(each.receive_bytes)} received, {size(each.transmit_bytes)} sent, "
                f"{dropped} dropped{where}"
            ),
        )
    if it.rates is not None and it.rates.received_bytes is not None:
        yield (
            "now",
            f"{size(it.rates.received_bytes)}/s received, {size(it.rates.sent_bytes)}/s sent",
        )


def _grid(rows: Sequence[Sequence[str]], width: int | None) -> Iterator[Text]:
    """Rows under a head; the first column is cut where there is no room."""
    shown = [[printable(cell) for cell in row] for row in rows]
    wide = [max(columns_of(row[n]) for row in shown) for n in range(len(shown[0]))]
    if width is not None:
        excess = 2 * len(wide) + sum(wide) - width
        wide[0] = max(12, wide[0] - max(0, excess))
    for number, row in enumerate(shown):
        cells = [
            padded(shortened(text, wide[place]), wide[place], place == 0)
            for place, text in enumerate(row)
        ]
        yield Text("  " + "  ".join(cells).rstrip(), style="" if number else "bold")


def _section(title: str, pairs: Pairs, width: int | None) -> Iterator[Text]:
    """A heading and what stands below it; nothing where that is nothing."""
    found = [(name, printable(text)) for name, text in pairs]
    if not found:
        return
    yield Text()
    yield Text(title, style="bold")
    left = max(columns_of(name) for name, _ in found)
    for name, text in found:
        for number, line in enumerate(_wrapped(text, width, left + 4)):
            yield Text(f"  {padded('' if number else name, left, True)}  {line}")


def _page(it: Inspection, width: int | None) -> Iterator[Text]:
    pressure = it.container.cgroup.pressure
    yield Text(printable(it.container.title), style="bold underline")
    yield from _section("Who", _who(it), width)
    yield from _section("Limits", _limits(it), width)
    yield Text()
    yield from _grid(list(_ancestors(it)), width)
    yield from _section("Use", _usage(it), width)
    yield from _section("Waits", _waits(pressure) if pressure else iter(()), width)
    yield from _section("Events", _events(it), width)
    yield from _section("Namespaces", _shared(it), width)
    yield from _section("Network", _network(it), width)


def page(inspected: Sequence[Inspection], unsupported: Mapping[str, str]) -> str:
    """One page for each container, then what could not be seen."""

    def print_to(console: Console, terminal: bool) -> None:
        width = console.width if terminal else None
        for number, it in enumerate(inspected):
            if number:
                console.print()
            for line in _page(it, width):
                console.print(line, soft_wrap=True)
        for file in sorted(unsupported):
            console.print(Text(f"{unsupported[file]}: {MISSING[file]}", style="dim"))

    return rendered(print_to)


def _wrapped(text: str, width: int | None, indent: int) -> Iterator[str]:
    """A text in lines that fit; words that do not fit are broken, so that nothing is lost."""
    room = math.inf if width is None else max(20, width - indent)
    line = ""
    for word in text.split(" "):
        rest = word
        if line and columns_of(f"{line} {rest}") > room:
            yield line
            line = ""
        while columns_of(rest) > room:
            head = rest[: int(room) - (len(line) + 1 if line else 0)]
            yield f"{line} {head}" if line else head
            line, rest = "", rest[len(head) :]
        line = f"{line} {rest}" if line else rest
    yield line
