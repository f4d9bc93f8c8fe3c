"""Each alert fires on its case, not on the near miss, resolves, and is told once.

By ``promtool test rules`` with the committed files. Every series is there twice, as two jobs that
scrape one exporter would make it.
"""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from tests.integration.support import program

RULES = Path(__file__).resolve().parents[2] / "dashboards/rules"
RULE = {
    rule["alert"]: rule
    for file in sorted(RULES.glob("*alerts.yaml"))
    for group in yaml.safe_load(file.read_text())["groups"]
    for rule in group["rules"]
}
ALERTS = list(RULE)
INF = float("inf")
# What a phase's value is where there is no sample.
NOTHING = None
ONE = {"namespace": "shop", "pod": "cart-0", "container": "app", "id": "abc"}
POD = {"namespace": "shop", "pod": "cart-0", "uid": "u-1"}
Value = float | None


@dataclass(frozen=True, slots=True)
class Series:
    """One series in three phases: the case, the near miss, and afterwards."""

    name: str
    sick: Value
    near: Value
    well: Value
    labels: dict[str, str] = field(default_factory=lambda: ONE)
    limit: bool = False

    @property
    def counter(self) -> bool:
        """Whether the values are what it grows by in each interval."""
        return self.name.endswith("_total")


@dataclass(frozen=True, slots=True)
class Case:
    """An alert's series; times in samples.

    Attributes:
        sick: how many samples the case lasts, `asked` when it must fire, `over` when it must not.
        jobs: that scrape it; an alert about the scrape itself is one for each.
    """

    series: Sequence[Series]
    interval: str = "15s"
    seconds: int = 15
    sick: int = 160
    asked: int = 140
    over: int = 472
    jobs: Sequence[str] = ("cgexporter", "again")


def container(name: str, sick: Value, near: Value, well: Value = 0) -> Series:
    """A family of containers."""
    return Series(f"cgexporter_container_{name}", sick, near, well)


def limit(name: str, value: float) -> Series:
    """A limit that stays."""
    return Series(f"cgexporter_container_{name}", value, value, value, limit=True)


def root(name: str, sick: Value, near: Value) -> Series:
    """A family of the whole node."""
    return Series(f"cgexporter_node_{name}", sick, near, 0, {})


def own(name: str, sick: Value, near: Value, well: Value, **labels: str) -> Series:
    """A family about the exporter."""
    return Series(name, sick, near, well, labels)


