"""The line that says how far a long scan is."""

import io
import sys
import threading

import pytest

from cgexporter.local import progress
from cgexporter.local.progress import Progress


class _Stderr(io.StringIO):
    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal
        self.written = threading.Event()

    def isatty(self) -> bool:
        return self._terminal

    def write(self, text: str) -> int:
        self.written.set()
        return super().write(text)


def test_a_long_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal is told, and the line is gone at the end."""
    stderr = _Stderr(terminal=True)
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setattr(progress, "_PATIENCE_SECONDS", 0.001)
    with Progress(lambda: (3, 5000)):
        assert stderr.written.wait(30)
    assert "read 3 of 5000 cgroups" in stderr.getvalue()
    assert stderr.getvalue().endswith("\r\x1b[K")


@pytest.mark.parametrize(("terminal", "patience"), [(True, 60.0), (False, 0.001)])
def test_nothing_is_said(terminal: bool, patience: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """A short scan says nothing, nor does any where nobody looks."""
    stderr = _Stderr(terminal)
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setattr(progress, "_PATIENCE_SECONDS", patience)
    with Progress(lambda: (3, 5000)):
        stderr.written.wait(0.05)
    assert not stderr.getvalue()
