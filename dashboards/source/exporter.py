"""Dashboard "cgexporter itself": is what the others show true, and what does it cost?"""

from dashboards.source import queries
from dashboards.source.grafana import Column, Dashboard, Graph, Query, Row, Stat, Table
from dashboards.source.queries import RANGE, TARGET
from dashboards.source.thresholds import DEFAULT as LIMITS


def _stat(title: str, description: str, expr: str, unit: str = "none", **more: object) -> Stat:
    queries_ = [Query(expr=expr, legend="{{instance}}")]
    return Stat(title=title, description=description, queries=queries_, unit=unit, **more)  # type: ignore[arg-type]


def _graph(title: str, description: str, unit: str, *lines: tuple[str, str]) -> Graph:
    drawn = [
        Query(expr=expr, legend=f"{{{{instance}}}} {legend}".strip()) for expr, legend in lines
    ]
    return Graph(title=title, description=description, queries=drawn, unit=unit)


OVERVIEW = [
    _stat(
        "Up",
        "Exporters that Prometheus scraped, of those it knows.",
        f"sum(up{{{TARGET}}}) / count(up{{{TARGET}}})",
        "percentunit",
    ),
    _stat(
        "Last scan failed",
        "Exporters whose last scan of the host did not finish.",
        f"sum(1 - cgexporter_scan_success{{{TARGET}}})",
        warn=1,
    ),
    _stat(
        "Oldest samples",
        "Time since the scan that the samples come from began, at worst.",
        f"max(cgexporter_snapshot_age_seconds{{{TARGET}}})",
        "s",
        warn=LIMITS.snapshot_age_seconds,
    ),
    _stat(
        "Containers without a name",
        "Share of containers whose name no source told.",
        f"sum(cgexporter_identity_unresolved{{{TARGET}}}) / "
        f'(sum(cgexporter_published{{{TARGET},level="container"}}) > 0)',
        "percentunit",
        warn=LIMITS.unresolved,
        empty="no containers",
    ),
    _stat(
        "Cgroups left out",
        "Cgroups that were not read because there are more than --scan.max-cgroups.",
        f"sum(cgexporter_cgroups_dropped{{{TARGET}}})",
        warn=1,
    ),
    _stat(
        "CPU",
        "CPU time that exporters use, in cores.",
        f"sum(rate(process_cpu_seconds_total{{{TARGET}}}[{RANGE}]))",
        decimals=3,
    ),
]

VERSIONS = Table(
    title="Exporters",
    description="Version, Python, and how the host mounts cgroups.",
    queries=[
        Query(expr=f"sum by (instance, version, python) (cgexporter_build_info{{{TARGET}}})"),
        Query(expr=f"sum by (instance, cgroup_mode, kernel) (cgexporter_host_info{{{TARGET}}})"),
    ],
    columns=[
        Column(field="instance", title="Node"),
        Column(field="version", title="Version"),
        Column(field="python", title="Python"),
        Column(field="cgroup_mode", title="Cgroups"),
        Column(field="kernel", title="Kernel"),
    ],
    height=5,
    width=12,
)

UNSUPPORTED = Table(
    title="What the kernel does not give",
    description="Files that no cgroup of the host offers, and why. Their metrics are absent, not 0.",
    queries=[Query(expr=f"cgexporter_supported{{{TARGET}}} == 0")],
    columns=[
        Column(field="instance", title="Node"),
        Column(field="file", title="File"),
        Column(field="reason", title="Reason"),
    ],
    height=5,
    width=12,
    empty="Everything is there",
)

DASHBOARD = Dashboard(
    uid="cgexporter-exporter",
    title="cgexporter / cgexporter itself",
    description="Whether the other dashboards can be trusted: scans, names, what was left out, and what the "
    "exporter costs.",
    variables=[queries.JOB, queries.INSTANCE],
    rows=[
        Row(title="Overview", panels=[*OVERVIEW, VERSIONS, UNSUPPORTED]),
        Row(
            title="Scans",
            panels=[
                _graph(
                    "How long a scan takes",
                    "The last scan that finished, and Prometheus' whole scrape.",
                    "s",
                    (f"cgexporter_scan_duration_seconds{{{TARGET}}}", "scan"),
                    (f"scrape_duration_seconds{{{TARGET}}}", "scrape"),
                ),
                _graph(
                    "Scans",
                    "Scans per second, by result.",
                    "ops",
                    (f"rate(cgexporter_scans_total{{{TARGET}}}[{RANGE}])", "{{result}}"),
                ),
                _graph(
                    "Published",
                    "Containers, pods and cgroups.",
                    "none",
                    (f"cgexporter_published{{{TARGET}}}", "{{level}}"),
                ),
                _graph(
                    "Samples",
                    "Samples of a scrape: what this costs Prometheus.",
                    "none",
                    (f"scrape_samples_scraped{{{TARGET}}}", ""),
                ),
            ],
        ),
        Row(
            title="Errors",
            panels=[
                _graph(
                    "Reading",
                    "Cgroups left out because reading failed, files that did not have their format, and "
                    "processes whose namespaces could not be read, per second.",
                    "ops",
                    (f"rate(cgexporter_cgroups_skipped_total{{{TARGET}}}[{RANGE}])", "skipped"),
                    (f"rate(cgexporter_parse_errors_total{{{TARGET}}}[{RANGE}])", "{{file}}"),
                    (f"rate(cgexporter_processes_skipped_total{{{TARGET}}}[{RANGE}])", "processes"),
                ),
                _graph(
                    "Names",
                    "Containers and pods that a source told of, and those without a name.",
                    "none",
                    (f"cgexporter_identity_answers{{{TARGET}}}", "{{source}}"),
                    (f"cgexporter_identity_unresolved{{{TARGET}}}", "no name"),
                ),
                _graph(
                    "Sources of names that fail",
                    "Times per second that a source could not be asked, or had a file of another form.",
                    "ops",
                    (f"rate(cgexporter_identity_errors_total{{{TARGET}}}[{RANGE}])", "{{source}}"),
                ),
                _graph(
                    "Watches",
                    "Kernel files and directories watched for events, and watches that could not be set: what "
                    "happens there shows at the next scan.",
                    "none",
                    (f"cgexporter_watches{{{TARGET}}}", "set"),
                    (f"cgexporter_watches_missing{{{TARGET}}}", "missing: {{reason}}"),
                ),
            ],
        ),
        Row(
            title="Cost",
            panels=[
                _graph(
                    "CPU",
                    "CPU time that each exporter uses, in cores.",
                    "none",
                    (f"rate(process_cpu_seconds_total{{{TARGET}}}[{RANGE}])", ""),
                ),
                _graph(
                    "Memory",
                    "Resident memory of each exporter.",
                    "bytes",
                    (f"process_resident_memory_bytes{{{TARGET}}}", ""),
                ),
                _graph(
                    "Descriptors",
                    "Kernel files held open between scans, all descriptors, and how many there may be.",
                    "none",
                    (f"cgexporter_open_files{{{TARGET}}}", "kernel files"),
                    (f"process_open_fds{{{TARGET}}}", "all"),
                    (f"process_max_fds{{{TARGET}}} < +Inf", "limit"),
                ),
                _graph(
                    "Looking at all processes",
                    "How long the last look at all processes took, over how many scans it was spread.",
                    "s",
                    (f"cgexporter_namespace_sweep_seconds{{{TARGET}}}", ""),
                ),
            ],
        ),
    ],
)
