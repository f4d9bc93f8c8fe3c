"""Dashboard "Pressure and throttling": the worst of a fleet first."""

from dashboards.source import panels, queries
from dashboards.source.grafana import Column, Dashboard, Graph, Query, Row, Table
from dashboards.source.queries import LEGEND, NAMED, pressure, rate, throttled, top
from dashboards.source.thresholds import DEFAULT as LIMITS

SELECTED = NAMED


def _over_time(resource: str, how: str, warn: float, critical: float | None = None) -> Graph:
    name = panels.RESOURCES[resource]
    return Graph(
        title=f"{how.capitalize()} for {name}" if how == "waiting" else f"Stalled on {name}",
        description=f"The ten worst containers over time. {panels.V2_ONLY}",
        queries=[
            Query(expr=top(10, pressure("container", resource, how, SELECTED)), legend=LEGEND)
        ],
        unit="percentunit",
        warn=warn,
        critical=critical,
        max=1,
        link=queries.container_link(),
        empty="Not counted on cgroup v1",
    )


TABLE = Table(
    title="All at once",
    description="Throttled periods, and time stalled on memory and I/O or waiting for a CPU. Pressure of "
    "containers is counted on cgroup v2 only.",
    queries=[
        Query(expr=f"sum by (instance, namespace, pod, container, id) ({expr})")
        for expr in (
            throttled(SELECTED),
            pressure("container", "memory", "stalled", SELECTED),
            pressure("container", "io", "stalled", SELECTED),
            pressure("container", "cpu", "waiting", SELECTED),
        )
    ],
    columns=[
        Column(field="instance", title="Node"),
        Column(field="namespace", title="Namespace"),
        Column(field="pod", title="Pod"),
        Column(field="container", title="Container"),
        Column(field="id", title="ID"),
        Column(
            field="A",
            title="Throttled",
            unit="percentunit",
            warn=LIMITS.cpu_throttled,
            critical=LIMITS.cpu_throttled_severe,
        ),
        Column(
            field="B",
            title="Stalled on memory",
            unit="percentunit",
            warn=LIMITS.memory_stalled,
            critical=LIMITS.memory_stalled_critical,
        ),
        Column(field="C", title="Stalled on I/O", unit="percentunit", warn=LIMITS.io_stalled),
        Column(field="D", title="Waiting for CPU", unit="percentunit", warn=LIMITS.cpu_waiting),
    ],
    sort="Throttled",
    height=9,
    link=queries.container_link(row=True),
)

DASHBOARD = Dashboard(
    uid="cgexporter-pressure",
    title="cgexporter / Pressure and throttling",
    description="Containers of a fleet that are slowed down, the worst first: by their CPU limit, by memory, "
    "by I/O, by their neighbours.",
    variables=[queries.JOB, queries.INSTANCE, queries.NAMESPACE, queries.POD],
    rows=[
        Row(
            title="The worst now",
            panels=[
                panels.worst(
                    "Throttled by the CPU limit",
                    "Share of enforcement periods in which the CPU limit stopped the container.",
                    throttled(SELECTED),
                    warn=LIMITS.cpu_throttled,
                    critical=LIMITS.cpu_throttled_severe,
                    empty="No container has a CPU limit",
                ),
                panels.worst(
                    "Stalled on memory",
                    "Share of time in which all tasks with work were stalled on memory. "
                    + panels.V2_ONLY,
                    pressure("container", "memory", "stalled", SELECTED),
                    warn=LIMITS.memory_stalled,
                    critical=LIMITS.memory_stalled_critical,
                    empty="Not counted on cgroup v1",
                ),
                panels.worst(
                    "Stalled on I/O",
                    "Share of time in which all tasks with work were stalled on I/O. "
                    + panels.V2_ONLY,
                    pressure("container", "io", "stalled", SELECTED),
                    warn=LIMITS.io_stalled,
                    empty="Not counted on cgroup v1",
                ),
                panels.worst(
                    "Waiting for a CPU",
                    "Share of time in which some task waited for a CPU: by throttling, or because others "
                    "run. " + panels.V2_ONLY,
                    pressure("container", "cpu", "waiting", SELECTED),
                    warn=LIMITS.cpu_waiting,
                    empty="Not counted on cgroup v1",
                ),
                TABLE,
            ],
        ),
        Row(
            title="Over time",
            panels=[
                panels.throttling(SELECTED, link=queries.container_link()),
                Graph(
                    title="Throttled time",
                    description="Seconds per second that the CPU limit kept tasks from running, summed over "
                    "CPUs, of the ten worst containers.",
                    queries=[
                        Query(
                            expr=top(
                                10,
                                rate("cgexporter_container_cpu_throttled_seconds_total", SELECTED),
                            ),
                            legend=LEGEND,
                        )
                    ],
                    unit="s",
                    link=queries.container_link(),
                ),
                _over_time(
                    "memory", "stalled", LIMITS.memory_stalled, LIMITS.memory_stalled_critical
                ),
                _over_time("io", "stalled", LIMITS.io_stalled),
                _over_time("cpu", "waiting", LIMITS.cpu_waiting),
                Graph(
                    title="Pages read back",
                    description="Pages per second that were needed again soon after they were evicted, of the "
                    "ten worst containers: memory that is too small.",
                    queries=[
                        Query(
                            expr=top(
                                10,
                                rate("cgexporter_container_memory_refaults_file_total", SELECTED)
                                + " + "
                                + rate("cgexporter_container_memory_refaults_anon_total", SELECTED),
                            ),
                            legend=LEGEND,
                        )
                    ],
                    unit="ops",
                    link=queries.container_link(),
                ),
            ],
        ),
        Row(title="Nodes", panels=panels.machine_pressure()),
    ],
)
