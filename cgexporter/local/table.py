"""``--once``: the containers of this host as a table for people."""

import io
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from types import MappingProxyType

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cgexporter.correlate.facts import Key
from cgexporter.correlate.view import Container, View
from cgexporter.exporter import support_reason
from cgexporter.local.columns import COLUMNS as ALL
from cgexporter.local.columns import Column, Row, rows_of
from cgexporter.local.rates import Rates
from cgexporter.local.text import ABSENT, columns_of, padded, printable, shortened

# A pipe has no width: rows stay whole, for grep.
_PIPE_WIDTH = 4000
_GAP = 2
# A name is cut before a number is left out, but not below this.
_LEAST_NAME = 16

# Files whose absence takes something out of the table, and what would bring it.
_HINTS = {
    "psi disabled": "boot with psi=1",
    "permission denied": "run as root",
}
COLUMNS = tuple(column.title for column in ALL)


def row(container: Container) -> Sequence[str]:
    """One container's cells, in the order of COLUMNS."""
    return tuple(column.cell(Row(container)) for column in ALL)


def _fit(
    columns: Sequence[Column], empty: AbstractSet[Column], widths: Mapping[Column, int], width: int
) -> tuple[list[Column], dict[Column, int]]:
    """The columns that there is room for, and how wide each is; those that say nothing go first."""
    kept = list(columns)
    if sum(widths[column] + _GAP for column in kept) - _GAP > width:
        kept = [column for column in kept if column not in empty]
    wide = dict(widths)

    def excess() -> int:
        return sum(wide[column] + _GAP for column in kept) - _GAP - width

    while excess() > 0:
        # First what says least; from then on long names give way before numbers do.
        last = max(kept, key=lambda column: column.rank)
        names = [column for column in kept if column.left and wide[column] > _LEAST_NAME]
        if names and last.rank < 11:
            longest = max(names, key=lambda column: wide[column])
            wide[longest] -= min(excess(), wide[longest] - _LEAST_NAME)
        elif last.rank:
            kept = [column for column in kept if column.rank != last.rank]
        else:
            wide[kept[0]] = max(1, width)
            break
    return kept, wide


def lines(rows: Sequence[Row], width: int | None, sort: str | None = None) -> list[Text]:
    """A table's lines, its head first.

    Args:
        rows: what to show.
        width: of the terminal; None is no bound.
        sort: key of the column to mark as the one that is sorted by.
    """
    rated = any(row.rates is not None for row in rows)
    cells = {column: [column.cell(row) for row in rows] for column in ALL}
    titles = {column: (column.rate_title if rated else "") or column.title for column in ALL}
    widths = {
        column: max(map(columns_of, (titles[column], *cells[column])), default=0) for column in ALL
    }
    empty = {column for column in ALL if set(cells[column]) <= {ABSENT} and column.rank}
    kept, wide = (list(ALL), widths) if width is None else _fit(ALL, empty, widths, width)
    head = Text()
    for column in kept:
        style = "bold underline" if column.key == sort else "bold"
        head.append(
            padded(shortened(titles[column], wide[column]), wide[column], column.left), style
        )
        head.append(" " * _GAP)
    head.rstrip()
    found = [head]
    for number, row in enumerate(rows):
        line = Text()
        for column in kept:
            text = padded(shortened(cells[column][number], wide[column]), wide[column], column.left)
            line.append(text, column.style(row) or None)
            line.append(" " * _GAP)
        line.rstrip()
        found.append(line)
    return found


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


def in_ascii() -> bool:
    """Whether the locale has ASCII alone: then so has the output."""
    names = (os.environ.get(name) for name in ("LC_ALL", "LC_CTYPE", "LANG"))
    name = next((name for name in names if name), "C")
    # Python itself sets LC_CTYPE so in the C locale (PEP 538).
    coerced = name == "C.UTF-8" and os.environ.get("LANG", "C") in ("", "C", "POSIX")
    return name in ("C", "POSIX") or (coerced and not os.environ.get("LC_ALL"))


class _Ascii(io.StringIO):
    """Has rich draw with ASCII alone."""

    encoding = "ascii"


def rendered(print_to: Callable[[Console, bool], None]) -> str:
    """What is printed to a console; coloured and as wide as the terminal where there is one."""
    terminal = sys.stdout.isatty()
    ascii_only = terminal and in_ascii()
    output = _Ascii() if ascii_only else io.StringIO()
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
    text = "\n".join(line.rstrip() for line in output.getvalue().split("\n"))
    return text.encode("ascii", "replace").decode() if ascii_only else text


def grid(columns: Sequence[str], left: int, terminal: bool) -> Table:
    """A table without lines in a pipe; the first `left` columns are names."""
    empty = Table(box=box.SIMPLE_HEAD if terminal else None, pad_edge=False)
    for number, name in enumerate(columns):
        empty.add_column(name, justify="left" if number < left else "right", no_wrap=True)
    return empty


def table(
    view: View,
    missing: Mapping[str, str] = MappingProxyType({}),
    rates: Mapping[Key, Rates] | None = None,
    sort: str | None = None,
) -> str:
    """The table and its notes.

    Args:
        view: what to show.
        missing: by source of names, what it was denied.
        rates: since the scan before; None where there was none.
        sort: key of the column to sort by; None is by cgroup.
    """

    def print_to(console: Console, terminal: bool) -> None:
        host = view.snapshot
        if not view.containers:
            console.print(f"No containers on this host ({host.mode.value} cgroups).")
        else:
            width = console.width if terminal else None
            for line in lines(rows_of(view, rates, sort), width, sort):
                console.print(line, no_wrap=True, overflow="ignore", crop=False)
        for note in notes(view, missing):
            console.print(Text(printable(note), style="dim"))

    return rendered(print_to)
