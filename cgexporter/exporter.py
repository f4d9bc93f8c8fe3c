"""One host: scan, correlate, render. Synchronous; `server` gives it one thread."""

import logging
import os
import platform
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from cgexporter import __version__, kernel
from cgexporter.correlate.identity import Correlator, View, owns_below, rank
from cgexporter.hierarchies import find
from cgexporter.kernel import Missing
from cgexporter.metrics import METRICS, Level
from cgexporter.model import Snapshot
from cgexporter.names.settings import Identity, resolver
from cgexporter.publish import Format, Publisher
from cgexporter.scan import Scanner, ScanTimeoutError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What to read and publish; flags fill it."""

    cgroupfs: str = "/sys/fs/cgroup"
    procfs: str = "/proc"
    max_open_files: int = 50_000
    max_cgroups: int = 10_000
    collectors: frozenset[str] = frozenset(row.collector for row in METRICS)
    levels: Sequence[Level] = tuple(Level)
    identity: Identity | None = None  # None: only what cgroup paths and processes tell


@dataclass(slots=True)
class Status:
    """What the exporter has to say of itself."""

    scans: Counter[str]
    parse_errors: Counter[str]
    skipped: int = 0
    success: bool = False
    view: View | None = None


class Exporter:
    """Reads a host again and again, and renders what it saw.

    Not safe for use from two threads at once.

    Raises:
        NoHierarchyError: there are no cgroups where the settings say.
    """

    def __init__(self, settings: Settings) -> None:
        rows = [row for row in METRICS if row.collector in settings.collectors]
        hierarchies = find(settings.cgroupfs, settings.procfs)
        self.scanner = Scanner(
            hierarchies,
            sections=list(dict.fromkeys(row.section for row in rows)),
            rank=rank,
            owns_below=owns_below,
            max_cgroups=settings.max_cgroups,
            max_open_files=kernel.raise_descriptor_limit(settings.max_open_files),
        )
        self._correlator = Correlator(hierarchies)
        nothing = Identity(logs=False, state=False)
        self.resolver = resolver(settings.identity or nothing, hierarchies)
        self._publisher = Publisher(rows, settings.levels)
        self.status = Status(Counter(), Counter())

    @property
    def open_files(self) -> int:
        """Kernel files held open now."""
        return self.scanner.descriptors.held

    def look(self, deadline: float | None = None) -> View:
        """Scan and correlate; who is new gets a name a moment later, from another thread.

        Args:
            deadline: on `time.monotonic`.

        Raises:
            ScanTimeoutError: the deadline passed.
        """
        status = self.status
        try:
            snapshot = self.scanner.scan(deadline)
            view = self.correlate(snapshot)
        except Exception as exc:
            status.success = False
            status.scans["timeout" if isinstance(exc, ScanTimeoutError) else "error"] += 1
            raise
        status.success = True
        status.scans["success"] += 1
        status.parse_errors.update(snapshot.parse_errors)
        status.skipped += snapshot.skipped
        status.view = view
        return view

    def correlate(self, snapshot: Snapshot) -> View:
        """Give each cgroup of a snapshot its owner."""
        return self._correlator.correlate(snapshot, self.resolver.told)

    def name(self, view: View) -> View:
        """The same snapshot, once every source of names was asked."""
        self.resolver.resolve(view)
        self.status.view = named = self.correlate(view.snapshot)
        return named

    def render(self, view: View, form: Format) -> str:
        """Render the metrics of a view's containers, pods and cgroups."""
        return self._publisher.render(view, form)

    def close(self) -> None:
        """Stop looking for names and close every kernel file."""
        self.resolver.close()
        self.scanner.close()


def support_reason(snapshot: Snapshot, file: str) -> str:
    """Why no cgroup of a snapshot offers a file; "" where one does."""
    support = snapshot.files[file]
    if support.read:
        return ""
    if Missing.DENIED in support.missing:
        return "permission denied"
    if Missing.UNSUPPORTED in support.missing:
        return "psi disabled" if file.endswith(".pressure") else "not supported"
    return "not offered by this kernel or controller off"


def host_facts(snapshot: Snapshot) -> dict[str, str]:
    """What is said once of the host."""
    return {"cgroup_mode": snapshot.mode.value, "kernel": os.uname().release}


def build_facts() -> dict[str, str]:
    """What is said once of the exporter."""
    return {"version": __version__, "python": platform.python_version()}


def age_seconds(view: View) -> float:
    """How old a view's samples are."""
    return max(0.0, time.time() - view.snapshot.started)
