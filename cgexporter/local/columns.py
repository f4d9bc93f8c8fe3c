"""The columns of a table of containers: what each says, sorts by, and when it gives way."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from cgexporter.correlate.facts import Key
from cgexporter.correlate.view import Container, View
from cgexporter.local.rates import Rates, oom_kills, total
from cgexporter.local.text import ABSENT, duration, plain, printable, share, size

# Of its limit: worth a look, and harm.
_MUCH, _TOO_MUCH = 0.8, 0.95
_THROTTLED, _MUCH_THROTTLED = 0.05, 0.25


class Row(NamedTuple):
    """One container, and what happened in it since the scan before, where there was one."""

    container: Container
    rates: Rates | None = None


class Column(NamedTuple):
    """One column.

    Attributes:
        key: names it for --sort.
        title: its head; `rate_title` where rates are shown.
        cell: its text.
        value: what it is sorted by; None is last.
        style: for a terminal; "" is plain.
        rank: where there is no room, the columns with the highest give way.
    """

    key: str
    title: str
    cell: Callable[[Row], str]
    value: Callable[[Row], float | str | None]
    rank: int
    left: bool = False
    rate_title: str = ""
    style: Callable[[Row], str] = lambda _: ""


def pod_of(container: Container) -> str | None:
    """The name of its pod, with the namespace; its UID where that is all that is known."""
    facts = container.facts
    named = "/".join(part for part in (facts.namespace, facts.pod) if part)
    return named or container.place.pod_uid


def _cpu(row: Row) -> float | None:
    if row.rates is not None:
        return row.rates.cpu_cores
    cpu = row.container.cgroup.cpu
    return cpu.usage_seconds if cpu else None


def _cpu_cell(row: Row) -> str:
    return duration(_cpu(row)) if row.rates is None else plain(_cpu(row), 2)


def _cpu_limit(row: Row) -> float | None:
    cpu = row.container.cgroup.cpu
    return cpu.limit_cores if cpu else None


def _throttled(row: Row) -> float | None:
    if row.rates is not None:
        return row.rates.throttled
    cpu = row.container.cgroup.cpu
    return cpu.throttled_seconds if cpu else None


def _throttled_cell(row: Row) -> str:
    return duration(_throttled(row)) if row.rates is None else plain(_throttled(row), 2)


def _periods(row: Row) -> tuple[float | None, float | None]:
    if row.rates is not None:
        return row.rates.throttled_periods, row.rates.periods
    cpu = row.container.cgroup.cpu
    return (cpu.throttled_periods, cpu.periods) if cpu else (None, None)


def _periods_share(row: Row) -> float | None:
    part, whole = _periods(row)
    return part / whole if part is not None and whole else None


def _memory(row: Row) -> float | None:
    memory = row.container.cgroup.memory
    return memory.working_set_bytes if memory else None


def _memory_limit(row: Row) -> float | None:
    memory = row.container.cgroup.memory
    return memory.max_bytes if memory else None


def _used(row: Row) -> float | None:
    used, limit = _memory(row), _memory_limit(row)
    return used / limit if used is not None and limit and limit != math.inf else None


def _read(row: Row) -> float | None:
    return row.rates.read_bytes if row.rates else total(row.container.cgroup, "read_bytes")


def _written(row: Row) -> float | None:
    return row.rates.written_bytes if row.rates else total(row.container.cgroup, "written_bytes")


def _tasks(row: Row) -> float | None:
    pids = row.container.cgroup.pids
    return pids.current if pids else None


def _tasks_limit(row: Row) -> float | None:
    pids = row.container.cgroup.pids
    return pids.max if pids else None


def _graded(value: float | None, much: float, too_much: float) -> str:
    if value is None or value < much:
        return ""
    return "bold red" if value >= too_much else "yellow"


def _used_cell(row: Row) -> str:
    limit = _memory_limit(row)
    return ABSENT if limit == math.inf else share(_memory(row), limit)


def _shown(text: str | None) -> str:
    return printable(text or ABSENT)


COLUMNS: Sequence[Column] = (
    Column("name", "CONTAINER", lambda r: _shown(r.container.title),
           lambda r: r.container.title, 0, left=True),
    Column("image", "IMAGE", lambda r: _shown(r.container.facts.image),
           lambda r: r.container.facts.image, 13, left=True),
    Column("runtime", "RUNTIME", lambda r: r.container.runtime or ABSENT,
           lambda r: r.container.runtime, 12, left=True),
    Column("pod", "POD", lambda r: _shown(pod_of(r.container)),
           lambda r: pod_of(r.container), 5, left=True),
    Column("qos", "QOS", lambda r: r.container.qos_class or ABSENT,
           lambda r: r.container.qos_class, 11, left=True),
    Column("cpu", "CPU", _cpu_cell, _cpu, 1, rate_title="CORES"),
    Column("cpu-limit", "LIMIT", lambda r: plain(_cpu_limit(r), 2), _cpu_limit, 3),
    Column("throttled", "THROTTLED", _throttled_cell, _throttled, 10, rate_title="THROTTLED/s"),
    Column("periods", "PERIODS", lambda r: share(*_periods(r)), _periods_share, 4,
           style=lambda r: _graded(_periods_share(r), _THROTTLED, _MUCH_THROTTLED)),
    Column("memory", "MEMORY", lambda r: size(_memory(r)), _memory, 1),
    Column("memory-limit", "LIMIT", lambda r: size(_memory_limit(r)), _memory_limit, 3),
    Column("used", "USED", _used_cell, _used, 2,
           style=lambda r: _graded(_used(r), _MUCH, _TOO_MUCH)),
    Column("oom", "OOM KILLS", lambda r: plain(oom_kills(r.container.cgroup)),
           lambda r: oom_kills(r.container.cgroup), 6,
           style=lambda r: "bold red" if oom_kills(r.container.cgroup) else ""),
    Column("read", "READ", lambda r: size(_read(r)), _read, 8, rate_title="READ/s"),
    Column("written", "WRITTEN", lambda r: size(_written(r)), _written, 9,
           rate_title="WRITTEN/s"),
    Column("tasks", "TASKS", lambda r: plain(_tasks(r)), _tasks, 7),
    Column("tasks-limit", "LIMIT", lambda r: plain(_tasks_limit(r)), _tasks_limit, 7),
)  # fmt: skip
SORT_KEYS = tuple(column.key for column in COLUMNS)


def ordered(rows: Sequence[Row], key: str) -> list[Row]:
    """Rows by one column: names from A on, numbers from the largest down, unknown last."""
    column = next(column for column in COLUMNS if column.key == key)

    def order(row: Row) -> tuple[bool, float | str, str]:
        value = column.value(row)
        title = row.container.title
        if value is None:
            return (True, "" if column.left else 0.0, title)
        return (False, value if isinstance(value, str) else -value, title)

    return sorted(rows, key=order)


def rows_of(view: View, rates: Mapping[Key, Rates] | None, sort: str | None) -> list[Row]:
    """The rows of a view.

    Args:
        view: what to show.
        rates: since the scan before; None where there was none.
        sort: key of the column to sort by; None is by cgroup.
    """
    rows = [
        Row(c, None if rates is None else rates.get((c.cgroup.path, c.cgroup.inode), Rates()))
        for c in view.containers
    ]
    return ordered(rows, sort) if sort else rows


def sorted_view(view: View, rates: Mapping[Key, Rates] | None, sort: str | None) -> View:
    """A view with its containers in the order of a column."""
    return replace(view, containers=[row.container for row in rows_of(view, rates, sort)])
