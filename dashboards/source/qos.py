"""Dashboard "QoS and limits": what was promised, and what is enforced."""

from dashboards.source import queries
from dashboards.source.grafana import Column, Dashboard, Graph, Query, Row, Stat, Table
from dashboards.source.queries import NAMED, TARGET, pressure, rate
from dashboards.source.thresholds import DEFAULT as LIMITS

# The QoS class is said once, on the info family; joined by what identifies a container.
CLASS = (
    "* on (job, instance, id) group_left (qos_class) "
    f'cgexporter_container_info{{{NAMED},qos_class!=""}}'
)
ALL_PODS = f'{TARGET},cgroup=~"/kubepods([.]slice)?"'
TIERS = f'{TARGET},cgroup=~".*/(kubepods-)?(burstable|besteffort)([.]slice)?"'
DECLARED = "Needs --identity.kubelet or --identity.api."


def _by_class(expr: str) -> str:
    return f"sum by (qos_class) ({expr} {CLASS})"


def _unlimited(metric: str) -> str:
    return f"count({metric}{{{NAMED}}} == +Inf) or vector(0)"


def _overcommit(limit: str, machine: str) -> str:
    return (
        f"sum by (instance) ({limit}{{{NAMED}}} < +Inf) / on (instance) "
        f"sum by (instance) ({machine}{{{TARGET}}})"
    )


def _mismatch(enforced: str, declared: str, slack: str) -> str:
    first = f"cgexporter_container_{enforced}{{{NAMED}}}"
    second = f"cgexporter_container_{declared}{{{NAMED}}}"
    return f"count(abs({first} - {second}) > {slack}) or (0 * count({second}))"


OVERVIEW = [
    Stat(
        title="Containers by QoS class",
        description="Pods whose containers all have limits equal to requests are Guaranteed, those with any "
        "request Burstable, the others BestEffort. From the cgroup's path.",
        queries=[
            Query(
                expr=f'count by (qos_class) (cgexporter_container_info{{{NAMED},qos_class!=""}})',
                legend="{{qos_class}}",
            )
        ],
        unit="none",
        width=8,
        empty="no pods",
    ),
    Stat(
        title="Without a CPU limit",
        description="Containers that have no CPU limit of their own.",
        queries=[
            Query(expr=_unlimited("cgexporter_container_cpu_limit_cores"), legend="containers")
        ],
        unit="none",
    ),
    Stat(
        title="Without a memory limit",
        description="Containers that have no memory limit of their own: one of them can take the node's memory.",
        queries=[
            Query(expr=_unlimited("cgexporter_container_memory_max_bytes"), legend="containers")
        ],
        unit="none",
        warn=1,
    ),
    Stat(
        title="CPU limits of the node",
        description="Sum of CPU limits of containers, of the CPUs that the node has; over 100 % is overcommitted.",
        queries=[
            Query(
                expr=_overcommit(
                    "cgexporter_container_cpu_limit_cores",
                    "cgexporter_node_effective_cpu_limit_cores",
                ),
                legend="{{instance}}",
            )
        ],
        unit="percentunit",
        empty="no limits",
    ),
    Stat(
        title="Memory limits of the node",
        description="Sum of memory limits of containers, of the node's memory; over 100 % is overcommitted.",
        queries=[
            Query(
                expr=_overcommit(
                    "cgexporter_container_memory_max_bytes",
                    "cgexporter_node_effective_memory_limit_bytes",
                ),
                legend="{{instance}}",
            )
        ],
        unit="percentunit",
        warn=1,
        empty="no limits",
    ),
]

LIMITS_TABLE = Table(
    title="Limits, enforced",
    description="Each container: its own limit, the limit that acts, and what sets that (itself, an ancestor, "
    "the cpuset, the machine). A limit of a pod or slice acts on all in it.",
    queries=[
        Query(
            expr="sum by (instance, namespace, pod, container, id, cpu, memory) "
            f"(cgexporter_container_limits_info{{{NAMED}}})"
        ),
        *(
            Query(expr=f"sum by (instance, id) ({metric}{{{NAMED}}})")
            for metric in (
                "cgexporter_container_cpu_limit_cores",
                "cgexporter_container_effective_cpu_limit_cores",
                "cgexporter_container_memory_max_bytes",
                "cgexporter_container_effective_memory_limit_bytes",
            )
        ),
    ],
    columns=[
        Column(field="instance", title="Node"),
        Column(field="namespace", title="Namespace"),
        Column(field="pod", title="Pod"),
        Column(field="container", title="Container"),
        Column(field="id", title="ID"),
        Column(field="B", title="CPU limit", unit="none"),
        Column(field="C", title="acts", unit="none"),
        Column(field="cpu", title="set by"),
        Column(field="D", title="Memory limit", unit="bytes"),
        Column(field="E", title="memory acts", unit="bytes"),
        Column(field="memory", title="memory set by"),
    ],
    height=9,
    link=queries.container_link(row=True),
)

