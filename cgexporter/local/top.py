"""``cgexporter top``: the table of containers, live."""

import contextlib
import os
import select
import shutil
import signal
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import NoReturn

from rich.console import Console, Group
from rich.text import Text

from cgexporter.correlate.facts import Key
from cgexporter.correlate.view import View
from cgexporter.local.choice import Filter, chosen, parse
from cgexporter.local.columns import SORT_KEYS, rows_of
from cgexporter.local.rates import Rates, rates
from cgexporter.local.table import in_ascii, lines
from cgexporter.local.text import fitted, plain, printable, shortened, size

KEYS = ("q quit", "s S sort", "/ filter", "p pause", "c clear filter", "up down scroll")
_HEAD_LINES, _FOOT_LINES = 3, 1
_LONGEST_FILTER = 200
# What a terminal sends for a key, and what it is called here.
_SEQUENCES = {
    b"\x1b[A": "up", b"\x1bOA": "up", b"\x1b[B": "down", b"\x1bOB": "down",
    b"\x1b[5~": "page up", b"\x1b[6~": "page down", b"\x1b[H": "home", b"\x1b[1~": "home",
    b"\r": "enter", b"\n": "enter", b"\x7f": "back", b"\x08": "back", b"\x1b": "escape",
    b"\x03": "quit", b"\x04": "quit",
}  # fmt: skip


def keys_in(data: bytes) -> list[str]:
    """The keys in what a terminal sent: names of special ones, characters, nothing unknown."""
    keys = []
    while data:
        known = max((s for s in _SEQUENCES if data.startswith(s)), key=len, default=b"")
        if known == b"\x1b" and len(data) > 1:  # a sequence of a key that is not used
            rest = data[2:] if data[1:2] in b"[O" else data[1:]
            data = rest.lstrip(b"0123456789;?")[1:]
            continue
        if known:
            keys.append(_SEQUENCES[known])
            data = data[len(known) :]
            continue
        length = next((n for n in (1, 2, 3, 4) if _decoded(data[:n])), 1)
        if (character := _decoded(data[:length])).isprintable() and character:
            keys.append(character)
        data = data[length:]
    return keys


