"""Dashboard "Docker host": containers of one host, in the words of Docker."""

from dashboards.source import container, node, panels, queries
from dashboards.source.grafana import Annotation, Column, Dashboard, Query, Row, Table
from dashboards.source.queries import DOCKER, TARGET, of_cpu_limit, of_memory_limit, rate, throttled
from dashboards.source.thresholds import DEFAULT as LIMITS

KEYS = "instance, container, id"


def _by(expr: str) -> Query:
    return Query(expr=f"sum by ({KEYS}) ({expr})")


CONTAINERS = Table(
    title="Containers",
    description="Each container now: CPU in cores and of its limit, throttled periods, working set and its "
    "share of the limit, OOM kills in the time range that is shown, tasks.",
    queries=[
        _by(rate("cgexporter_container_cpu_usage_seconds_total", DOCKER)),
        _by(of_cpu_limit(DOCKER)),
        _by(throttled(DOCKER)),
        _by(f"cgexporter_container_memory_working_set_bytes{{{DOCKER}}}"),
        _by(of_memory_limit(DOCKER)),
        _by(f"increase(cgexporter_container_memory_events_oom_kill_total{{{DOCKER}}}[$__range])"),
        _by(f"cgexporter_container_pids_current{{{DOCKER}}}"),
        Query(
            expr=f"sum by ({KEYS}, image, compose_project, compose_service) "
            f"(cgexporter_container_info{{{DOCKER}}})"
        ),
    ],
    columns=[
        Column(field="instance", title="Host"),
        Column(field="container", title="Container"),
        Column(field="id", title="ID"),
        Column(field="image", title="Image"),
        Column(field="compose_project", title="Project"),
        Column(field="A", title="CPU", unit="none"),
        Column(
            field="B",
            title="CPU of limit",
            unit="percentunit",
            warn=LIMITS.cpu_of_limit,
        ),
        Column(
            field="C",
            title="Throttled",
            unit="percentunit",
            warn=LIMITS.cpu_throttled,
            critical=LIMITS.cpu_throttled_severe,
        ),
        Column(field="D", title="Memory", unit="bytes"),
        Column(
            field="E",
            title="Memory of limit",
            unit="percentunit",
            warn=LIMITS.memory_of_limit,
            critical=LIMITS.memory_of_limit_critical,
        ),
        Column(
            field="F",
            title="OOM kills",
            unit="none",
            decimals=0,
            warn=1,
            critical=LIMITS.oom_kills_loop,
        ),
        Column(field="G", title="Tasks", unit="none"),
    ],
    sort="CPU",
    height=9,
)

DASHBOARD = Dashboard(
    uid="cgexporter-docker",
    title="cgexporter / Docker host",
    description="Containers of a host that runs Docker or Podman: what they use, what limits them, what was "
    "killed.",
    variables=[
        queries.JOB,
        queries.HOST,
        *queries.container_variables(TARGET),
    ],
    annotations=[
        Annotation(
            name="OOM kills",
            expr=f"changes(cgexporter_machine_oom_kills_total{{{TARGET}}}[$__interval]) > 0",
            title="OOM kill on {{instance}}",
        )
    ],
    rows=[
        Row(title="Overview", panels=[*node.overview("host"), CONTAINERS]),
        Row(title="Saturation", panels=panels.machine_pressure()),
        Row(
            title="CPU",
            panels=[
                container.cpu(DOCKER, declared=False)[0],
                panels.throttling(DOCKER, container.NAME),
            ],
        ),
        Row(title="Memory", panels=container.memory(DOCKER, declared=False)),
        Row(title="I/O", panels=[node.utilisation(DOCKER)[2], *container.io(DOCKER)[:1]]),
        Row(title="Network", panels=panels.container_network(DOCKER, None, container.NAME)),
        Row(
            title="Tasks and namespaces",
            panels=[container.tasks(DOCKER), container.shared(DOCKER, "Host", 12)],
        ),
    ],
)
