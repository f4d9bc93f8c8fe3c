"""Dashboard "Node": who uses what, and what it costs the others."""

from dashboards.source import panels, queries
from dashboards.source.grafana import (
    Annotation,
    Column,
    Dashboard,
    Graph,
    Query,
    Row,
    Stat,
    Table,
)
from dashboards.source.queries import LEGEND, TARGET, pressure, rate, top
from dashboards.source.thresholds import DEFAULT as LIMITS

OOM_KILLS = Annotation(
    name="OOM kills",
    expr=f"changes(cgexporter_machine_oom_kills_total{{{TARGET}}}[$__interval]) > 0",
    title="OOM kill on {{instance}}",
)


def overview(node: str) -> list[Stat]:
    """The machine in one line of numbers."""
    return [
        Stat(
            title="CPU",
            description=f"CPU time used, of what the {node} has. The whole machine's, not the sum of "
            "containers.",
            queries=[
                Query(
                    expr=f"{rate('cgexporter_node_cpu_usage_seconds_total', TARGET)} / "
                    f"cgexporter_node_effective_cpu_limit_cores{{{TARGET}}}",
                    legend="{{instance}}",
                )
            ],
            unit="percentunit",
            warn=LIMITS.cpu_of_limit,
        ),
        Stat(
            title="Memory",
            description=f"Working set (without inactive file pages) of all the {node}'s memory.",
            queries=[
                Query(
                    expr=f"cgexporter_node_memory_working_set_bytes{{{TARGET}}} / "
                    f"cgexporter_node_effective_memory_limit_bytes{{{TARGET}}}",
                    legend="{{instance}}",
                )
            ],
            unit="percentunit",
            warn=LIMITS.memory_of_limit,
            critical=LIMITS.memory_of_limit_critical,
        ),
        Stat(
            title="Stalled on memory",
            description="Share of time in which all tasks with work were stalled on memory.",
            queries=[
                Query(expr=pressure("node", "memory", "stalled", TARGET), legend="{{instance}}")
            ],
            unit="percentunit",
            warn=LIMITS.memory_stalled,
            critical=LIMITS.memory_stalled_critical,
            empty="no PSI",
        ),
        Stat(
            title="Stalled on I/O",
            description="Share of time in which all tasks with work were stalled on I/O.",
            queries=[Query(expr=pressure("node", "io", "stalled", TARGET), legend="{{instance}}")],
            unit="percentunit",
            warn=LIMITS.io_stalled,
            empty="no PSI",
        ),
        Stat(
            title="OOM kills",
            description="Processes killed for lack of memory anywhere on the machine, in the time "
            "range that is shown.",
            queries=[
                Query(
                    expr=f"increase(cgexporter_machine_oom_kills_total{{{TARGET}}}[$__range])",
                    legend="{{instance}}",
                )
            ],
            unit="none",
            decimals=0,
            warn=1,
            critical=LIMITS.oom_kills_loop,
        ),
        Stat(
            title="Containers",
            description="Containers that are published; pause sandboxes are not counted.",
            queries=[
                Query(
                    expr=f'cgexporter_published{{{TARGET},level="container"}}',
                    legend="{{instance}}",
                )
            ],
            unit="none",
        ),
    ]


def utilisation(containers: str) -> list[Graph]:
    """What the machine does, and which containers do it."""
    return [
        Graph(
            title="CPU by container",
            description="CPU time used, in cores, of the ten containers that use most, and of the whole "
            "machine (dashed).",
            queries=[
                Query(
                    expr=top(10, rate("cgexporter_container_cpu_usage_seconds_total", containers)),
                    legend=LEGEND,
                ),
                Query(
                    expr=rate("cgexporter_node_cpu_usage_seconds_total", TARGET),
                    legend="{{instance}} in all",
                    dashed=True,
                ),
            ],
            unit="none",
            stack=True,
            link=queries.container_link(),
        ),
        Graph(
            title="Memory by container",
            description="Working set of the ten containers that use most, and the whole machine's (dashed).",
            queries=[
                Query(
                    expr=top(10, f"cgexporter_container_memory_working_set_bytes{{{containers}}}"),
                    legend=LEGEND,
                ),
                Query(
                    expr=f"cgexporter_node_memory_working_set_bytes{{{TARGET}}}",
                    legend="{{instance}} in all",
                    dashed=True,
                ),
            ],
            unit="bytes",
            stack=True,
            link=queries.container_link(),
        ),
        Graph(
            title="I/O by device",
            description="Bytes that the machine read and wrote (below zero), by device.",
            queries=[
                Query(
                    expr=rate("cgexporter_node_io_read_bytes_total", TARGET),
                    legend="{{instance}} {{device}} read",
                ),
                Query(
                    expr="-" + rate("cgexporter_node_io_written_bytes_total", TARGET),
                    legend="{{instance}} {{device}} written",
                ),
            ],
            unit="Bps",
        ),
        Graph(
            title="I/O by container",
            description="Bytes read and written, all devices, of the ten containers that move most.",
            queries=[
                Query(
                    expr=top(
                        10,
                        "sum without (device) ("
                        + rate("cgexporter_container_io_read_bytes_total", containers)
                        + " + "
                        + rate("cgexporter_container_io_written_bytes_total", containers)
                        + ")",
                    ),
                    legend=LEGEND,
                )
            ],
            unit="Bps",
            link=queries.container_link(),
            empty="No container read or wrote on a device",
        ),
    ]


