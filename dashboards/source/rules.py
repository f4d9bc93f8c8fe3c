"""Alerts and recording rules, as Prometheus' rule files.

No alert divides by a limit that is +Inf, and each takes one of several scrapes of the same
exporter: two jobs that scrape it give one alert.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dashboards.source import queries
from dashboards.source.queries import of_memory_limit, pressure, rate, throttled
from dashboards.source.thresholds import DEFAULT, Thresholds

RUNBOOKS = "https://github.com/cgexporter/cgexporter/blob/main/docs/runbooks/"
WHO = (
    "{{ with $labels.namespace }}{{ . }}/{{ end }}{{ with $labels.pod }}{{ . }} {{ end }}"
    "{{ with $labels.container }}{{ . }} {{ end }}{{ with $labels.id }}({{ . }}) {{ end }}"
    "on {{ $labels.instance }}"
)
POD = "{{ with $labels.namespace }}{{ . }}/{{ end }}{{ with $labels.pod }}{{ . }}{{ else }}{{ $labels.uid }}{{ end }} on {{ $labels.instance }}"
CGROUP = "{{ $labels.cgroup }} on {{ $labels.instance }}"
SHARE = "{{ $value | humanizePercentage }}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One alert. Its page is ``docs/runbooks/NAME.md``."""

    name: str
    expr: str
    hold: str
    severity: str
    summary: str
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One recording rule."""

    name: str
    expr: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Rules that are evaluated together."""

    name: str
    rules: Sequence[Alert | Record]


def once(expr: str) -> str:
    """The same from whichever job scraped it."""
    return f"max without (job, endpoint, service) ({expr})"


def _container(resource: str, how: str, window: str = "5m") -> str:
    return once(pressure("container", resource, how, "", window))


def _growth(metric: str, window: str) -> str:
    return once(f"increase({metric}[{window}])")


def _recent(level: str, seconds: int = 600) -> str:
    return once(f"time() - cgexporter_{level}_last_oom_kill_timestamp_seconds < {seconds}")


def _recent_outside() -> str:
    """The same of all that is neither container nor pod; the node has no label ``cgroup``."""
    metric = "last_oom_kill_timestamp_seconds"
    node = f'label_replace(cgexporter_node_{metric}, "cgroup", "/", "", "")'
    every = f"{node} or cgexporter_slice_{metric} or cgexporter_cgroup_{metric}"
    return once(f"time() - ({every}) < 600")


def _outside_growth(window: str) -> str:
    node = f"increase(cgexporter_node_oom_kills_total[{window}])"
    rest = [
        f"increase(cgexporter_{level}_oom_kills_total[{window}])" for level in ("slice", "cgroup")
    ]
    return once(" or ".join([f'label_replace({node}, "cgroup", "/", "", "")', *rest]))


def _killed_inside(label: str) -> str:
    """Containers that tell of a kill themselves, with a label of what they are."""
    return (
        f"{_recent('container')} * on (instance, id) group_left ({label}) "
        f"{once('cgexporter_container_info')}"
    )


def _killed_in_pod() -> str:
    return f'label_replace({_killed_inside("pod_uid")}, "uid", "$1", "pod_uid", "(.+)")'


def _killed_below() -> str:
    above = f'label_replace({_killed_inside("cgroup")}, "cgroup", "$1", "cgroup", "(.*)/[^/]+")'
    return f'label_replace({above}, "cgroup", "/", "cgroup", "")'


def _cpu(t: Thresholds) -> Group:
    severe = once(throttled("", "5m"))
    time = once(rate("cgexporter_container_cpu_throttled_seconds_total", "", "5m"))
    limit = once("cgexporter_container_cpu_limit_cores")
    return Group(
        name="cgexporter-cpu",
        rules=[
            Alert(
                name="ContainerCPUThrottlingHigh",
                expr=f"{once(throttled('', '5m'))} > {t.cpu_throttled:g}",
                hold="15m",
                severity="info",
                summary=f"The CPU limit slows {WHO} down",
                description=f"It was stopped in {SHARE} of its enforcement periods in the last 5 minutes.",
            ),
            Alert(
                name="ContainerCPUThrottlingSevere",
                expr=f"{severe} > {t.cpu_throttled_severe:g} and "
                f"{time} > {t.cpu_throttled_time_severe:g} * {limit}",
                hold="10m",
                severity="warning",
                summary=f"The CPU limit takes much time from {WHO}",
                description=f"It was stopped in {SHARE} of its enforcement periods, and lost more than "
                f"{t.cpu_throttled_time_severe:.0%} of the time its limit allows.",
            ),
            Alert(
                name="ContainerCPUNearLimit",
                expr=f"{once(queries.of_cpu_limit('', '5m'))} > {t.cpu_of_limit:g}",
                hold="10m",
                severity="warning",
                summary=f"{WHO} uses nearly all CPU time its limit allows",
                description=f"It used {SHARE} of its CPU limit in the last 5 minutes.",
            ),
            Alert(
                name="ContainerCPUPressureHigh",
                expr=f"{_container('cpu', 'waiting')} > {t.cpu_waiting:g} and "
                f"{_container('cpu', 'waiting', '1m')} > {t.cpu_waiting:g} "
                f"unless {severe} > 0.05",
                hold="15m",
                severity="info",
                summary=f"{WHO} waits for a CPU without being throttled",
                description=f"Tasks waited {SHARE} of the time: others run, or the weight is small.",
            ),
        ],
    )


