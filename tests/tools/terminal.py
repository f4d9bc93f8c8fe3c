"""A terminal of our own: tmux, with a server and settings that are nobody else's."""

import contextlib
import os
import secrets
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

PATIENCE_SECONDS = 30.0


class Terminal:
    """One window of tmux that runs a command.

    Args:
        tmux: the program.
        columns: how wide it is.
        lines: how high.
        environment: of what runs in it, beside PATH and HOME.
    """

    def __init__(
        self, tmux: str, columns: int, lines: int, environment: dict[str, str] | None = None
    ) -> None:
        self._tmux = [tmux, "-L", f"cgexporter-{secrets.token_hex(4)}", "-f", os.devnull]
        # Captured in UTF-8 whatever the locale of the test is.
        self._tmux.insert(1, "-u")
        clean = ["env", "-i", f"PATH={os.environ['PATH']}", f"HOME={os.environ.get('HOME', '/')}"]
        words = {"TERM": "screen-256color", "LANG": "C.UTF-8", "PS1": "$ ", **(environment or {})}
        clean += [f"{name}={value}" for name, value in words.items() if value]
        self._call(
            *("new-session", "-d", "-x", str(columns), "-y", str(lines)),
            shlex.join([*clean, "sh"]),
        )
        self._call("set-option", "-g", "window-size", "manual")
        self.resize(columns, lines)

    def _call(self, *words: str) -> str:
        done = subprocess.run(
            [*self._tmux, *words], capture_output=True, text=True, check=True, timeout=30
        )
        return done.stdout

    def run(self, *words: str) -> None:
        """Type a command of cgexporter, and press Enter."""
        command = shlex.join([sys.executable, "-m", "cgexporter", *words])
        self.type(f"clear; {command}; echo status $?")
        self.press("Enter")

    def type(self, text: str) -> None:
        """Type characters."""
        self._call("send-keys", "-l", "--", text)

    def press(self, *keys: str) -> None:
        """Press keys, by the names that tmux has for them."""
        self._call("send-keys", *keys)

    def resize(self, columns: int, lines: int) -> None:
        """Make the window another size."""
        self._call("resize-window", "-x", str(columns), "-y", str(lines))

    def screen(self, colours: bool = False) -> str:
        """What is on the screen, without blanks at the ends of lines and below."""
        text = self._call("capture-pane", "-p", *(["-e"] if colours else []))
        return "\n".join(line.rstrip() for line in text.rstrip().split("\n"))

    def wait_for(self, text: str) -> str:
        """The screen once it has a text.

        Raises:
            AssertionError: it never had.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        while text not in (screen := self.screen()):
            assert time.monotonic() < deadline, f"waited in vain for {text!r}:\n{screen}"
            time.sleep(0.05)
        return screen

    def settled(self, text: str = "") -> str:
        """The screen once it has a text and does not change any more."""
        last, screen = "", self.wait_for(text)
        while screen != last:
            time.sleep(0.3)
            last, screen = screen, self.screen()
        return screen

    def close(self) -> None:
        """End all that runs in it."""
        with contextlib.suppress(subprocess.CalledProcessError):
            self._call("kill-server")


@contextlib.contextmanager
def terminal(
    tmux: str, columns: int, lines: int, environment: dict[str, str] | None = None
) -> Iterator[Terminal]:
    """A terminal for the time of a `with` block."""
    opened = Terminal(tmux, columns, lines, environment)
    try:
        yield opened
    finally:
        opened.close()


def recording(repository: Path) -> str:
    """A recording of a host with a small shop on it: six containers of runc."""
    return str(repository / "tests/data/shop.tar.xz")
