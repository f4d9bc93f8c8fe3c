"""The exporter's metrics about itself, through prometheus-client."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from cgexporter.correlate.identity import View
from cgexporter.exporter import (
    Exporter,
    Status,
    age_seconds,
    build_facts,
    host_facts,
    support_reason,
)
from cgexporter.kernel import Missing
from cgexporter.metrics import OWN, Kind
from cgexporter.publish import Format

Samples = Iterable[tuple[Sequence[str], float]]


class OwnCollector(Collector):
    """Yields the families of `metrics.OWN` for one page."""

    def __init__(self, status: Status, view: View, open_files: int) -> None:
        self._values = _values(status, view, open_files)

    def collect(self) -> Iterator[Metric]:
        """The families, in the order of the table."""
        suffixes = {Kind.COUNTER: "_total", Kind.INFO: "_info", Kind.GAUGE: ""}
        for row in OWN:
            family = Metric(row.family, row.help, row.kind.value, row.unit)
            for values, value in self._values[row.name]:
                names = dict(zip(row.labels, values, strict=True))
                family.add_sample(row.family + suffixes[row.kind], names, value)
            if family.samples:
                yield family


def _values(status: Status, view: View, open_files: int) -> Mapping[str, Samples]:
    snapshot = view.snapshot
    build, host = build_facts(), host_facts(snapshot)
    reasons = {file: support_reason(snapshot, file) for file in snapshot.files}
    if view.denied:
        reasons["/proc/PID/ns"] = "permission denied"
    return {
        "build": [((build["version"], build["python"]), 1)],
        "host": [((host["cgroup_mode"], host["kernel"]), 1)],
        "scans": [((result,), n) for result, n in sorted(status.scans.items())],
        "scan_success": [((), int(status.success))],
        "scan_duration_seconds": [((), snapshot.duration_seconds)],
        "snapshot_age_seconds": [((), age_seconds(view))],
        "published": [
            (("container",), len(view.containers)),
            (("pod",), len(view.pods)),
            (("cgroup",), len(view.cgroups)),
        ],
        "identity_unresolved": [((), sum(c.name is None for c in view.containers))],
        "cgroups_dropped": [((), snapshot.dropped)],
        "cgroups_skipped": [((), status.skipped)],
        "parse_errors": [((file,), n) for file, n in sorted(status.parse_errors.items())],
        "supported": [((file, why), int(not why)) for file, why in sorted(reasons.items())],
        "files_denied": [
            ((file,), support.missing[Missing.DENIED])
            for file, support in snapshot.files.items()
            if support.missing.get(Missing.DENIED)
        ],
        "open_files": [((), open_files)],
    }


def page(exporter: Exporter, view: View, form: Format) -> bytes:
    """A whole page of metrics: the host's, then the exporter's own and its process's."""
    registry = CollectorRegistry()
    registry.register(OwnCollector(exporter.status, view, exporter.open_files))
    ProcessCollector(registry=registry)
    generate = openmetrics.generate_latest if form is Format.OPENMETRICS else generate_latest
    own: bytes = generate(registry)
    return exporter.render(view, form).encode() + own
