"""Dashboard "Pod and container": one of them, and every limit it runs into."""

from dashboards.source import panels, queries
from dashboards.source.grafana import (
    Annotation,
    Column,
    Dashboard,
    Graph,
    Panel,
    Query,
    Row,
    Stat,
    Table,
)
from dashboards.source.queries import (
    NAMED,
    ONE,
    of_cpu_limit,
    of_memory_limit,
    pressure,
    rate,
    throttled,
)
from dashboards.source.thresholds import DEFAULT as LIMITS

NAME = "{{container}} {{id}}"
DECLARED = "Declared requests need --identity.kubelet or --identity.api."


def overview(one: str) -> list[Panel]:
    """How near each limit is."""
    return [
        Stat(
            title="CPU of limit",
            description="The highest share of its own CPU limit that a container uses.",
            queries=[Query(expr=f"max({of_cpu_limit(one)})", legend="CPU")],
            unit="percentunit",
            warn=LIMITS.cpu_of_limit,
            empty="no limit",
        ),
        Stat(
            title="Throttled",
            description="Enforcement periods in which the limit stopped the container, at worst.",
            queries=[Query(expr=f"max({throttled(one)})", legend="periods")],
            unit="percentunit",
            warn=LIMITS.cpu_throttled,
            critical=LIMITS.cpu_throttled_severe,
            empty="no limit",
        ),
        Stat(
            title="Memory of limit",
            description="The highest share of its own memory limit that a container's working set is.",
            queries=[Query(expr=f"max({of_memory_limit(one)})", legend="memory")],
            unit="percentunit",
            warn=LIMITS.memory_of_limit,
            critical=LIMITS.memory_of_limit_critical,
            empty="no limit",
        ),
        Stat(
            title="OOM kills",
            description="Processes killed for lack of memory in these containers, in the time range that is "
            "shown. Containers that are gone are counted by their pod or cgroup.",
            queries=[
                Query(
                    expr=f"sum(increase(cgexporter_container_memory_events_oom_kill_total{{{one}}}[$__range]))",
                    legend="kills",
                )
            ],
            unit="none",
            decimals=0,
            warn=1,
            critical=LIMITS.oom_kills_loop,
        ),
        Stat(
            title="Tasks of limit",
            description="The highest share of its own limit of tasks that a container has.",
            queries=[Query(expr=f"max({queries.of_pids_limit(one)})", legend="tasks")],
            unit="percentunit",
            warn=LIMITS.pids_of_limit,
            empty="no limit",
        ),
        Stat(
            title="Root is the host's root",
            description="Containers in which user 0 is the host's user 0: no user namespace maps it.",
            queries=[
                Query(
                    expr=f"count(cgexporter_container_root_uid{{{one}}} == 0)", legend="containers"
                )
            ],
            unit="none",
            empty="none",
        ),
    ]


def cpu(one: str, *, declared: bool) -> list[Graph]:
    """CPU against its limit, throttling beneath."""
    asked = [
        Query(
            expr=f"cgexporter_container_declared_cpu_request_cores{{{one}}}",
            legend=f"{NAME} request",
            dashed=True,
        )
    ]
    return [
        Graph(
            title="CPU",
            description="CPU time used, in cores, and the container's own limit (dashed). "
            + (DECLARED if declared else ""),
            queries=[
                Query(expr=rate("cgexporter_container_cpu_usage_seconds_total", one), legend=NAME),
                Query(
                    expr=f"cgexporter_container_cpu_limit_cores{{{one}}} < +Inf",
                    legend=f"{NAME} limit",
                    dashed=True,
                ),
                *(asked if declared else []),
            ],
            unit="none",
        ),
        Graph(
            title="CPU in user mode and in the kernel",
            description="CPU time by where it was used, in cores.",
            queries=[
                Query(
                    expr=rate("cgexporter_container_cpu_user_seconds_total", one),
                    legend=f"{NAME} user",
                ),
                Query(
                    expr=rate("cgexporter_container_cpu_system_seconds_total", one),
                    legend=f"{NAME} kernel",
                ),
            ],
            unit="none",
        ),
        panels.throttling(one, NAME),
        Graph(
            title="Throttled time",
            description="Seconds per second that the limit kept tasks from running, summed over CPUs; on v2 "
            "of all cgroups below as well.",
            queries=[
                Query(
                    expr=rate("cgexporter_container_cpu_throttled_seconds_total", one), legend=NAME
                )
            ],
            unit="s",
        ),
    ]