def _memory(t: Thresholds) -> Group:
    share = once(of_memory_limit(""))
    ahead = once(
        "predict_linear(cgexporter_container_memory_working_set_bytes[30m], 1800) / "
        "(cgexporter_container_memory_max_bytes < +Inf)"
    )
    stalled = _container("memory", "stalled")
    refaults_anon = once(rate("cgexporter_container_memory_refaults_anon_total", "", "5m"))
    refaults_file = once(rate("cgexporter_container_memory_refaults_file_total", "", "5m"))
    return Group(
        name="cgexporter-memory",
        rules=[
            Alert(
                name="ContainerMemoryNearLimit",
                expr=f"{share} > {t.memory_of_limit:g}",
                hold="5m",
                severity="warning",
                summary=f"{WHO} is near its memory limit",
                description=f"Its working set is {SHARE} of its limit; at the limit a process is killed.",
            ),
            Alert(
                name="ContainerMemoryLimitImminent",
                expr=f"{share} > {t.memory_of_limit_critical:g} or "
                f"({ahead} > 1 and {share} > {t.memory_of_limit:g})",
                hold="5m",
                severity="critical",
                summary=f"{WHO} is about to be killed for lack of memory",
                description="Its working set is at its limit, or will be within half an hour at this pace.",
            ),
            Alert(
                name="ContainerOOMKilled",
                expr=_recent("container"),
                hold="0m",
                severity="warning",
                summary=f"A process was killed for lack of memory in {WHO}",
                description="It was killed {{ $value | humanizeDuration }} ago; the container goes on without it.",
            ),
            Alert(
                name="PodOOMKilled",
                expr=f"{_recent('pod')} unless on (instance, uid) {_killed_in_pod()}",
                hold="0m",
                severity="warning",
                summary=f"A container of {POD} was killed for lack of memory",
                description="It was killed {{ $value | humanizeDuration }} ago, and the container is gone.",
            ),
            Alert(
                name="CgroupOOMKilled",
                expr=f"{_recent_outside()} unless on (instance, cgroup) {_killed_below()}",
                hold="0m",
                severity="warning",
                summary=f"A process was killed for lack of memory in {CGROUP}",
                description="It was killed {{ $value | humanizeDuration }} ago: a service, or a container "
                "right below that is gone.",
            ),
            Alert(
                name="OOMKillLoop",
                expr=f"{_growth('cgexporter_pod_oom_kills_total', '1h')} >= {t.oom_kills_loop:g} or "
                f"{_outside_growth('1h')} >= {t.oom_kills_loop:g}",
                hold="0m",
                severity="critical",
                summary="Again and again killed for lack of memory: {{ with $labels.cgroup }}{{ . }}{{ else }}"
                f"{POD}{{{{ end }}}}",
                description="{{ $value | humanize }} processes were killed in the last hour.",
            ),
            Alert(
                name="ContainerMemoryPressureHigh",
                expr=f"{stalled} > {t.memory_stalled:g}",
                hold="5m",
                severity="warning",
                summary=f"{WHO} is stalled on memory",
                description=f"All its tasks with work were stalled {SHARE} of the last 5 minutes.",
            ),
            Alert(
                name="ContainerMemoryPressureCritical",
                expr=f"{_container('memory', 'stalled', '1m')} > {t.memory_stalled_critical:g}",
                hold="1m",
                severity="critical",
                summary=f"{WHO} hardly runs for lack of memory",
                description=f"All its tasks with work were stalled {SHARE} of the last minute.",
            ),
            Alert(
                name="ContainerMemoryHighReclaim",
                expr=f"{once(rate('cgexporter_container_memory_events_high_total', '', '5m'))} > 0 and "
                f"{stalled} > {t.memory_stalled_reclaim:g}",
                hold="15m",
                severity="warning",
                summary=f"memory.high slows {WHO} down",
                description="It exceeds memory.high {{ $value | humanize }} times per second and is stalled by it.",
            ),
            Alert(
                name="ContainerSwapThrashing",
                expr=f"{refaults_anon} > {t.anon_refaults_per_second:g} and "
                f"{stalled} > {t.memory_stalled_reclaim:g}",
                hold="15m",
                severity="warning",
                summary=f"{WHO} swaps the same pages in and out",
                description="It reads {{ $value | humanize }} pages per second back from swap.",
            ),
            Alert(
                name="ContainerPageCacheThrashing",
                expr=f"{refaults_file} > {t.file_refaults_per_second:g} and "
                f"({stalled} > {t.memory_stalled_reclaim:g} or "
                f"{_container('io', 'stalled')} > {t.memory_stalled_reclaim:g})",
                hold="15m",
                severity="warning",
                summary=f"{WHO} reads the same files again and again",
                description="It reads {{ $value | humanize }} pages per second that it evicted shortly before.",
            ),
        ],
    )


