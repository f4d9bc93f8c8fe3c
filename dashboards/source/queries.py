"""Selectors and expressions that several dashboards and rules share.

Families are per level, so a sum over containers counts nothing twice; what is said of the whole
machine is the level `node`'s, and of its parts the level `slice`'s.
"""

from dashboards.source.grafana import Link, Variable

TARGET = 'job=~"$job",instance=~"$instance"'
NAMED = f'{TARGET},namespace=~"$namespace",pod=~"$pod"'
ONE = f'{NAMED},container=~"$container",id=~"$id"'
DOCKER = f'{TARGET},container=~"$container",id=~"$id"'
LEGEND = "{{namespace}} {{pod}} {{container}} {{id}}"
POD_LEGEND = "{{namespace}} {{pod}} {{uid}}"
RANGE = "$__rate_interval"

JOB = Variable(name="job", title="Job", label="job", query="cgexporter_build_info")
INSTANCE = Variable(
    name="instance",
    title="Node",
    label="instance",
    query='cgexporter_build_info{job=~"$job"}',
)
HOST = Variable(
    name="instance",
    title="Host",
    label="instance",
    query='cgexporter_build_info{job=~"$job"}',
)
NAMESPACE = Variable(
    name="namespace",
    title="Namespace",
    label="namespace",
    query=f"cgexporter_container_info{{{TARGET}}}",
    every=".*",
)
POD = Variable(
    name="pod",
    title="Pod",
    label="pod",
    query=f'cgexporter_container_info{{{TARGET},namespace=~"$namespace"}}',
    every=".*",
)


def container_variables(selector: str) -> tuple[Variable, Variable]:
    """Containers by name, and by ID, which all of them have."""
    name = Variable(
        name="container",
        title="Container",
        label="container",
        query=f"cgexporter_container_info{{{selector}}}",
        every=".*",
    )
    id_ = Variable(
        name="id",
        title="ID",
        label="id",
        query=f'cgexporter_container_info{{{selector},container=~"$container"}}',
        every=".*",
    )
    return name, id_


def container_link(*, row: bool = False) -> Link:
    """To one container. By its ID, for names may be unknown."""
    return Link(
        uid="cgexporter-container",
        title="This container",
        labels={"instance": "Node", "id": "ID"} if row else {"instance": "instance", "id": "id"},
        row=row,
    )


def rate(metric: str, selector: str, window: str = RANGE) -> str:
    """How fast a counter grows, per second."""
    return f"rate({metric}{{{selector}}}[{window}])"


def throttled(selector: str, window: str = RANGE) -> str:
    """Share of enforcement periods in which the CPU limit stopped a container."""
    some = rate("cgexporter_container_cpu_throttled_periods_total", selector, window)
    every = rate("cgexporter_container_cpu_periods_total", selector, window)
    return f"{some} / ({every} > 0)"


def of_cpu_limit(selector: str, window: str = RANGE) -> str:
    """CPU time used, as a share of the container's own limit; nothing where it has none."""
    used = rate("cgexporter_container_cpu_usage_seconds_total", selector, window)
    return f"{used} / (cgexporter_container_cpu_limit_cores{{{selector}}} < +Inf)"


def of_memory_limit(selector: str) -> str:
    """Working set as a share of the container's own limit; nothing where it has none."""
    used = f"cgexporter_container_memory_working_set_bytes{{{selector}}}"
    return f"{used} / (cgexporter_container_memory_max_bytes{{{selector}}} < +Inf)"


def of_pids_limit(selector: str) -> str:
    """Tasks as a share of the container's own limit; nothing where it has none."""
    used = f"cgexporter_container_pids_current{{{selector}}}"
    return f"{used} / (cgexporter_container_pids_max{{{selector}}} < +Inf)"


def pressure(level: str, resource: str, how: str, selector: str, window: str = RANGE) -> str:
    """Share of time that tasks waited (one at least) or stalled (all) for a resource."""
    return rate(f"cgexporter_{level}_pressure_{resource}_{how}_seconds_total", selector, window)


def top(count: int, expr: str) -> str:
    """The greatest."""
    return f"topk({count}, {expr})"