PERIODS = container("cpu_periods_total", 150, 150, 150)
STALLED = container("pressure_memory_stalled_seconds_total", 1.5, 1.5)
CASES = {
    "ContainerCPUThrottlingHigh": Case([PERIODS, container("cpu_throttled_periods_total", 45, 36)]),
    "ContainerCPUThrottlingSevere": Case(
        [
            PERIODS,
            container("cpu_throttled_periods_total", 90, 90),
            container("cpu_throttled_seconds_total", 1.5, 0.6),
            limit("cpu_limit_cores", 0.2),
        ]
    ),
    "ContainerCPUNearLimit": Case(
        [container("cpu_usage_seconds_total", 2.94, 2.7, 0.1), limit("cpu_limit_cores", 0.2)]
    ),
    "ContainerCPUPressureHigh": Case([container("pressure_cpu_waiting_seconds_total", 10.5, 8.25)]),
    "ContainerMemoryNearLimit": Case(
        [container("memory_working_set_bytes", 92, 89, 50), limit("memory_max_bytes", 100)]
    ),
    "ContainerMemoryLimitImminent": Case(
        [container("memory_working_set_bytes", 99, 95, 50), limit("memory_max_bytes", 100)]
    ),
    "ContainerOOMKilled": Case([container("last_oom_kill_timestamp_seconds", 2000, 1000, 2000)]),
    "PodOOMKilled": Case(
        [Series("cgexporter_pod_last_oom_kill_timestamp_seconds", 2000, 1000, 2000, POD)]
    ),
    "CgroupOOMKilled": Case(
        [
            Series(
                "cgexporter_slice_last_oom_kill_timestamp_seconds",
                *(2000, 1000, 2000),
                {"cgroup": "/docker"},
            )
        ]
    ),
    "OOMKillLoop": Case([Series("cgexporter_pod_oom_kills_total", 0.05, 0.01, 0, POD)]),
    "ContainerMemoryPressureHigh": Case(
        [container("pressure_memory_stalled_seconds_total", 2.25, 1.2)]
    ),
    "ContainerMemoryPressureCritical": Case(
        [container("pressure_memory_stalled_seconds_total", 10.5, 7.5)]
    ),
    "ContainerMemoryHighReclaim": Case(
        [
            container("memory_events_high_total", 15, 15),
            container("pressure_memory_stalled_seconds_total", 1.5, 0.6),
        ]
    ),
    "ContainerSwapThrashing": Case([container("memory_refaults_anon_total", 3000, 1200), STALLED]),
    "ContainerPageCacheThrashing": Case(
        [container("memory_refaults_file_total", 45_000, 30_000), STALLED]
    ),
    "ContainerIOPressureHigh": Case([container("pressure_io_stalled_seconds_total", 3.75, 2.7)]),
    "ContainerPidsNearLimit": Case([container("pids_current", 95, 89, 10), limit("pids_max", 100)]),
    "ContainerPidsLimitHit": Case([container("pids_events_max_total", 1, 0)]),
    "NodeMemoryPressureHigh": Case([root("pressure_memory_stalled_seconds_total", 2.25, 1.2)]),
    "NodeIOPressureHigh": Case([root("pressure_io_stalled_seconds_total", 3.75, 2.7)]),
    "CgexporterDown": Case([own("up", 0, 1, 1)], jobs=["cgexporter"]),
    "CgexporterAbsent": Case([own("cgexporter_build_info", NOTHING, 1, 1)]),
    "CgexporterScanFailing": Case([own("cgexporter_scan_success", 0, 1, 1)]),
    "CgexporterScanStale": Case([own("cgexporter_snapshot_age_seconds", 90, 50, 0)]),
    "CgexporterCgroupsDropped": Case([own("cgexporter_cgroups_dropped", 5, 0, 0)]),
    "CgexporterIdentityUnresolved": Case(
        [
            own("cgexporter_identity_unresolved", 2, 1, 0),
            own("cgexporter_published", 10, 10, 10, level="container"),
        ]
    ),
    "ContainerMemoryOverprovisioned": Case(
        [container("memory_working_set_bytes", 10, 30, 50), limit("memory_max_bytes", 100)],
        interval="10m",
        seconds=600,
        sick=1200,
        asked=1160,
        over=1300,
    ),
    "ContainerSharesHostNamespace": Case(
        [
            Series(
                "cgexporter_container_namespace_shared",
                *(1, NOTHING, NOTHING),
                ONE | {"kind": "net", "with": "host"},
            ),
            Series(
                "cgexporter_container_namespace_shared",
                *(1, 1, 1),
                ONE | {"kind": "net", "with": "pod"},
            ),
        ]
    ),
}


def values(series: Series, case: Case, phase: Value, *, reset: bool) -> str:
    """A series in promtool's notation: the case for a while, then what is well."""
    found: list[str] = []
    total = 0.0
    for sample in range(case.over + 8):
        value = phase if sample < case.sick else series.well
        if value is None:
            found.append("_")
        elif series.counter:
            # Two thirds into the case the container starts anew, right after a scrape.
            total = value if reset and sample == case.asked * 2 // 3 else total + value
            found.append(f"{total:.6f}")
        else:
            found.append("Inf" if value == INF else f"{value:g}")
    return " ".join(found)


def fires(
    directory: Path, alert: str, case: Case, series: Sequence[tuple[Series, Value]], **expected: int
) -> str:
    """What promtool has to say; "" where the alert is there as often as expected.

    Args:
        directory: for the test's file.
        alert: its name.
        case: times and jobs.
        series: each with its value in the first phase.
        expected: `during` the case and `after` it, and whether to `reset` counters.
    """
    text = f'count(ALERTS{{alertname="{alert}",alertstate="firing"}}) or vector(0)'
    test: dict[str, object] = {
        "interval": case.interval,
        "input_series": [
            {
                "series": each.name
                + json.dumps(each.labels | {"job": job, "instance": "n1"})
                .replace('": "', '="')
                .replace('{"', "{")
                .replace(', "', ","),
                "values": values(each, case, phase, reset=bool(expected.get("reset"))),
            }
            for each, phase in series
            for job in case.jobs
        ],
        "promql_expr_test": [
            {
                "expr": text,
                "eval_time": f"{sample * case.seconds}s",
                "exp_samples": [{"labels": "{}", "value": expected[when]}],
            }
            for when, sample in (("during", case.asked), ("after", case.over))
        ],
    }
    return promtool(directory, alert, case.interval, test)


