"""Records a host: reads all that any command reads, and keeps it."""

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from cgexporter import __version__, host, rtnetlink
from cgexporter.correlate.namespaces import host_namespaces
from cgexporter.correlate.network import NetworkSettings
from cgexporter.correlate.view import View
from cgexporter.exporter import Exporter, Settings, host_facts
from cgexporter.metrics import COLLECTORS
from cgexporter.recording import Recording, Scan
from cgexporter.recording.recorder import LinkRecorder, Recorder


class _Links:
    """Opens rtnetlink for the time of a recording, and knows what it said."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._opened: LinkRecorder | None = None
        self.errno = 0

    def open(self) -> LinkRecorder:
        try:
            self._opened = LinkRecorder(self._recorder)
        except OSError as exc:
            self.errno = exc.errno or 0
            raise
        return self._opened

    def kept(self, scan: Scan) -> Scan:
        """A scan with what was asked until now."""
        if self._opened is None:
            return replace(scan, links_errno=self.errno)
        return replace(scan, links=tuple(self._opened.links), nsids=dict(self._opened.nsids))


@contextlib.contextmanager
def _standing_in(recorder: Recorder, links: _Links) -> Iterator[None]:
    host.stand_in(recorder)
    rtnetlink.stand_in(links.open)
    try:
        yield
    finally:
        host.stand_in(None)
        rtnetlink.stand_in(None)


def everything(settings: Settings) -> Settings:
    """The same host, with all that any command may ask of it."""
    return replace(
        settings,
        max_open_files=0,
        collectors=frozenset(COLLECTORS),
        network=NetworkSettings(exclude="", host=True),
        sweep_through=True,
    )


def record(
    settings: Settings, scans: int, wait: Callable[[], None]
) -> tuple[Recording, Sequence[View]]:
    """Scan a host and keep what was read.

    Args:
        settings: where the host and its names are; all else is chosen here.
        scans: how many.
        wait: lets time pass between two.

    Returns:
        The recording, and what was seen while it was made.

    Raises:
        NoHierarchyError, IdentityError, OSError: as `Exporter` and its `look`.
    """
    settings = replace(
        settings,
        cgroupfs=os.path.normpath(settings.cgroupfs),
        procfs=os.path.normpath(settings.procfs),
    )
    recorder = Recorder(settings.cgroupfs)
    links = _Links(recorder)
    kept, views = [], []
    with _standing_in(recorder, links):
        exporter = Exporter(everything(settings))
        try:
            for number in range(scans):
                if number:
                    wait()
                recorder.begin()
                view = exporter.name(exporter.look())
                host_namespaces(view, exporter.sweep)
                scan = Scan(
                    view.snapshot.started,
                    recorder.files(),
                    exporter.resolver.told,
                    dict(exporter.resolver.missing),
                )
                kept.append(links.kept(scan))
                views.append(view)
        finally:
            exporter.close()
    facts = host_facts(view.snapshot)
    runtimes = Counter(c.runtime or "unknown" for c in view.containers)
    note = {
        "cgexporter": __version__,
        "kernel": facts["kernel"],
        "cgroup_mode": facts["cgroup_mode"],
        "containers": ", ".join(f"{n} of {name}" for name, n in sorted(runtimes.items())),
    }
    return Recording(settings.cgroupfs, settings.procfs, os.getpid(), note, kept), views