def _decoded(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return ""


@dataclass(slots=True)
class State:
    """What is shown and how; keys change it."""

    sort: str = "cpu"
    filters: Sequence[Filter] = ()
    interval: float = 2.0
    paused: bool = False
    first: int = 0  # row at the top
    typed: str | None = None  # of a filter that is being typed
    problem: str = ""
    ended: bool = False
    page: int = 1  # rows on the screen
    view: View | None = None
    rates: Mapping[Key, Rates] | None = None
    note: str = ""
    shown_filter: str = field(default="")

    def press(self, key: str) -> None:
        """Act on a key."""
        self.problem = ""
        if key == "quit":
            self.ended = True
        elif self.typed is not None:
            self._type(key)
        elif key in ("q", "escape"):
            self.ended = key == "q"
        elif key in "sS":
            step = 1 if key == "s" else -1
            place = (SORT_KEYS.index(self.sort) + step) % len(SORT_KEYS)
            self.sort, self.first = SORT_KEYS[place], 0
        elif key == "/":
            self.typed = ""
        elif key == "c":
            self.filters, self.shown_filter, self.first = (), "", 0
        elif key in ("p", " "):
            self.paused = not self.paused
        else:
            steps = {"up": -1, "down": 1, "page up": -self.page, "page down": self.page}
            self.first = 0 if key == "home" else max(0, self.first + steps.get(key, 0))

    def _type(self, key: str) -> None:
        typed = self.typed or ""
        if key == "enter":
            self.typed = None
            try:
                self.filters = [parse(word) for word in typed.split()]
            except ValueError as exc:
                self.problem = str(exc)
            else:
                self.shown_filter, self.first = typed, 0
        elif key == "escape":
            self.typed = None
        elif key == "back":
            self.typed = typed[:-1]
        elif len(key) == 1 and len(typed) < _LONGEST_FILTER:
            self.typed = typed + key

    def take(self, view: View | None) -> None:
        """Show another scan; None is that there is none any more."""
        if view is None:
            self.paused, self.note = True, "END OF THE RECORDING"
            return
        self.rates = {} if self.view is None else rates(self.view, view)
        self.view = view

    def screen(self, width: int, height: int) -> list[Text]:
        """The whole screen, line by line."""
        view = self.view
        if view is None:
            return [Text("reading ...")]
        rows = rows_of(chosen(view, self.filters), self.rates, self.sort)
        self.page = max(1, height - _HEAD_LINES - _FOOT_LINES)
        self.first = max(0, min(self.first, len(rows) - self.page))
        here = rows[self.first : self.first + self.page]
        found = [
            Text(fitted(self._about_host(view), "  ", width), style="bold"),
            Text(fitted(self._about_view(len(rows), len(view.containers)), ", ", width), "dim"),
            *lines(here, width, self.sort),
        ]
        if not rows:
            found.append(Text("No container matches." if view.containers else "No containers."))
        found += [Text()] * (height - _FOOT_LINES - len(found))
        foot = Text(fitted(KEYS, "  ", width), style="dim")
        if self.typed is not None:
            foot = Text(shortened(f"filter: {printable(self.typed)}_", width), style="bold")
        elif self.problem:
            foot = Text(shortened(printable(self.problem), width), style="bold red")
        return [*found[: height - _FOOT_LINES], foot]

    def _about_host(self, view: View) -> Sequence[str]:
        snapshot = view.snapshot
        machine, root = snapshot.machine, snapshot.cgroups.get("/")
        memory = root.memory.current_bytes if root and root.memory else None
        moment = time.strftime("%H:%M:%S", time.localtime(snapshot.started))
        return (
            f"cgexporter top  {moment}",
            f"{len(view.containers)} containers",
            f"{plain(machine.cpus)} CPUs",
            f"memory {size(memory)} of {size(machine.memory.mem_total)}",
            f"cgroups {snapshot.mode.value}",
        )

    def _about_view(self, matching: int, total: int) -> Iterator[str]:
        if self.paused:
            yield self.note or "PAUSED"
        yield f"by {self.sort}"
        if self.shown_filter or matching < total:
            yield f"{matching} of {total} match {printable(self.shown_filter)}".rstrip()
        if matching > self.page:
            last = min(matching, self.first + self.page)
            yield f"rows {self.first + 1} to {last} of {matching}"
        yield f"every {self.interval:g}s"


def _end(number: int, frame: FrameType | None) -> NoReturn:
    del frame
    raise SystemExit(128 + number)


@contextlib.contextmanager
def _terminal() -> Iterator[tuple[int, int]]:
    """Have keys one by one and signals as they come, for the time of a `with` block.

    Yields:
        Descriptors to wait for: stdin, and one that is readable after a signal.
    """
    stdin = sys.stdin.fileno()
    before = termios.tcgetattr(stdin)
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    ending = dict.fromkeys((signal.SIGTERM, signal.SIGHUP), _end)
    handlers = {signal.SIGWINCH: lambda *_: None, **ending}
    last = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    last_wake = signal.set_wakeup_fd(wake)
    try:
        tty.setcbreak(stdin)
        yield stdin, woken
    finally:
        signal.set_wakeup_fd(last_wake)
        for number, handler in last.items():
            signal.signal(number, handler)
        termios.tcsetattr(stdin, termios.TCSADRAIN, before)
        os.close(woken)
        os.close(wake)


def _size() -> tuple[int, int]:
    """Columns and lines of the terminal, but not fewer than a screen needs."""
    now = shutil.get_terminal_size()
    return max(20, now.columns), max(_HEAD_LINES + _FOOT_LINES + 1, now.lines)


def run(state: State, look: Callable[[], View | None]) -> None:
    """Show scans until a key or signal ends it; the terminal is then as it was.

    Args:
        state: to begin with.
        look: gives the next scan; None where there is none any more.

    Raises:
        OSError: as `look` does.
    """
    console = Console(highlight=False, emoji=False, markup=False, force_terminal=True)
    drawn = _in_ascii if in_ascii() else None
    due = 0.0
    with (
        contextlib.suppress(KeyboardInterrupt),
        _terminal() as (stdin, woken),
        console.screen(hide_cursor=True) as screen,
    ):
        while not state.ended:
            if time.monotonic() >= due and not state.paused:
                due = time.monotonic() + state.interval
                state.take(look())
            console.size = size = _size()
            found = state.screen(*size)
            screen.update(Group(*(map(drawn, found) if drawn else found)))
            left = None if state.paused else max(0.0, due - time.monotonic())
            ready, _, _ = select.select([stdin, woken], [], [], left)
            if woken in ready:
                os.read(woken, 4096)
            if stdin in ready:
                data = os.read(stdin, 4096)
                for key in keys_in(data) if data else ["quit"]:
                    state.press(key)


def _in_ascii(line: Text) -> Text:
    plain_text = line.plain.encode("ascii", "replace").decode()
    return Text(plain_text, style=line.style, spans=line.spans)
