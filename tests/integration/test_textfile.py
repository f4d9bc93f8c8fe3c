"""--output.textfile: a file for node_exporter's textfile collector."""

import os
import signal
import stat
import subprocess
import threading
import time
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.processes import COMMAND, cgexporter
from tests.integration.support import PATIENCE_SECONDS, eventually, program


def test_one_file(tmp_path: Path) -> None:
    """It is whole, others may read it, promtool finds no fault, and no sample has a time."""
    file = tmp_path / "cgexporter.prom"
    done = cgexporter(f"--output.textfile={file}")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert os.listdir(tmp_path) == ["cgexporter.prom"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    checked = subprocess.run(
        [program("promtool", "prometheus"), "check", "metrics"],
        input=file.read_bytes(),
        capture_output=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )
    assert (checked.stdout, checked.stderr, checked.returncode) == (b"", b"", 0)
    families = list(text_string_to_metric_families(file.read_text()))
    names = {family.name for family in families}
    assert {"cgexporter_scan_success", "cgexporter_cgroup_memory_current_bytes"} <= names
    assert not [name for name in names if name.startswith(("process_", "python_"))]
    assert "cgexporter_snapshot_age_seconds" not in names
    assert all(sample.timestamp is None for family in families for sample in family.samples)


def test_readers_see_whole_files(tmp_path: Path) -> None:
    """While it is written again and again, whoever reads it reads one whole file."""
    file = tmp_path / "cgexporter.prom"
    process = subprocess.Popen(
        [*COMMAND, f"--output.textfile={file}", "--output.interval=20ms"],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        eventually(file.exists, "the first file")
        seen: set[int] = set()
        stop = threading.Event()
        threading.Timer(2, stop.set).start()
        while not stop.is_set():
            text = file.read_text()
            assert text.startswith("# HELP")
            assert text.endswith("\n")
            assert "\ncgexporter_interfaces_dropped " in text, "the last family"
            seen.add(file.stat().st_mtime_ns)
            time.sleep(0.001)
        assert len(seen) > 5
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=PATIENCE_SECONDS)
        assert process.returncode == 0, log
        assert "Traceback" not in log
        assert os.listdir(tmp_path) == ["cgexporter.prom"]
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("flags", "status", "problem"),
    [
        (["--output.textfile=/nowhere/x.prom"], 1, "cannot write /nowhere/x.prom: No such file"),
        (["--output.textfile=/proc/x.prom"], 1, "cannot write /proc/x.prom: "),
        (["--output.textfile=x.txt"], 2, "does not end in .prom"),
        (["--output.textfile=x.prom", "--once"], 2, "goes without --once"),
        (["--output.interval=1s"], 2, "goes with --output.textfile"),
        (["--output.textfile=x.prom", "--output.interval=1"], 2, "is not a duration"),
    ],
)
def test_refusals(flags: list[str], status: int, problem: str) -> None:
    """What cannot be done is one line."""
    done = cgexporter(*flags)
    assert (done.returncode, done.stdout) == (status, "")
    (line,) = done.stderr.splitlines()
    assert problem in line


def test_a_file_that_cannot_be_replaced_stays(tmp_path: Path) -> None:
    """A write that fails leaves what was there, and nothing beside it."""
    file = tmp_path / "cgexporter.prom"
    file.mkdir()
    done = cgexporter(f"--output.textfile={file}")
    assert done.returncode == 1
    assert os.listdir(tmp_path) == ["cgexporter.prom"]