def _rest(t: Thresholds) -> Group:
    tasks = once(queries.of_pids_limit(""))
    return Group(
        name="cgexporter-io-and-tasks",
        rules=[
            Alert(
                name="ContainerIOPressureHigh",
                expr=f"{_container('io', 'stalled')} > {t.io_stalled:g}",
                hold="15m",
                severity="warning",
                summary=f"{WHO} is stalled on I/O",
                description=f"All its tasks with work were stalled {SHARE} of the last 5 minutes.",
            ),
            Alert(
                name="ContainerPidsNearLimit",
                expr=f"{tasks} > {t.pids_of_limit:g}",
                hold="5m",
                severity="warning",
                summary=f"{WHO} is near its limit of tasks",
                description=f"It has {SHARE} of the processes and threads it may have.",
            ),
            Alert(
                name="ContainerPidsLimitHit",
                expr=f"{_growth('cgexporter_container_pids_events_max_total', '10m')} > 0",
                hold="0m",
                severity="critical",
                summary=f"{WHO} cannot start processes or threads",
                description="Its limit of tasks refused {{ $value | humanize }} forks in the last 10 minutes.",
            ),
        ],
    )


def _node(t: Thresholds) -> Group:
    def stalled(resource: str, window: str) -> str:
        node = pressure("node", resource, "stalled", "", window)
        pods = pressure("slice", resource, "stalled", 'cgroup=~"/kubepods([.]slice)?"', window)
        return once(f'label_replace({node}, "cgroup", "/", "", "") or {pods}')

    return Group(
        name="cgexporter-node",
        rules=[
            Alert(
                name="NodeMemoryPressureHigh",
                expr=f"{stalled('memory', '5m')} > {t.memory_stalled:g} and "
                f"{stalled('memory', '1m')} > {t.memory_stalled:g}",
                hold="5m",
                severity="warning",
                summary=f"The node is short of memory: {CGROUP}",
                description=f"All tasks there with work were stalled {SHARE} of the last 5 minutes.",
            ),
            Alert(
                name="NodeIOPressureHigh",
                expr=f"{stalled('io', '5m')} > {t.io_stalled:g} and "
                f"{stalled('io', '1m')} > {t.io_stalled:g}",
                hold="15m",
                severity="warning",
                summary=f"The node is stalled on I/O: {CGROUP}",
                description=f"All tasks there with work were stalled {SHARE} of the last 5 minutes.",
            ),
        ],
    )


def _own(t: Thresholds) -> Group:
    node = "on {{ $labels.instance }}"
    return Group(
        name="cgexporter-itself",
        rules=[
            Alert(
                name="CgexporterDown",
                expr='up{job=~".*cgexporter.*"} == 0',
                hold="5m",
                severity="warning",
                summary=f"cgexporter cannot be scraped {node}",
                description="Nothing is known of the containers there.",
            ),
            Alert(
                name="CgexporterAbsent",
                expr="absent(cgexporter_build_info)",
                hold="5m",
                severity="warning",
                summary="No cgexporter is scraped",
                description="Prometheus has no target of cgexporter, or none that answers.",
            ),
            Alert(
                name="CgexporterScanFailing",
                expr=f"{once('cgexporter_scan_success')} == 0",
                hold="15m",
                severity="warning",
                summary=f"cgexporter's scans fail {node}",
                description="Its samples are those of the last scan that finished.",
            ),
            Alert(
                name="CgexporterScanStale",
                expr=f"{once('cgexporter_snapshot_age_seconds')} > {t.snapshot_age_seconds:g}",
                hold="5m",
                severity="warning",
                summary=f"cgexporter's samples are old {node}",
                description="They are {{ $value | humanizeDuration }} old.",
            ),
            Alert(
                name="CgexporterCgroupsDropped",
                expr=f"{once('cgexporter_cgroups_dropped')} > 0",
                hold="15m",
                severity="warning",
                summary=f"cgexporter leaves cgroups out {node}",
                description="{{ $value | humanize }} cgroups are more than --scan.max-cgroups.",
            ),
            Alert(
                name="CgexporterIdentityUnresolved",
                expr=f"{once('cgexporter_identity_unresolved')} / on (instance) group_left () "
                f"({once('cgexporter_published{level=' + chr(34) + 'container' + chr(34) + '}')} > 0) > {t.unresolved:g}",
                hold="15m",
                severity="info",
                summary=f"cgexporter does not know the names of containers {node}",
                description=f"{SHARE} of the containers go by their IDs.",
            ),
        ],
    )