def errors() -> list[Graph]:
    """OOM kills, and forks refused."""
    return [
        Graph(
            title="OOM kills",
            description="Processes killed for lack of memory, on the machine and by the cgroup or pod that "
            "outlives the container. On cgroup v1 by a user without the right to write to "
            "cgroup.event_control, some kills between scrapes are missed.",
            queries=[
                Query(
                    expr=f"increase(cgexporter_machine_oom_kills_total{{{TARGET}}}[{queries.RANGE}])",
                    legend="{{instance}} in all",
                    dashed=True,
                ),
                Query(
                    expr=f"increase(cgexporter_slice_oom_kills_total{{{TARGET}}}[{queries.RANGE}]) > 0 or "
                    f"increase(cgexporter_cgroup_oom_kills_total{{{TARGET}}}[{queries.RANGE}]) > 0",
                    legend="{{cgroup}}",
                ),
                Query(
                    expr=f"increase(cgexporter_pod_oom_kills_total{{{TARGET}}}[{queries.RANGE}]) > 0",
                    legend=queries.POD_LEGEND,
                ),
            ],
            unit="none",
        ),
        Graph(
            title="Forks refused",
            description="Times per second that a limit of tasks refused a fork, in containers.",
            queries=[
                Query(
                    expr=top(10, rate("cgexporter_container_pids_events_max_total", TARGET)),
                    legend=LEGEND,
                )
            ],
            unit="ops",
            link=queries.container_link(),
        ),
    ]


def slices() -> list[Graph]:
    """The tree's first level: none of these lies in another."""
    only = "Cgroups right below the root; a container that lies there is among the containers."
    return [
        Graph(
            title="CPU by slice",
            description=f"CPU time used, in cores. {only}",
            queries=[
                Query(
                    expr=rate("cgexporter_slice_cpu_usage_seconds_total", TARGET),
                    legend="{{instance}} {{cgroup}}",
                )
            ],
            unit="none",
            stack=True,
            width=8,
        ),
        Graph(
            title="Memory by slice",
            description=f"Working set. {only}",
            queries=[
                Query(
                    expr=f"cgexporter_slice_memory_working_set_bytes{{{TARGET}}}",
                    legend="{{instance}} {{cgroup}}",
                )
            ],
            unit="bytes",
            stack=True,
            width=8,
        ),
        Graph(
            title="Stalled on memory, by slice",
            description=f"Share of time in which all tasks were stalled. {only} {panels.V2_ONLY}",
            queries=[
                Query(
                    expr=pressure("slice", "memory", "stalled", TARGET),
                    legend="{{instance}} {{cgroup}}",
                )
            ],
            unit="percentunit",
            warn=LIMITS.memory_stalled,
            max=1,
            empty="Not counted on cgroup v1",
        ),
        Graph(
            title="Tasks by slice",
            description=f"Processes and threads. {only}",
            queries=[
                Query(
                    expr=f"cgexporter_slice_pids_current{{{TARGET}}}",
                    legend="{{instance}} {{cgroup}}",
                )
            ],
            unit="none",
            stack=True,
            width=8,
        ),
    ]


def host_table() -> Table:
    """What the host is."""
    return Table(
        title="Hosts",
        description="How cgroups are mounted (unified is v2, legacy v1, hybrid both), the kernel, and what "
        "the machine has.",
        queries=[
            Query(
                expr=f"sum by (instance, cgroup_mode, kernel) (cgexporter_host_info{{{TARGET}}})"
            ),
            Query(
                expr=f"sum by (instance) (cgexporter_node_effective_cpu_limit_cores{{{TARGET}}})"
            ),
            Query(
                expr=f"sum by (instance) (cgexporter_node_effective_memory_limit_bytes{{{TARGET}}})"
            ),
        ],
        columns=[
            Column(field="instance", title="Node"),
            Column(field="cgroup_mode", title="Cgroups"),
            Column(field="kernel", title="Kernel"),
            Column(field="B", title="CPUs", unit="none"),
            Column(field="C", title="Memory", unit="bytes"),
        ],
        width=14,
    )


def namespaces() -> Graph:
    """Namespaces of the host by kind."""
    return Graph(
        title="Kernel namespaces",
        description="Namespaces that the host has, by kind; those of which no process can be read are "
        "missing without SYS_PTRACE.",
        queries=[
            Query(expr=f"cgexporter_node_namespaces{{{TARGET}}}", legend="{{instance}} {{kind}}")
        ],
        unit="none",
        width=10,
    )


DASHBOARD = Dashboard(
    uid="cgexporter-node",
    title="cgexporter / Node",
    description="Who uses what on a node, and where it hurts: pressure, slices, containers.",
    variables=[queries.JOB, queries.INSTANCE],
    annotations=[OOM_KILLS],
    rows=[
        Row(title="Overview", panels=overview("node")),
        Row(title="Saturation", panels=panels.machine_pressure()),
        Row(
            title="Throttling",
            panels=[panels.throttling(TARGET, link=queries.container_link()), slices()[2]],
        ),
        Row(title="Utilisation", panels=utilisation(TARGET)),
        Row(title="Errors", panels=errors()),
        Row(title="By slice", panels=[slices()[0], slices()[1], slices()[3]]),
        Row(title="The host", panels=[host_table(), namespaces()]),
    ],
)
