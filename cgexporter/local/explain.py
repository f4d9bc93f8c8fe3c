"""``cgexporter explain``: what was asked and what it becomes, for people."""

import textwrap
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from cgexporter.local.table import rendered
from cgexporter.local.text import printable, size
from cgexporter.resources.settings import Explanation, Setting


def as_table(explanations: Sequence[Explanation]) -> str:
    """Print for people: each cgroup from the outermost, and what is set in it."""

    def print_to(console: Console, terminal: bool) -> None:
        del terminal
        for number, one in enumerate(explanations):
            if number:
                console.print()
            _print(console, one)

    return rendered(print_to)


def _print(console: Console, one: Explanation) -> None:
    _say(console, 0, one.title, "bold")
    _pairs(console, one.facts)
    for group in one.groups:
        console.print()
        _say(console, 0, group.name, "bold")
        pairs = {"systemd": group.systemd, "cgroupfs": group.cgroupfs, **group.facts}
        if group.limits:
            pairs["limits"] = ", ".join(f"{k} {_limit(k, v)}" for k, v in group.limits.items())
        _pairs(console, pairs)
        for setting in group.settings:
            _setting(console, setting)
    parts = {
        "namespaces": one.namespaces,
        "no effect on cgroups or namespaces": dict(one.without_effect),
    }
    for title, values in parts.items():
        if values:
            console.print()
            _say(console, 0, title, "bold")
            _pairs(console, values)
    if one.notes:
        console.print()
    for note in one.notes:
        _say(console, 0, note, "dim")


def _limit(name: str, value: str) -> str:
    return size(int(value)) if name == "memory" and value.isdecimal() else value


def _setting(console: Console, setting: Setting) -> None:
    _say(console, 2, setting.asked, "cyan")
    for version, lines in (("v2", setting.v2), ("v1", setting.v1)):
        for place, line in enumerate(lines):
            text = Text(f"    {'  ' if place else version}  ", style="dim")
            text.append(printable(f"{line.file} = {line.value}"), style="not dim")
            if line.when:
                text.append(f"  ({printable(line.when)})")
            console.print(text)
        if not lines and (setting.v2 or setting.v1):
            _say(console, 4, f"{version}  nothing", "dim")
    if setting.note:
        _say(console, 8, setting.note, "dim")


def _say(console: Console, indent: int, text: str, style: str = "") -> None:
    console.print(Padding(Text(printable(text), style=style), (0, 0, 0, indent)))


def _pairs(console: Console, values: Mapping[str, str]) -> None:
    width = max(map(len, values), default=0) + 2
    for name, value in values.items():
        first, *more = wrapped(printable(value), console.width - width - 2)
        console.print(Text(f"  {name:{width}}", style="dim").append(first, style="not dim"))
        for line in more:
            _say(console, width + 2, line)


def wrapped(text: str, width: int) -> Sequence[str]:
    """Lines of at most this width, broken between words; at least one line."""
    return textwrap.wrap(text, max(width, 20), break_long_words=False) or [""]
