"""One host: scan, correlate, render. Synchronous; `server` gives it one thread."""

import enum
import logging
import platform
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from cgexporter import __version__, kernel
from cgexporter.correlate.events import EventWatcher
from cgexporter.correlate.identity import Correlator, owns_below, rank
from cgexporter.correlate.limits import Limits, with_root
from cgexporter.correlate.namespaces import Inventories
from cgexporter.correlate.network import NetworkCollector, NetworkSettings
from cgexporter.correlate.sweep import Sweep
from cgexporter.correlate.view import View
from cgexporter.descriptors import raise_limit
from cgexporter.hierarchies import Hierarchies, find
from cgexporter.kernel import Missing
from cgexporter.metric import Level, Metric
from cgexporter.metrics import DEFAULT_COLLECTORS, METRICS
from cgexporter.model import NETWORK_SECTIONS, Snapshot
from cgexporter.names.resolver import Resolver
from cgexporter.names.settings import Identity, resolver
from cgexporter.publish import Format, Publisher
from cgexporter.scan import Scanner, ScanTimeoutError
from cgexporter.sharing import Facts
from cgexporter.sources import files_in

if TYPE_CHECKING:  # imported where it is asked for
    from cgexporter.cadvisor import CadvisorPublisher

log = logging.getLogger(__name__)


class Names(enum.Enum):
    """Whose metric names are served."""

    CGEXPORTER = "cgexporter"
    CADVISOR = "cadvisor"
    BOTH = "both"