def memory(one: str, *, declared: bool) -> list[Graph]:
    """Memory against its limit, what it is made of, and what happens at the limit."""
    asked = [
        Query(
            expr=f"cgexporter_container_declared_memory_request_bytes{{{one}}}",
            legend=f"{NAME} request",
            dashed=True,
        )
    ]
    parts = {
        "anon": "anonymous",
        "inactive_file": "cache, inactive",
        "active_file": "cache, active",
    }
    return [
        Graph(
            title="Memory",
            description="Working set (without inactive file pages), all that is charged, and the container's "
            "own limit (dashed). The cache is reclaimed before the limit kills. "
            + (DECLARED if declared else ""),
            queries=[
                Query(
                    expr=f"cgexporter_container_memory_working_set_bytes{{{one}}}",
                    legend=f"{NAME} working set",
                ),
                Query(
                    expr=f"cgexporter_container_memory_current_bytes{{{one}}}",
                    legend=f"{NAME} with cache",
                ),
                Query(
                    expr=f"cgexporter_container_memory_max_bytes{{{one}}} < +Inf",
                    legend=f"{NAME} limit",
                    dashed=True,
                ),
                *(asked if declared else []),
            ],
            unit="bytes",
        ),
        Graph(
            title="What memory is",
            description="Anonymous memory (heap, stacks) and page cache.",
            queries=[
                Query(
                    expr=f"cgexporter_container_memory_{part}_bytes{{{one}}}",
                    legend=f"{NAME} {name}",
                )
                for part, name in parts.items()
            ],
            unit="bytes",
            stack=True,
        ),
        Graph(
            title="At the memory limit",
            description="Times per second that the limit was hit or memory.high slowed tasks down (both on "
            "cgroup v2 only), and that a process was killed.",
            queries=[
                Query(
                    expr=rate(f"cgexporter_container_memory_events_{event}_total", one),
                    legend=f"{NAME} {name}",
                )
                for event, name in (
                    ("max", "limit hit"),
                    ("high", "slowed down"),
                    ("oom_kill", "killed"),
                )
            ],
            unit="ops",
        ),
        Graph(
            title="Pages read back",
            description="Pages per second that were needed again soon after they were evicted, and faults "
            "that had to read from a disk: the price of too little memory.",
            queries=[
                Query(
                    expr=rate(f"cgexporter_container_memory_{name}_total", one),
                    legend=f"{NAME} {word}",
                )
                for name, word in (
                    ("refaults_anon", "from swap"),
                    ("refaults_file", "cache"),
                    ("major_page_faults", "major faults"),
                )
            ],
            unit="ops",
        ),
    ]


def io(one: str) -> list[Graph]:
    """By device."""
    name = f"{NAME} {{{{device}}}}"
    return [
        Graph(
            title="I/O bytes",
            description="Bytes read and written (below zero), by device. On v1, writes through the cache "
            "are the kernel's, not the container's.",
            queries=[
                Query(
                    expr=rate("cgexporter_container_io_read_bytes_total", one),
                    legend=f"{name} read",
                ),
                Query(
                    expr="-" + rate("cgexporter_container_io_written_bytes_total", one),
                    legend=f"{name} written",
                ),
            ],
            unit="Bps",
            empty="No I/O on a device",
        ),
        Graph(
            title="I/O operations",
            description="Reads and writes (below zero) per second, by device.",
            queries=[
                Query(expr=rate("cgexporter_container_io_reads_total", one), legend=f"{name} read"),
                Query(
                    expr="-" + rate("cgexporter_container_io_writes_total", one),
                    legend=f"{name} written",
                ),
            ],
            unit="iops",
            empty="No I/O on a device",
        ),
    ]


def tasks(one: str, width: int = 12) -> Graph:
    """Tasks against their limit."""
    return Graph(
        title="Tasks",
        description="Processes and threads, and the limit of tasks (dashed).",
        queries=[
            Query(expr=f"cgexporter_container_pids_current{{{one}}}", legend=NAME),
            Query(
                expr=f"cgexporter_container_pids_max{{{one}}} < +Inf",
                legend=f"{NAME} limit",
                dashed=True,
            ),
        ],
        unit="none",
        width=width,
    )


