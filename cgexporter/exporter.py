"""One host: scan, correlate, render. Synchronous; `server` gives it one thread."""

import logging
import os
import platform
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from cgexporter import __version__, kernel
from cgexporter.correlate.identity import Correlator, View, owns_below, rank
from cgexporter.correlate.namespaces import Inventories
from cgexporter.correlate.network import NetworkCollector, NetworkSettings
from cgexporter.correlate.sweep import Sweep
from cgexporter.hierarchies import find
from cgexporter.kernel import Missing
from cgexporter.metrics import METRICS, Level
from cgexporter.model import NETWORK_SECTIONS, Snapshot
from cgexporter.publish import Format, Publisher
from cgexporter.scan import Scanner, ScanTimeoutError
from cgexporter.sharing import Facts

log = logging.getLogger(__name__)


# What cannot be told without a privilege, by the file that would tell it.
MISSING = {
    "/proc/PID/ns": "who shares which namespace, but for the network's, is known in part "
    "(run as root with SYS_PTRACE)",
    "rtnetlink": "where network interfaces end is not known (run on the host's network, "
    "in its PID namespace or with SYS_PTRACE)",
}
COLLECTORS = (*dict.fromkeys(row.collector for row in METRICS), "namespaces")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What to read and publish; flags fill it."""

    cgroupfs: str = "/sys/fs/cgroup"
    procfs: str = "/proc"
    max_open_files: int = 50_000
    max_cgroups: int = 10_000
    collectors: frozenset[str] = frozenset(COLLECTORS)
    network: NetworkSettings = field(default_factory=NetworkSettings)
    sweep_milliseconds: float = 0.5
    sweep_through: bool = False  # look at all processes in each scan
    levels: Sequence[Level] = tuple(Level)


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
        sections = list(dict.fromkeys(row.section for row in rows))
        hierarchies = find(settings.cgroupfs, settings.procfs)
        self.scanner = Scanner(
            hierarchies,
            sections=sections,
            rank=rank,
            owns_below=owns_below,
            max_cgroups=settings.max_cgroups,
            max_open_files=kernel.raise_descriptor_limit(settings.max_open_files),
        )
        self.sweep = Sweep(hierarchies, settings.sweep_milliseconds / 1000)
        self._sweep_through = settings.sweep_through
        self._inventories = Inventories(self.sweep) if "namespaces" in settings.collectors else None
        # Where cgroup.procs counts as another PID namespace does, the sweep tells who is where.
        self._sweeps = self._inventories is not None or kernel.counts_otherwise(settings.procfs)
        self._correlator = Correlator(hierarchies, self.sweep)
        wanted = [section for section in NETWORK_SECTIONS if section in sections]
        self._networks = (
            NetworkCollector(self._correlator, settings.network, wanted, self.scanner.descriptors)
            if wanted
            else None
        )
        self._publisher = Publisher(rows, settings.levels)
        self._facts = Facts()
        self._containers = 0
        self._said: set[str] = set()
        self.status = Status(Counter(), Counter())

    @property
    def interfaces_dropped(self) -> int:
        """Network interfaces left out of the last scan."""
        return self._networks.dropped if self._networks is not None else 0

    @property
    def unsupported(self) -> Mapping[str, str]:
        """What the last scan could not see but for a privilege, and why."""
        reasons = {}
        view = self.status.view
        if view is not None and (view.denied or view.namespaces.denied):
            reasons["/proc/PID/ns"] = "permission denied"
        if self._networks is not None and self._networks.ends_missing:
            reasons["rtnetlink"] = self._networks.ends_missing
        return reasons

    def say_unsupported(self) -> None:
        """Log what a privilege would add, each once."""
        for file, why in self.unsupported.items():
            if file not in self._said:
                self._said.add(file)
                log.info("%s: %s; %s", file, why, MISSING[file])

    @property
    def open_files(self) -> int:
        """Kernel files held open now."""
        return self.scanner.descriptors.held

    def look(self, deadline: float | None = None) -> View:
        """Scan and correlate.

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
        """Give each cgroup of a snapshot its owner, and each owner its network."""
        if self._sweeps:
            if self._sweep_through:
                self.sweep.through()
            else:
                self.sweep.step(self._containers)
        view = self._correlator.correlate(snapshot)
        self._containers = len(view.containers)
        if self._networks is not None:
            view = self._networks.collect(view)
            self.status.parse_errors.update(self._networks.parse_errors)
        if self._inventories is not None:
            view = replace(view, namespaces=self._inventories.take(view))
        return view

    def render(self, view: View, form: Format) -> str:
        """Render the metrics of a view's containers, pods and cgroups."""
        return self._publisher.render(view, form) + self._facts.render(view, form)

    def close(self) -> None:
        """Close every kernel file."""
        self.scanner.close()
        self.sweep.close()
        if self._networks is not None:
            self._networks.close()


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
