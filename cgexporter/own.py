"""The exporter's metrics about itself, through prometheus-client."""

import functools
import math
import os
import resource
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from cgexporter import kernel
from cgexporter.correlate.identity import View
from cgexporter.correlate.tiers import Tier
from cgexporter.exporter import (
    Exporter,
    age_seconds,
    build_facts,
    host_facts,
    support_reason,
)
from cgexporter.kernel import Missing
from cgexporter.metric import Kind
from cgexporter.metrics import OWN, PREFIX
from cgexporter.parse.proc import parse_boot_time, parse_start_time
from cgexporter.publish import Format
from cgexporter.web.status import WebStatus

Samples = Iterable[tuple[Sequence[str], float]]


class OwnCollector(Collector):
    """Yields the families of `metrics.OWN` for one page."""

    def __init__(self, exporter: Exporter, view: View, web: WebStatus | None) -> None:
        self._values = {
            **_values(exporter, view),
            **_watches(exporter),
            **_web(web),
        }

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


def _values(exporter: Exporter, view: View) -> Mapping[str, Samples]:
    tiers = Counter(view.tiers.values())
    snapshot, status, sweep = view.snapshot, exporter.status, exporter.sweep
    names = exporter.resolver.status
    build, host = build_facts(), host_facts(snapshot)
    reasons = {file: support_reason(snapshot, file) for file in snapshot.files}
    reasons.update(exporter.unsupported)
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
            *(((tier.value,), tiers[tier]) for tier in Tier if tier is not Tier.BETWEEN),
        ],
        "cgroups_between": [((), tiers[Tier.BETWEEN])],
        "cgroups_unproven": [((), view.unproven)],
        "identity_unresolved": [((), sum(c.name is None for c in view.containers))],
        "identity_answers": [((source,), n) for source, n in names.by_source.items()],
        "identity_errors": [((source,), n) for source, n in names.errors.items()],
        "cgroups_dropped": [((), snapshot.dropped)],
        "cgroups_skipped": [((), status.skipped)],
        "parse_errors": [((file,), n) for file, n in sorted(status.parse_errors.items())],
        "supported": [((file, why), int(not why)) for file, why in sorted(reasons.items())],
        "files_denied": [
            ((file,), support.missing[Missing.DENIED])
            for file, support in snapshot.files.items()
            if support.missing.get(Missing.DENIED)
        ],
        "machine_oom_kills": _known(snapshot.machine.oom_kills),
        "open_files": [((), exporter.open_files)],
        "namespace_sweep_seconds": [((), sweep.pass_seconds)] if sweep.complete else [],
        "processes_skipped": [((), sweep.errors)],
        "interfaces_dropped": [((), exporter.interfaces_dropped)],
    }


def _known(value: float | None) -> Samples:
    return [] if value is None else [((), value)]


def _watches(exporter: Exporter) -> Mapping[str, Samples]:
    watcher, notices = exporter.watcher, exporter.scanner.notices
    watches = (watcher.watches if watcher else 0) + (len(notices) if notices else 0)
    missing = watcher.missing.items() if watcher else ()
    return {
        "watches": [((), watches)] if watcher or notices else [],
        "watches_missing": [((why.value,), n) for why, n in missing],
        "watch_overflows": [((), watcher.overflows)] if watcher else [],
    }


@functools.cache
def start_time() -> float | None:
    """When this process started, in seconds since the epoch; None where procfs does not say."""
    stat, own = kernel.read_path("/proc/stat"), kernel.read_path("/proc/self/stat")
    if isinstance(stat, Missing) or isinstance(own, Missing):
        return None
    return parse_boot_time(stat) + parse_start_time(own) / os.sysconf("SC_CLK_TCK")


# The event loop counts while this is read: dict() copies in one step.
def _web(status: WebStatus | None) -> Mapping[str, Samples]:
    names = (
        *("web_connections", "web_requests", "web_connections_ended"),
        *("web_config_last_reload_successful", "web_config_last_reload_success_timestamp_seconds"),
    )
    if status is None:
        return {name: [] for name in names}
    configured = status.reloaded is not None
    values: tuple[Samples, ...] = (
        [((), status.connections)],
        [((str(code),), n) for code, n in sorted(dict(status.requests).items())],
        [((reason,), n) for reason, n in sorted(dict(status.ended).items())],
        _known(int(bool(status.reloaded)) if configured else None),
        _known(status.reload_time if configured else None),
    )
    return dict(zip(names, values, strict=True))


class ProcessCollector(Collector):
    """The ``process_*`` families that each of Prometheus' clients has.

    prometheus-client's own collector lists /proc/self/fd to count descriptors, which with
    the 10,000 held here costs more than a scan.
    """

    def collect(self) -> Iterator[Metric]:
        """The families, from getrusage(2) and /proc/self."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        cpu = CounterMetricFamily(
            "process_cpu_seconds", "CPU time of this process.", unit="seconds"
        )
        cpu.add_metric([], usage.ru_utime + usage.ru_stime)
        yield cpu
        pages = kernel.memory_pages()
        for name, count in zip(("virtual", "resident"), pages, strict=True):
            yield GaugeMetricFamily(
                f"process_{name}_memory_bytes",
                f"{name.capitalize()} memory of this process.",
                count * resource.getpagesize(),
            )
        if (started := start_time()) is not None:
            yield GaugeMetricFamily(
                "process_start_time_seconds",
                "When this process started, in seconds since the epoch.",
                started,
                unit="seconds",
            )
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        yield GaugeMetricFamily(
            "process_max_fds",
            "Descriptors this process may have open.",
            math.inf if limit == resource.RLIM_INFINITY else limit,
        )
        if descriptors := kernel.open_descriptors():
            yield GaugeMetricFamily("process_open_fds", "Descriptors of this process.", descriptors)


def page(exporter: Exporter, view: View, form: Format, web: WebStatus | None = None) -> bytes:
    """A whole page of metrics: see `parts`."""
    return b"".join(parts(exporter, view, form, web))


def parts(
    exporter: Exporter, view: View, form: Format, web: WebStatus | None = None
) -> list[bytes]:
    """A page in parts: the host's metrics, then the exporter's own and its process's.

    Args:
        exporter: of this view.
        view: what is published.
        form: how.
        web: of the server that the page is for, if any.
    """
    registry = CollectorRegistry()
    registry.register(OwnCollector(exporter, view, web))
    registry.register(ProcessCollector())
    generate = openmetrics.generate_latest if form is Format.OPENMETRICS else generate_latest
    own: bytes = generate(registry)
    return [*exporter.parts(view, form), own]


# The age of a file's samples is that of the file, which node_exporter tells.
_NOT_IN_FILES = frozenset({f"{PREFIX}_snapshot_age_seconds"})


def textfile(exporter: Exporter, view: View) -> bytes:
    """A page for node_exporter's textfile collector.

    Without `process_*`: node_exporter has its own, and a family told twice fails its scrape.
    """
    registry = CollectorRegistry()
    own = OwnCollector(exporter, view, None)
    registry.register(_Chosen([f for f in own.collect() if f.name not in _NOT_IN_FILES]))
    text: bytes = generate_latest(registry)
    return exporter.render(view, Format.TEXT).encode() + text


class _Chosen(Collector):
    """Families that were collected already."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """The families."""
        yield from self._families
