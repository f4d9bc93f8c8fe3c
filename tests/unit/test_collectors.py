"""Collectors: what is off is not read, and levels."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from cgexporter.exporter import Exporter, Names, Settings
from cgexporter.metrics import COLLECTORS, DEFAULT_COLLECTORS, METRICS, Level
from cgexporter.publish import Format
from cgexporter.sources import SIZE, files_in

TREE = "v2-6.1-kubernetes"


def settings(fixtures: Path, tree: str = TREE, **more: object) -> Settings:
    """Settings of a captured host."""
    place = fixtures / tree
    return Settings(
        cgroupfs=f"{place}/sys/fs/cgroup",
        procfs=f"{place}/proc",
        **more,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("tree", [TREE, "hybrid-6.1-systemd"])
@pytest.mark.parametrize("collector", COLLECTORS)
def test_a_collector_reads_its_files_alone(collector: str, tree: str, fixtures: Path) -> None:
    """A file is read if a row that is published names it, and else it is not opened."""
    exporter = Exporter(settings(fixtures, tree, collectors=frozenset({collector})))
    view = exporter.look()
    exporter.close()
    named = {
        file
        for row in METRICS
        if row.collector == collector
        for source in (row.v1, row.v2)
        for file in files_in(row.section, source or "")
    }
    for file in view.snapshot.files:
        assert re.sub(r"^hugetlb\.\w+?\.", f"hugetlb.{SIZE}.", file) in named


def test_cadvisors_names_read_what_they_need(fixtures: Path) -> None:
    """With cAdvisor's names alone nothing is read that they do not show."""
    exporter = Exporter(settings(fixtures, names=Names.CADVISOR))
    files = set(exporter.look().snapshot.files)
    exporter.close()
    assert "memory.min" in files
    assert not files & {
        "cpu.stat.local",
        "cgroup.stat",
        "cpuset.cpus.effective",
        "memory.numa_stat",
    }


def test_levels(fixtures: Path) -> None:
    """A collector may be published for some levels only; the others stay."""
    exporter = Exporter(settings(fixtures, collector_levels={"memory": (Level.POD,)}))
    page = exporter.render(exporter.look(), Format.TEXT)
    exporter.close()
    assert "cgexporter_pod_memory_current_bytes{" in page
    assert "cgexporter_container_memory_current_bytes{" not in page
    assert "cgexporter_slice_memory_current_bytes{" not in page
    assert "cgexporter_container_cpu_usage_seconds_total{" in page


def test_each_collector_has_rows_and_a_switch(fixtures: Path) -> None:
    """`--collector.NAME` and `--no-collector.NAME` exist for each, and do what they say."""
    place = fixtures / TREE
    base = [sys.executable, "-m", "cgexporter", "--once", "--format", "prom"]
    base += ["--path.cgroupfs", f"{place}/sys/fs/cgroup", "--path.procfs", f"{place}/proc"]

    def run(*flags: str) -> str:
        done = subprocess.run([*base, *flags], capture_output=True, text=True, check=True)
        return done.stdout

    default = run()
    everything = run(*(f"--collector.{name}" for name in COLLECTORS))
    nothing = run(*(f"--no-collector.{name}" for name in COLLECTORS))
    assert "cgexporter_container_memory_stat_pgrefill_total" in everything
    assert "cgexporter_container_memory_stat_pgrefill_total" not in default
    assert "cgexporter_container_cpu_usage_seconds_total" in default
    assert "cgexporter_container_cpu_usage_seconds_total" not in nothing
    assert "cgexporter_container_info" in nothing
    assert set(COLLECTORS) > DEFAULT_COLLECTORS


@pytest.mark.parametrize(
    ("flag", "complaint"),
    [
        ("--collector.levels=nonsense=pod", "there is no collector 'nonsense'"),
        ("--collector.levels=cpu=machine", "'cpu=machine' is not NAME=LEVEL[,LEVEL]"),
        ("--collector.levels=cpu", "'cpu' is not NAME=LEVEL[,LEVEL]"),
        ("--metrics.names=other", "invalid choice: 'other'"),
        ("--collector.nonsense", "unrecognized arguments"),
    ],
)
def test_bad_flags(flag: str, complaint: str) -> None:
    """A flag that is not understood is one line and exit status 2."""
    done = subprocess.run(
        [sys.executable, "-m", "cgexporter", "--once", flag],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert complaint in done.stderr
    assert len(done.stderr.splitlines()) == 1
