"""Panels that more than one dashboard has, for any choice of containers."""

from dashboards.source import queries
from dashboards.source.grafana import Bars, Graph, Link, Panel, Query
from dashboards.source.queries import LEGEND, pressure, rate, throttled, top
from dashboards.source.thresholds import DEFAULT as LIMITS

V2_ONLY = "The kernel counts it on cgroup v2 only."
RESOURCES = {"cpu": "CPU", "memory": "memory", "io": "I/O"}


def throttling(selector: str, legend: str = LEGEND, link: Link | None = None) -> Graph:
    """Throttled periods over time."""
    return Graph(
        title="Throttled periods",
        description="Share of enforcement periods (100 ms by default) in which the CPU limit "
        "stopped the container. Alerts begin at the dashed lines.",
        queries=[Query(expr=top(10, throttled(selector)), legend=legend)],
        unit="percentunit",
        warn=LIMITS.cpu_throttled,
        critical=LIMITS.cpu_throttled_severe,
        max=1,
        link=link,
        empty="No container has a CPU limit",
    )


def worst(
    title: str, description: str, expr: str, unit: str = "percentunit", **more: object
) -> Bars:
    """The ten worst containers."""
    settings: dict[str, object] = {
        "width": 12,
        "height": 9,
        "max": 1,
        "link": queries.container_link(),
    }
    return Bars(
        title=title,
        description=description,
        queries=[Query(expr=f"sort_desc({top(10, expr)})", legend=LEGEND)],
        unit=unit,
        **(settings | more),  # type: ignore[arg-type]
    )


def machine_pressure(width: int = 8, legend: str = "{{instance}}") -> list[Panel]:
    """Pressure of the whole machine, one graph for each resource."""
    marks = {
        "cpu": (LIMITS.cpu_waiting, None),
        "memory": (LIMITS.memory_stalled, LIMITS.memory_stalled_critical),
        "io": (LIMITS.io_stalled, None),
    }
    found: list[Panel] = []
    for resource, name in RESOURCES.items():
        warn, critical = marks[resource]
        found.append(
            Graph(
                title=f"Pressure on {name}",
                description=f"Share of time in which some task of the machine waited for {name}, "
                "and in which all that had work were stalled on it. From /proc/pressure: absent "
                "where the kernel has no PSI.",
                queries=[
                    Query(
                        expr=pressure("node", resource, how, queries.TARGET),
                        legend=f"{legend} {how}".strip(),
                    )
                    for how in ("waiting", "stalled")
                ],
                unit="percentunit",
                warn=warn,
                critical=critical,
                width=width,
                max=1,
                empty="No PSI in this kernel",
            )
        )
    return found


def container_network(selector: str, pod_selector: str | None, legend: str) -> list[Panel]:
    """Bytes, and what went wrong; of pods too where there are pods."""

    def both(metric: str, sign: str, word: str) -> list[Query]:
        chosen = [("container", selector, legend)]
        if pod_selector is not None:
            chosen.insert(0, ("pod", pod_selector, "{{pod}}"))
        return [
            Query(
                expr=sign + rate(f"cgexporter_{level}_network_{metric}", where),
                legend=f"{name} {{{{interface}}}} {word}",
            )
            for level, where, name in chosen
        ]

    owner = "container" if pod_selector is None else "pod or container"
    once = (
        f"A network namespace is counted once, on its {owner}; one on the host's network has none."
    )
    return [
        Graph(
            title="Network",
            description=f"Bytes that interfaces received and sent (below zero). {once}",
            queries=both("receive_bytes_total", "", "in")
            + both("transmit_bytes_total", "-", "out"),
            unit="Bps",
            empty="No network namespace of its own",
        ),
        Graph(
            title="Network errors and drops",
            description=f"Packets per second that were bad or dropped. {once}",
            queries=[
                query
                for what in ("receive_errors", "receive_drops", "transmit_errors", "transmit_drops")
                for query in both(f"{what}_total", "", what.replace("_", " "))
            ],
            unit="pps",
            empty="No network namespace of its own",
        ),
    ]