def alerts(t: Thresholds = DEFAULT) -> list[Group]:
    """The alerts that are on."""
    return [_cpu(t), _memory(t), _rest(t), _node(t), _own(t)]


def optional_alerts(t: Thresholds = DEFAULT) -> list[Group]:
    """Alerts that not everybody wants."""
    used = once(
        "max_over_time(cgexporter_container_memory_working_set_bytes[7d]) / "
        "(cgexporter_container_memory_max_bytes < +Inf)"
    )
    age = "count_over_time(cgexporter_container_memory_working_set_bytes[1h] offset 7d) > 0"
    return [
        Group(
            name="cgexporter-optional",
            rules=[
                Alert(
                    name="ContainerMemoryOverprovisioned",
                    expr=f"{used} < {t.used_of_limit_low:g} and {once(age)}",
                    hold="1h",
                    severity="info",
                    summary=f"{WHO} needs much less memory than its limit",
                    description=f"In a week it never used more than {SHARE} of its limit.",
                ),
                Alert(
                    name="ContainerSharesHostNamespace",
                    expr=once(
                        'cgexporter_container_namespace_shared{kind=~"ipc|net|pid",with="host"}'
                    ),
                    hold="15m",
                    severity="info",
                    summary=f"{WHO} is in the host's {{{{ $labels.kind }}}} namespace",
                    description="It sees or reaches what belongs to the host.",
                ),
            ],
        )
    ]


def recording() -> list[Group]:
    """Series that are worth keeping, or are asked for often."""
    shares = [
        Record(
            name="container:cgexporter_cpu_throttled_periods:ratio_rate5m",
            expr=throttled("", "5m"),
        ),
        Record(
            name="container:cgexporter_cpu_limit:ratio_rate5m", expr=queries.of_cpu_limit("", "5m")
        ),
        Record(name="container:cgexporter_memory_limit:ratio", expr=of_memory_limit("")),
        Record(name="container:cgexporter_pids_limit:ratio", expr=queries.of_pids_limit("")),
    ]
    pressures = [
        Record(
            name=f"container:cgexporter_pressure_{resource}_{how}_seconds:rate5m",
            expr=pressure("container", resource, how, "", "5m"),
        )
        for resource in ("cpu", "memory", "io")
        for how in ("waiting", "stalled")
    ]
    cpu = rate("cgexporter_container_cpu_usage_seconds_total", "", "5m")
    memory = "cgexporter_container_memory_working_set_bytes"
    sums = [
        Record(name=f"{level}:cgexporter_{name}", expr=f"sum by (job, {labels}) ({expr})")
        for level, labels in (("namespace", "namespace"), ("instance", "instance"))
        for name, expr in (
            ("cpu_usage_seconds:sum_rate5m", cpu),
            ("memory_working_set_bytes:sum", memory),
        )
    ]
    return [
        Group(name="cgexporter-shares", rules=shares),
        Group(name="cgexporter-pressures", rules=pressures),
        Group(name="cgexporter-sums", rules=sums),
    ]


def text(groups: Sequence[Group], said: str) -> str:
    """A rule file. JSON's strings are YAML's."""
    import json

    lines = [
        f"# {said}",
        "# Written by `python3 dev.py dashboards`; change dashboards/source instead.",
        "groups:",
    ]
    for group in groups:
        lines += [f"  - name: {group.name}", "    rules:"]
        for rule in group.rules:
            if isinstance(rule, Record):
                lines += [
                    f"      - record: {rule.name}",
                    f"        expr: {json.dumps(_tidy(rule.expr))}",
                ]
                continue
            notes: Mapping[str, str] = {
                "summary": rule.summary,
                "description": rule.description,
                "runbook_url": f"{RUNBOOKS}{rule.name}.md",
            }
            lines += [
                f"      - alert: {rule.name}",
                f"        expr: {json.dumps(_tidy(rule.expr))}",
                f"        for: {rule.hold}",
                "        labels:",
                f"          severity: {rule.severity}",
                "        annotations:",
                *(f"          {name}: {json.dumps(note)}" for name, note in notes.items()),
            ]
    return "\n".join([*lines, ""])


def _tidy(expr: str) -> str:
    return expr.replace("{}", "")