def container_pressure(one: str) -> list[Graph]:
    """One graph for each resource."""
    marks = {
        "cpu": (LIMITS.cpu_waiting, None),
        "memory": (LIMITS.memory_stalled, LIMITS.memory_stalled_critical),
        "io": (LIMITS.io_stalled, None),
    }
    return [
        Graph(
            title=f"Pressure on {name}",
            description=f"Share of time in which some task waited for {name}, and in which all with work "
            f"were stalled on it. {panels.V2_ONLY}",
            queries=[
                Query(expr=pressure("container", resource, how, one), legend=f"{NAME} {how}")
                for how in ("waiting", "stalled")
            ],
            unit="percentunit",
            width=8,
            warn=marks[resource][0],
            critical=marks[resource][1],
            max=1,
            empty="Not counted on cgroup v1",
        )
        for resource, name in panels.RESOURCES.items()
    ]


def shared(one: str, node: str, width: int = 24) -> Table:
    """Namespaces that are not the container's alone."""
    return Table(
        title="Shared namespaces",
        description="Kernel namespaces that a container shares with the host or with others. What is "
        "not listed is its own, or not known: all kinds but net, pid and user need SYS_PTRACE.",
        queries=[Query(expr=f"cgexporter_container_namespace_shared{{{one}}}")],
        columns=[
            Column(field="instance", title=node),
            *(
                []
                if node == "Host"
                else [
                    Column(field="namespace", title="Namespace"),
                    Column(field="pod", title="Pod"),
                ]
            ),
            Column(field="container", title="Container"),
            Column(field="id", title="ID"),
            Column(field="kind", title="Kind"),
            Column(field="with", title="Shared with"),
        ],
        height=6,
        width=width,
        empty="None is shared",
    )


FACTS = Table(
    title="Containers",
    description="Image and runtime, the limits that act (the least of the container's own, its ancestors', "
    "its cpuset and the machine), and what sets them.",
    queries=[
        # Tables are joined where no label differs, the metric's name included: a sum has none.
        Query(
            expr="sum by (instance, namespace, pod, container, id, image, qos_class, restart_count) "
            f"(cgexporter_container_info{{{ONE}}})"
        ),
        Query(
            expr=f"sum by (instance, id) (cgexporter_container_effective_cpu_limit_cores{{{ONE}}})"
        ),
        Query(
            expr=f"sum by (instance, id) (cgexporter_container_effective_memory_limit_bytes{{{ONE}}})"
        ),
        Query(
            expr=f"sum by (instance, id, cpu, memory) (cgexporter_container_limits_info{{{ONE}}})"
        ),
    ],
    columns=[
        Column(field="instance", title="Node"),
        Column(field="namespace", title="Namespace"),
        Column(field="pod", title="Pod"),
        Column(field="container", title="Container"),
        Column(field="id", title="ID"),
        Column(field="image", title="Image"),
        Column(field="qos_class", title="QoS"),
        Column(field="restart_count", title="Restarts"),
        Column(field="B", title="CPU limit", unit="none"),
        Column(field="cpu", title="CPU limit by"),
        Column(field="C", title="Memory limit", unit="bytes"),
        Column(field="memory", title="Memory limit by"),
    ],
    height=6,
)

DASHBOARD = Dashboard(
    uid="cgexporter-container",
    title="cgexporter / Pod and container",
    description="Pods and containers against their limits: CPU and throttling, memory and what happens at "
    "the limit, I/O, pressure, tasks, network, namespaces.",
    variables=[
        queries.JOB,
        queries.INSTANCE,
        queries.NAMESPACE,
        queries.POD,
        *queries.container_variables(NAMED),
    ],
    annotations=[
        Annotation(
            name="OOM kills",
            expr=f"changes(cgexporter_container_last_oom_kill_timestamp_seconds{{{ONE}}}[$__interval]) > 0",
            title="OOM kill in {{container}} {{id}}",
        )
    ],
    rows=[
        Row(title="Overview", panels=[*overview(ONE), FACTS]),
        Row(title="CPU", panels=cpu(ONE, declared=True)),
        Row(title="Memory", panels=memory(ONE, declared=True)),
        Row(title="Pressure", panels=container_pressure(ONE)),
        Row(title="I/O", panels=io(ONE)),
        Row(title="Network", panels=panels.container_network(ONE, NAMED, NAME)),
        Row(title="Tasks and namespaces", panels=[tasks(ONE), shared(ONE, "Node", 12)]),
    ],
)