DECLARED_PANELS = [
    Stat(
        title="CPU limits that differ",
        description="Containers whose CPU limit in the kernel is not the one in the manifest: a resize under "
        f"way, or a setting that was lost. {DECLARED}",
        queries=[
            Query(
                expr=_mismatch("cpu_limit_cores", "declared_cpu_limit_cores", "0.011"),
                legend="containers",
            )
        ],
        unit="none",
        warn=1,
        width=6,
        empty="not known",
    ),
    Stat(
        title="Memory limits that differ",
        description="Containers whose memory limit in the kernel is not the one in the manifest, by more than a "
        f"page. {DECLARED}",
        queries=[
            Query(
                expr=_mismatch("memory_max_bytes", "declared_memory_limit_bytes", "4096"),
                legend="containers",
            )
        ],
        unit="none",
        warn=1,
        width=6,
        empty="not known",
    ),
    Stat(
        title="CPU used of requests",
        description=f"CPU time used by containers that request some, of what they request. {DECLARED}",
        queries=[
            Query(
                expr=f"sum({rate('cgexporter_container_cpu_usage_seconds_total', NAMED)} and "
                f"cgexporter_container_declared_cpu_request_cores{{{NAMED}}} > 0) / "
                f"sum(cgexporter_container_declared_cpu_request_cores{{{NAMED}}})",
                legend="used",
            )
        ],
        unit="percentunit",
        width=6,
        empty="not known",
    ),
    Stat(
        title="Memory used of requests",
        description=f"Working set of containers that request memory, of what they request. {DECLARED}",
        queries=[
            Query(
                expr=f"sum(cgexporter_container_memory_working_set_bytes{{{NAMED}}} and "
                f"cgexporter_container_declared_memory_request_bytes{{{NAMED}}} > 0) / "
                f"sum(cgexporter_container_declared_memory_request_bytes{{{NAMED}}})",
                legend="used",
            )
        ],
        unit="percentunit",
        width=6,
        empty="not known",
    ),
]

DASHBOARD = Dashboard(
    uid="cgexporter-qos",
    title="cgexporter / QoS and limits",
    description="What pods were promised and what the kernel enforces: QoS classes, limits, who sets them, and "
    "where they differ from the manifest.",
    variables=[queries.JOB, queries.INSTANCE, queries.NAMESPACE, queries.POD],
    rows=[
        Row(title="Overview", panels=OVERVIEW),
        Row(
            title="By QoS class",
            panels=[
                Graph(
                    title="CPU by QoS class",
                    description="CPU time used, in cores.",
                    queries=[
                        Query(
                            expr=_by_class(
                                rate("cgexporter_container_cpu_usage_seconds_total", NAMED)
                            ),
                            legend="{{qos_class}}",
                        )
                    ],
                    unit="none",
                    stack=True,
                    empty="no pods",
                ),
                Graph(
                    title="Memory by QoS class",
                    description="Working set.",
                    queries=[
                        Query(
                            expr=_by_class(
                                f"cgexporter_container_memory_working_set_bytes{{{NAMED}}}"
                            ),
                            legend="{{qos_class}}",
                        )
                    ],
                    unit="bytes",
                    stack=True,
                    empty="no pods",
                ),
                Graph(
                    title="Tiers: stalled on memory",
                    description="Share of time in which all tasks of all pods, and of a tier's pods, were stalled. "
                    "On cgroup v2 only.",
                    queries=[
                        Query(
                            expr=pressure("slice", "memory", "stalled", ALL_PODS),
                            legend="{{instance}} {{cgroup}}",
                        ),
                        Query(
                            expr=pressure("cgroup", "memory", "stalled", TIERS),
                            legend="{{instance}} {{cgroup}}",
                        ),
                    ],
                    unit="percentunit",
                    warn=LIMITS.memory_stalled,
                    critical=LIMITS.memory_stalled_critical,
                    max=1,
                    empty="no pods, or cgroup v1",
                ),
                Graph(
                    title="Tiers: share of CPU when it is scarce",
                    description="Weight of the tiers' cgroups (v2) or shares (v1): what they get against each other "
                    "and system.slice. The kubelet sets it from requests.",
                    queries=[
                        Query(
                            expr=f"cgexporter_slice_cpu_weight{{{ALL_PODS}}} or cgexporter_cgroup_cpu_weight{{{TIERS}}}",
                            legend="{{instance}} {{cgroup}} weight",
                        ),
                        Query(
                            expr=f"cgexporter_slice_cpu_shares{{{ALL_PODS}}} or cgexporter_cgroup_cpu_shares{{{TIERS}}}",
                            legend="{{instance}} {{cgroup}} shares",
                        ),
                    ],
                    unit="none",
                    empty="no pods",
                ),
            ],
        ),
        Row(title="Limits", panels=[LIMITS_TABLE]),
        Row(title="Declared and enforced", panels=DECLARED_PANELS),
    ],
)
