"""What engines say of their containers beside what we say: one table for tests and documents."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.integration.reading import Numbers
from tests.lab.machine import HIERARCHIES, Guest
from tests.lab.workloads import DEVICE

NANO = 10**9
# Answers of an engine and our numbers → the two values that are compared.
Read = Callable[[Any], float | None]


@dataclass(frozen=True, slots=True)
class Compared:
    """One quantity: how an engine tells it, and our metric of the level `container`."""

    quantity: str
    engine: str
    source: str
    ours: str
    read: Read
    remark: str = ""
    on: frozenset[str] = frozenset(HIERARCHIES)


def _io(operation: str) -> Read:
    def read(stats: Any) -> float | None:
        entries = stats["blkio_stats"]["io_service_bytes_recursive"] or []
        found = [e["value"] for e in entries if e["op"].lower() == operation and e["minor"] == 16]
        return found[0] if found else None

    return read


def _working_set(stats: Any) -> float:
    memory = stats["memory_stats"]
    kept = memory["stats"]
    inactive: int = kept.get("total_inactive_file", kept.get("inactive_file"))
    return float(memory["usage"] - inactive)


def _limit(name: str, unit: float = 1) -> Read:
    return lambda inspected: inspected["HostConfig"][name] / unit or None


def _rate(name: str) -> Read:
    return lambda inspected: (inspected["HostConfig"][name] or [{"Rate": None}])[0]["Rate"]


def _throttling(name: str, unit: float = 1) -> Read:
    return lambda stats: stats["cpu_stats"]["throttling_data"][name] / unit


def _network(name: str) -> Read:
    return lambda stats: stats.get("networks", {}).get("eth0", {}).get(name)


_STATS, _INSPECT, _PODMAN = "docker stats", "docker inspect", "podman stats"
ROWS = (
    Compared(
        *("CPU time", _STATS, "cpu_usage.total_usage", "cpu_usage_seconds"),
        lambda stats: stats["cpu_stats"]["cpu_usage"]["total_usage"] / NANO,
        "`docker stats` shows its rate in percent",
    ),
    Compared(
        *("throttled periods", _STATS, "throttling_data.throttled_periods"),
        *("cpu_throttled_periods", _throttling("throttled_periods")),
        "in the API alone, no column shows it",
    ),
    Compared(
        *("throttled time", _STATS, "throttling_data.throttled_time"),
        *("cpu_throttled_seconds", _throttling("throttled_time", NANO)),
        "in the API alone, no column shows it",
    ),
    Compared(
        *("memory", _STATS, "usage - inactive_file", "memory_working_set_bytes", _working_set),
        "the API's `usage` is our `memory_current_bytes`",
    ),
    Compared(
        *("tasks", _STATS, "pids_stats.current", "pids_current"),
        lambda stats: stats["pids_stats"].get("current"),
    ),
    Compared(
        *("bytes read", _STATS, "io_service_bytes_recursive", f"io_read_bytes{{{DEVICE}}}"),
        _io("read"),
        "`docker stats` adds up devices",
    ),
    Compared(
        *("bytes written", _STATS, "io_service_bytes_recursive", f"io_written_bytes{{{DEVICE}}}"),
        _io("write"),
        "`docker stats` adds up devices",
    ),
    Compared(
        *("bytes received", _STATS, "networks.eth0.rx_bytes", "network_receive_bytes{eth0}"),
        _network("rx_bytes"),
    ),
    Compared(
        *("bytes sent", _STATS, "networks.eth0.tx_bytes", "network_transmit_bytes{eth0}"),
        _network("tx_bytes"),
    ),
    Compared(
        *("CPU limit", _INSPECT, "NanoCpus", "cpu_limit_cores", _limit("NanoCpus", NANO)),
        "0 there is no limit, +Inf here",
    ),
    Compared(
        *("memory limit", _INSPECT, "Memory", "memory_max_bytes", _limit("Memory")),
        "0 there is no limit, +Inf here",
    ),
    Compared(
        *("task limit", _INSPECT, "PidsLimit", "pids_max"),
        lambda inspected: inspected["HostConfig"]["PidsLimit"],
        "where none was asked for, systemd's default for units acts, which Docker does not know",
    ),
    Compared(
        *("read limit", _INSPECT, "BlkioDeviceReadBps"),
        *(f"io_limit_read_bytes_per_second{{{DEVICE}}}", _rate("BlkioDeviceReadBps")),
    ),
    Compared(
        *("CPU time", _PODMAN, "CPUNano", "cpu_usage_seconds"),
        lambda stats: stats["cpu"] / NANO,
    ),
    Compared(
        *("memory on v2", _PODMAN, "MemUsage", "memory_anon_bytes", lambda stats: stats["memory"]),
        "anonymous memory alone: neither page cache nor what the kernel holds for it",
        on=frozenset({"v2"}),
    ),
    Compared(
        *("memory on v1", _PODMAN, "MemUsage", "memory_current_bytes"),
        lambda stats: stats["memory"],
        "page cache included",
        on=frozenset({"hybrid", "v1"}),
    ),
    Compared(
        *("tasks", _PODMAN, "PIDs", "pids_current", lambda stats: stats["pids"]),
    ),
)


def ask(guest: Guest, names: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """What the engines say, by container and by the `engine` of a row.

    Args:
        guest: where they run.
        names: engine by name of container: docker or podman.
    """
    found: dict[str, dict[str, Any]] = {name: {} for name in names}
    docker = [name for name, engine in names.items() if engine == "docker"]
    get = "curl -sS --unix-socket /run/docker.sock"
    urls = [f"'http://d/containers/{name}/stats?stream=false&one-shot=true'" for name in docker]
    lines = guest.run(f"{get} {' '.join(urls)}").splitlines()
    for name, line in zip(docker, lines, strict=True):
        found[name][_STATS] = json.loads(line)
    for entry in guest.json(f"docker inspect {' '.join(docker)}"):
        found[entry["Name"].lstrip("/")][_INSPECT] = entry
    fields = " ".join(f"{{{{.ContainerStats.{name}}}}}" for name in ("CPUNano", "MemUsage", "PIDs"))
    podman = [name for name, engine in names.items() if engine == "podman"]
    said = guest.run(
        f"podman stats --no-stream --format '{{{{.Name}}}} {fields}' {' '.join(podman)}"
    )
    for line in said.splitlines():
        name, *values = line.split()
        keys = ("cpu", "memory", "pids")
        found[name][_PODMAN] = dict(zip(keys, map(int, values), strict=True))
    return found


def differences(
    said: Mapping[str, Mapping[str, Any]], ours: Mapping[str, Numbers], hierarchy: str
) -> tuple[int, list[str]]:
    """How many values are equal, and which are not; both by name of container."""
    equal, unequal = 0, []
    for row in ROWS:
        for name, answers in said.items():
            if row.engine not in answers or hierarchy not in row.on:
                continue
            theirs = row.read(answers[row.engine])
            if theirs is None:
                continue  # not there, or no limit
            mine = ours[name].get(row.ours, 0.0)
            if theirs == mine:
                equal += 1
            else:
                unequal.append(f"{row.quantity} of {name}: {row.engine} {theirs}, ours {mine}")
    return equal, unequal


def page() -> list[str]:
    """The table of docs/COMPARISON.md."""
    lines = ["| Quantity | Tool | Its value | Ours, `cgexporter_container_…` | Remark |"]
    lines.append("|---|---|---|---|---|")
    for row in ROWS:
        ours = row.ours.replace(f"{{{DEVICE}}}", "").replace("{eth0}", "")
        lines.append(
            f"| {row.quantity} | `{row.engine}` | `{row.source}` | `{ours}` | {row.remark} |"
        )
    return lines
