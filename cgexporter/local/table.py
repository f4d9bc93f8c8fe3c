"""``--once``: the containers of this host as a table for people."""

import io
import math
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cgexporter.correlate.identity import Container, View
from cgexporter.exporter import support_reason
from cgexporter.model import Cgroup

# A pipe has no width: rows stay whole, for grep.
_PIPE_WIDTH = 4000
_ABSENT = "-"
_UNLIMITED = "max"

# Files whose absence takes something out of the table, and what would bring it.
_HINTS = {
    "psi disabled": "boot with psi=1",
    "permission denied": "run as root",
}


def size(count: float | None) -> str:
    """Bytes with a binary unit: 1536 is 1.5Ki."""
    if count is None:
        return _ABSENT
    if count == math.inf:
        return _UNLIMITED
    for unit in ("", "Ki", "Mi", "Gi", "Ti", "Pi"):
        if count < 1024 or unit == "Pi":
            break
        count /= 1024
    return f"{count:.0f}{unit}" if not unit or count >= 100 else f"{count:.1f}{unit}"


def plain(value: float | None, digits: int = 0) -> str:
    """A number, `-` where absent, `max` where unlimited."""
    if value is None:
        return _ABSENT
    return _UNLIMITED if value == math.inf else f"{value:.{digits}f}"


def duration(seconds: float | None) -> str:
    """Seconds to two places below a minute, then minutes or hours."""
    if seconds is None:
        return _ABSENT
    if round(seconds, 2) < 60:
        return f"{seconds:.2f}s"
    if round(seconds / 60, 1) < 60:
        return f"{seconds / 60:.1f}m"
    return f"{seconds / 3600:.1f}h"


def share(part: float | None, whole: float | None) -> str:
    """A part of a whole in percent; `-` without either, or of nothing."""
    if part is None or not whole:
        return _ABSENT
    return f"{100 * part / whole:.0f}%"


def printable(text: str) -> str:
    """A name as it may be shown: control and undecodable characters become U+FFFD.

    Names come from containers; one of them may hold escape sequences for the terminal.
    """
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


COLUMNS = (
    "CONTAINER", "IMAGE", "RUNTIME", "POD", "QOS", "CPU", "LIMIT", "THROTTLED", "PERIODS", "MEMORY",
    "LIMIT", "USED", "OOM KILLS", "READ", "WRITTEN", "TASKS", "LIMIT",
)  # fmt: skip
_LEFT = 5  # columns of names


def row(container: Container) -> Sequence[str]:
    """One container's cells, in the order of COLUMNS."""
    facts, cgroup = container.facts, container.cgroup
    pod = "/".join(part for part in (facts.namespace, facts.pod) if part) or container.place.pod_uid
    cpu, memory, pids = cgroup.cpu, cgroup.memory, cgroup.pids
    limit = memory.max_bytes if memory else None
    working_set = memory.working_set_bytes if memory else None
    kills = (memory.events_oom_kill, memory.events_local_oom_kill) if memory else (None,)
    return (
        printable(container.title),
        printable(facts.image or _ABSENT),
        container.runtime or _ABSENT,
        printable(pod or _ABSENT),
        container.qos_class or _ABSENT,
        duration(cpu.usage_seconds if cpu else None),
        plain(cpu.limit_cores if cpu else None, 2),
        duration(cpu.throttled_seconds if cpu else None),
        share(cpu.throttled_periods, cpu.periods) if cpu else _ABSENT,
        size(working_set),
        size(limit),
        _ABSENT if limit == math.inf else share(working_set, limit),
        plain(next((count for count in kills if count is not None), None)),
        size(_total(cgroup, "read_bytes")),
        size(_total(cgroup, "written_bytes")),
        plain(pids.current if pids else None),
        plain(pids.max if pids else None),
    )


def _total(cgroup: Cgroup, counter: str) -> int | None:
    if cgroup.io is None:
        return None
    return sum(getattr(device, counter) or 0 for device in cgroup.io)


def notes(view: View, missing: Mapping[str, str] = MappingProxyType({})) -> list[str]:
    """What could not be read, and what would change that.

    Args:
        view: what is shown.
        missing: by source of names, what it was denied.
    """
    lines = []
    by_reason: dict[str, list[str]] = {}
    for file in view.snapshot.files:
        reason = support_reason(view.snapshot, file)
        if reason in _HINTS:
            by_reason.setdefault(reason, []).append(file)
    for reason, files in sorted(by_reason.items()):
        lines.append(f"not shown, {reason} ({_HINTS[reason]}): {', '.join(files)}")
    if view.denied:
        lines.append(
            "not shown, permission denied (run as root with SYS_PTRACE): "
            "namespaces of other users' processes"
        )
    if view.snapshot.dropped:
        lines.append(f"{view.snapshot.dropped} cgroups left out: raise --scan.max-cgroups")
    if view.snapshot.skipped:
        lines.append(f"{view.snapshot.skipped} cgroups could not be read: see the log")
    if any(c.name is None for c in view.containers):
        lines.append(
            "names of some containers are not known: they go by their IDs; "
            "docs/IDENTITY.md says what would tell them"
        )
    lines += [f"names from {source}: {why}" for source, why in sorted(missing.items())]
    return lines


def rendered(print_to: Callable[[Console, bool], None]) -> str:
    """What is printed to a console; coloured and as wide as the terminal where there is one."""
    terminal = sys.stdout.isatty()
    output = io.StringIO()
    console = Console(
        file=output,
        force_terminal=terminal,
        no_color="NO_COLOR" in os.environ or None,
        width=shutil.get_terminal_size().columns if terminal else _PIPE_WIDTH,
        highlight=False,
        emoji=False,
        markup=False,
    )
    print_to(console, terminal)
    return "\n".join(line.rstrip() for line in output.getvalue().split("\n"))


def grid(columns: Sequence[str], left: int, terminal: bool) -> Table:
    """A table without lines in a pipe; the first `left` columns are names."""
    empty = Table(box=box.SIMPLE_HEAD if terminal else None, pad_edge=False)
    for number, name in enumerate(columns):
        empty.add_column(name, justify="left" if number < left else "right", no_wrap=True)
    return empty


def table(view: View, missing: Mapping[str, str] = MappingProxyType({})) -> str:
    """The table and its notes.

    Args:
        view: what to show.
        missing: by source of names, what it was denied.
    """

    def print_to(console: Console, terminal: bool) -> None:
        host = view.snapshot
        if not view.containers:
            console.print(f"No containers on this host ({host.mode.value} cgroups).")
        else:
            rows = grid(COLUMNS, _LEFT, terminal)
            for container in view.containers:
                rows.add_row(*(Text(cell) for cell in row(container)))
            console.print(rows)
        for line in notes(view, missing):
            console.print(Text(line, style="dim"))

    return rendered(print_to)