# What cannot be told without a privilege, by the file that would tell it.
MISSING = {
    "/proc/PID/ns": "who shares which namespace, but for the network's, is known in part "
    "(run as root with SYS_PTRACE)",
    "rtnetlink": "where network interfaces end is not known (run on the host's network, "
    "in its PID namespace or with SYS_PTRACE)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What to read and publish; flags fill it."""

    cgroupfs: str = "/sys/fs/cgroup"
    procfs: str = "/proc"
    # On v2 some 18 files a container are read in each scan: enough for 5,000.
    max_open_files: int = 100_000
    max_connections: int = 0  # descriptors to leave for them
    max_cgroups: int = 10_000
    collectors: frozenset[str] = DEFAULT_COLLECTORS
    network: NetworkSettings = field(default_factory=NetworkSettings)
    sweep_milliseconds: float = 0.3
    sweep_through: bool = False  # look at all processes in each scan
    levels: Sequence[Level] = tuple(Level)
    # Of a collector that is not named here, all levels are published.
    collector_levels: Mapping[str, Sequence[Level]] = field(default_factory=dict)
    names: Names = Names.CGEXPORTER
    identity: Identity | None = None  # None: only what cgroup paths and processes tell
    # What tells names instead of the sources of `identity`.
    resolver: Callable[[Hierarchies], Resolver] | None = None


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
        rows = _rows(settings)
        own = settings.names is not Names.CADVISOR
        published = rows if own else []
        self._cadvisor = _cadvisor(settings)
        needed = {row.name for row in published} | (
            self._cadvisor.needs if self._cadvisor else set()
        )
        wanted = {
            (row.section, file)
            for row in METRICS
            if row.name in needed
            for source in (row.v2, row.v1)
            for file in files_in(row.section, source or "")
        }
        hierarchies = find(settings.cgroupfs, settings.procfs)
        self.scanner = Scanner(
            hierarchies,
            sections=list(dict.fromkeys(section for section, _ in wanted)),
            wants=lambda section, file: (section, file) in wanted,
            rank=rank,
            owns_below=owns_below,
            max_cgroups=settings.max_cgroups,
            max_open_files=settings.max_open_files,
            # What tells of OOM kills on v1 takes one for each cgroup.
            room=raise_limit(
                settings.max_open_files + settings.max_cgroups, settings.max_connections
            ),
        )
        self._sections = frozenset(row.section for row in METRICS if row.name in needed)
        self._counts_events = any(row.section == "kept" for row in rows)
        self.sweep = Sweep(hierarchies, settings.sweep_milliseconds / 1000)
        self._sweep_through = settings.sweep_through
        self._inventories = (
            Inventories(self.sweep) if own and "namespaces" in settings.collectors else None
        )
        # Where cgroup.procs counts as another PID namespace does, the sweep tells who is where.
        self._sweeps = self._inventories is not None or kernel.counts_otherwise(settings.procfs)
        self._correlator = Correlator(hierarchies, self.sweep)
        self._limits = Limits()
        networks = [section for section in NETWORK_SECTIONS if section in self._sections]
        self._networks = (
            NetworkCollector(self._correlator, settings.network, networks, self.scanner.descriptors)
            if networks
            else None
        )
        self._publisher = Publisher(published, settings.levels) if own else None
        self._facts = Facts()
        self._containers = 0
        self._said: set[str] = set()
        self._births: dict[str, tuple[int, float]] = {}
        self.hierarchies = hierarchies
        self._max_cgroups = settings.max_cgroups
        self.watcher: EventWatcher | None = None
        nothing = Identity(logs=False, state=False)
        make = settings.resolver or partial(resolver, settings.identity or nothing)
        self.resolver = make(hierarchies)
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
        """Give each cgroup of a snapshot its owner, and each owner its network."""
        if self._sweeps:
            if self._sweep_through:
                self.sweep.through()
            else:
                self.sweep.step(self._containers)
        complete = with_root(snapshot, self._sections)
        view = self._correlator.correlate(complete, self.resolver.told)
        self._containers = len(view.containers)
        if "effective" in self._sections:
            view = self._limits.act_on(view)
        if self.watcher:
            view = self.watcher.update(view)
        if self._networks is not None:
            view = self._networks.collect(view)
            self.status.parse_errors.update(self._networks.parse_errors)
        if self._inventories is not None:
            view = replace(view, namespaces=self._inventories.take(view))
        return view

    def catch_up(self) -> None:
        """Do what is due now and then and no scrape need wait for; else the next scan does it."""
        self.scanner.catch_up()
        self._correlator.catch_up()

    def name(self, view: View) -> View:
        """The same snapshot, once every source of names was asked."""
        self.resolver.resolve(view)
        self.status.view = named = self.correlate(view.snapshot)
        return named

    def watch(self) -> None:
        """Let the kernel tell from now on what happens between scans."""
        try:
            self.scanner.heed_notices()
        except OSError as exc:
            log.warning("limits are read in each scan: %s", exc)
        try:
            self.scanner.read_ahead()
        except OSError as exc:
            log.info("files are read one by one: %s", exc)
        if not self._counts_events:
            return
        try:
            self.watcher = EventWatcher(self.hierarchies, rank, self._max_cgroups)
        except OSError as exc:
            log.warning("what happens between scans is not seen: %s", exc)
            return
        self.scanner.others = self.watcher.descriptors
        self.watcher.start()

    def render(self, view: View, form: Format) -> str:
        """Render the metrics of a view's containers, pods and cgroups."""
        return b"".join(self.parts(view, form)).decode()

    def parts(self, view: View, form: Format) -> list[bytes]:
        """The same in parts, which are the same objects as in the last page where they can."""
        parts: list[bytes] = []
        if self._publisher:
            parts += self._publisher.render(view, form)
            parts.append(self._facts.render(view, form).encode())
        if self._cadvisor:
            births = self._find_births(view.snapshot)
            parts.append(self._cadvisor.render(view, births, form).encode())
        return parts

    def _find_births(self, snapshot: Snapshot) -> Mapping[str, float]:
        """When each cgroup was made, as it looked when it was seen first."""
        births: dict[str, tuple[int, float]] = {}
        for path, cgroup in snapshot.cgroups.items():
            known = self._births.get(path)
            if known is None or known[0] != cgroup.inode:
                places = (tree.directory(path) for tree in self.hierarchies.all)
                found = [time for place in places if (time := kernel.made(place)) is not None]
                if not found:
                    continue
                known = (cgroup.inode, min(found))
            births[path] = known
        self._births = births
        return {path: time for path, (_, time) in births.items()}

    def close(self) -> None:
        """Stop looking for names and events, and close every kernel file."""
        self.resolver.close()
        if self.watcher:
            self.scanner.others = lambda: 0
            self.watcher.close()
            self.watcher = None
        self.scanner.close()
        self.sweep.close()
        if self._networks is not None:
            self._networks.close()


def _cadvisor(settings: Settings) -> "CadvisorPublisher | None":
    """What serves cAdvisor's names, where they are asked for."""
    if settings.names is Names.CGEXPORTER:
        return None
    from cgexporter.cadvisor import FAMILIES, CadvisorPublisher

    return CadvisorPublisher(
        [f for f in FAMILIES if not f.collector or f.collector in settings.collectors],
        __version__,
    )


def _rows(settings: Settings) -> list[Metric]:
    """The rows to publish, each for the levels to publish it for."""
    chosen = settings.collector_levels
    return [
        row._replace(
            levels=tuple(
                level for level in row.levels if level in chosen.get(row.collector, row.levels)
            )
        )
        for row in METRICS
        if row.collector in settings.collectors
    ]


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
    return {"cgroup_mode": snapshot.mode.value, "kernel": snapshot.machine.kernel or ""}


def build_facts() -> dict[str, str]:
    """What is said once of the exporter."""
    return {"version": __version__, "python": platform.python_version()}


def age_seconds(view: View) -> float:
    """How old a view's samples are."""
    return max(0.0, time.time() - view.snapshot.started)