def promtool(directory: Path, alert: str, interval: str, test: dict[str, object]) -> str:
    """What ``promtool test rules`` says of one alert's rule; "" where all is as expected."""
    rules, file = directory / "rules.json", directory / "test.json"
    groups = [{"name": "one", "rules": [RULE[alert]]}]
    rules.write_text(json.dumps({"groups": groups}))
    file.write_text(
        json.dumps({"rule_files": [str(rules)], "evaluation_interval": interval, "tests": [test]})
    )
    done = subprocess.run(
        [program("promtool", "prometheus"), "test", "rules", str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_every_alert_has_a_case() -> None:
    """No alert is without a test."""
    assert sorted(CASES) == sorted(ALERTS)


@pytest.mark.parametrize("alert", ALERTS)
def test_fires_and_resolves(alert: str, tmp_path: Path) -> None:
    """An alert fires once for what two jobs scraped, and resolves."""
    case = CASES[alert]
    series = [(each, each.sick) for each in case.series]
    assert fires(tmp_path, alert, case, series, during=1, after=0) == ""


@pytest.mark.parametrize("alert", ALERTS)
def test_near_miss(alert: str, tmp_path: Path) -> None:
    """An alert is silent a little below its threshold."""
    case = CASES[alert]
    series = [(each, each.near) for each in case.series]
    assert fires(tmp_path, alert, case, series, during=0, after=0) == ""


@pytest.mark.parametrize(
    "alert", [name for name in ALERTS if any(each.counter for each in CASES[name].series)]
)
def test_counter_reset(alert: str, tmp_path: Path) -> None:
    """Counters that begin anew neither end an alert nor make one."""
    case = CASES[alert]
    sick = [(each, each.sick) for each in case.series]
    assert fires(tmp_path, alert, case, sick, during=1, after=0, reset=1) == ""
    near = [(each, each.near) for each in case.series]
    assert fires(tmp_path, alert, case, near, during=0, after=0, reset=1) == ""


@pytest.mark.parametrize(
    "alert", [name for name in ALERTS if any(each.limit for each in CASES[name].series)]
)
@pytest.mark.parametrize("absent", [INF, NOTHING], ids=["+Inf", "absent"])
def test_without_a_limit(alert: str, absent: Value, tmp_path: Path) -> None:
    """What has no limit is never near it."""
    case = CASES[alert]
    series = [
        (Series(each.name, absent, absent, absent, each.labels) if each.limit else each, each.sick)
        for each in case.series
    ]
    series = [(each, each.sick if each.sick in (INF, None) else value) for each, value in series]
    assert fires(tmp_path, alert, case, series, during=0, after=0) == ""


def test_throttling_is_no_cpu_pressure(tmp_path: Path) -> None:
    """A container that waits because its own limit stops it is not its neighbours' victim."""
    case = CASES["ContainerCPUPressureHigh"]
    series = [*case.series, PERIODS, container("cpu_throttled_periods_total", 45, 45)]
    chosen = [(each, each.sick) for each in series]
    assert fires(tmp_path, "ContainerCPUPressureHigh", case, chosen, during=0, after=0) == ""


@pytest.mark.parametrize("alert", ["PodOOMKilled", "CgroupOOMKilled"])
def test_one_kill_is_told_once(alert: str, tmp_path: Path) -> None:
    """A kill in a container that lives on is the container's, and not its pod's or cgroup's too."""
    case = CASES[alert]
    inner = container("last_oom_kill_timestamp_seconds", 2000, 2000, 2000)
    where = {"pod_uid": "u-1", "cgroup": "/docker/abc"}
    info = Series("cgexporter_container_info", 1, 1, 1, ONE | where)
    chosen = [(each, each.sick) for each in (*case.series, inner, info)]
    assert fires(tmp_path, alert, case, chosen, during=0, after=0) == ""
    assert fires(tmp_path, "ContainerOOMKilled", case, chosen, during=1, after=0) == ""


def test_memory_that_grows_is_told_of_before_the_limit(tmp_path: Path) -> None:
    """At 94 % and growing, the critical alert does not wait for 98 %."""
    alert = "ContainerMemoryLimitImminent"
    growing = " ".join(f"{min(80 + 0.1 * n, 97):g}" for n in range(200))
    test: dict[str, object] = {
        "interval": "15s",
        "input_series": [
            {"series": 'cgexporter_container_memory_working_set_bytes{id="a"}', "values": growing},
            {"series": 'cgexporter_container_memory_max_bytes{id="a"}', "values": "100x200"},
        ],
        "promql_expr_test": [
            {
                "expr": f'count(ALERTS{{alertname="{alert}",alertstate="firing"}})',
                "eval_time": "35m",
                "exp_samples": [{"labels": "{}", "value": 1}],
            }
        ],
    }
    assert promtool(tmp_path, alert, "15s", test) == ""
