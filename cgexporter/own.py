"""The exporter's metrics about itself and its process."""

import functools
import math
import os
import resource
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from cgexporter import kernel
from cgexporter.correlate.tiers import Tier
from cgexporter.correlate.view import View
from cgexporter.exporter import (
    Exporter,
    age_seconds,
    build_facts,
    host_facts,
    support_reason,
)
from cgexporter.families import Samples, families
from cgexporter.kernel import Missing
from cgexporter.metrics import OWN, PROCESS, Own
from cgexporter.parse.proc import parse_boot_time, parse_start_time
from cgexporter.publish import Format
from cgexporter.web.status import WebStatus

# The values of a sample's labels and its own; and those of each row, by its name.
_Found = Iterable[tuple[Sequence[str], float]]
_Values = Mapping[str, _Found]


def _own(
    exporter: Exporter, view: View, web: WebStatus | None, rows: Sequence[Own], form: Format
) -> Iterator[str]:
    values = {**_values(exporter, view), **_watches(exporter), **_web(web)}
    samples = {
        row.name: [
            (tuple(zip(row.labels, found, strict=True)), value) for found, value in values[row.name]
        ]
        for row in rows
    }
    return families(rows, samples, form)


def _values(exporter: Exporter, view: View) -> _Values:
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


def _known(value: float | None) -> _Found:
    return [] if value is None else [((), value)]


def _watches(exporter: Exporter) -> _Values:
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
def _web(status: WebStatus | None) -> _Values:
    names = (
        *("web_connections", "web_requests", "web_connections_ended"),
        *("web_config_last_reload_successful", "web_config_last_reload_success_timestamp_seconds"),
    )
    if status is None:
        return {name: [] for name in names}
    configured = status.reloaded is not None
    values: tuple[_Found, ...] = (
        [((), status.connections)],
        [((str(code),), n) for code, n in sorted(dict(status.requests).items())],
        [((reason,), n) for reason, n in sorted(dict(status.ended).items())],
        _known(int(bool(status.reloaded)) if configured else None),
        _known(status.reload_time if configured else None),
    )
    return dict(zip(names, values, strict=True))


def _process() -> Mapping[str, Samples]:
    """The ``process_*`` families that each of Prometheus' clients has.

    Descriptors are counted without listing /proc/self/fd: with the 10,000 held here that costs
    more than a scan. From getrusage(2) and /proc/self.
    """
    usage = resource.getrusage(resource.RUSAGE_SELF)
    virtual, resident = kernel.memory_pages()
    page_bytes = resource.getpagesize()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    values = {
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "virtual_memory_bytes": virtual * page_bytes,
        "resident_memory_bytes": resident * page_bytes,
        "start_time_seconds": start_time(),
        "max_fds": math.inf if most == resource.RLIM_INFINITY else most,
        "open_fds": kernel.open_descriptors() or None,
    }
    return {name: [((), value)] for name, value in values.items()}


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
    own = [*_own(exporter, view, web, OWN, form), *families(PROCESS, _process(), form)]
    if form is Format.OPENMETRICS:
        own.append("# EOF\n")
    return [*exporter.parts(view, form), "".join(own).encode()]


# The age of a file's samples is that of the file, which node_exporter tells.
_IN_FILES = tuple(row for row in OWN if row.name != "snapshot_age_seconds")


def textfile(exporter: Exporter, view: View) -> bytes:
    """A page for node_exporter's textfile collector.

    Without `process_*`: node_exporter has its own, and a family told twice fails its scrape.
    """
    own = _own(exporter, view, None, _IN_FILES, Format.TEXT)
    return (exporter.render(view, Format.TEXT) + "".join(own)).encode()
