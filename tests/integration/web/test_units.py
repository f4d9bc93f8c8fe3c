"""systemd units: understood by systemd, closed as far as the docs say, and they work."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.processes import COMMAND, Connection, cgexporter
from tests.integration.support import PATIENCE_SECONDS, eventually, need_root, program

UNITS = ("cgexporter.service", "cgexporter.socket", "cgexporter-textfile.service")
# Overall exposure of systemd-analyze security, as docs/INSTALL.md says.
EXPOSURE = {"cgexporter.service": 1.5, "cgexporter-textfile.service": 1.0}


@pytest.fixture
def units(repository: Path, tmp_path: Path) -> Path:
    """The units, with a program in place of the one that would be installed."""
    directory = tmp_path / "units"
    shutil.copytree(repository / "packaging/systemd", directory)
    for unit in directory.glob("*.service"):
        unit.write_text(unit.read_text().replace("/usr/local/bin/cgexporter", "/bin/true"))
    return directory


@pytest.mark.parametrize("unit", [*UNITS, "cgexporter-textfile.timer"])
def test_systemd_understands_them(units: Path, unit: str) -> None:
    """``systemd-analyze verify`` has nothing to say."""
    done = subprocess.run(
        [program("systemd-analyze", "systemd"), "verify", "--man=no", units / unit],
        capture_output=True,
        text=True,
        check=False,
    )
    problems = [line for line in done.stderr.splitlines() if "cgexporter" in line]
    assert problems == []


@pytest.mark.parametrize("unit", EXPOSURE)
def test_exposure(units: Path, repository: Path, unit: str) -> None:
    """No unit is more open than the documents say."""
    done = subprocess.run(
        [
            *(program("systemd-analyze", "systemd"), "security", "--offline=true"),
            *("--no-pager", str(units / unit)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert found, done.stderr
    assert float(found[1]) <= EXPOSURE[unit]
    assert f"`{unit}`: {EXPOSURE[unit]}" in (repository / "docs/INSTALL.md").read_text()


def _calls(name: str) -> set[str]:
    """The system calls of a filter's word: a set with those in it, or one call."""
    if not name.startswith("@"):
        return {name}
    done = subprocess.run(
        [program("systemd-analyze", "systemd"), "--no-pager", "syscall-filter", name],
        capture_output=True,
        text=True,
        check=True,
    )
    words = [line.strip() for line in done.stdout.splitlines()[1:]]
    return set().union(*(_calls(word) for word in words if word and not word.startswith("#")))


def test_reading_ahead_is_allowed(repository: Path) -> None:
    """The service may read held files by io_submit; elsewise it would be slower and say so."""
    allowed: set[str] = set()
    unit = (repository / "packaging/systemd/cgexporter.service").read_text()
    for words in re.findall("^SystemCallFilter=(.+)$", unit, re.MULTILINE):
        calls = set().union(*(_calls(word) for word in words.lstrip("~").split()))
        allowed = allowed - calls if words.startswith("~") else allowed | calls
    assert {"io_setup", "io_submit", "io_getevents", "io_destroy"} <= allowed
    assert "mount" not in allowed


def test_socket_activation() -> None:
    """The server accepts on what systemd hands over; without it, it says what is missing."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [
            *(program("systemd-socket-activate", "systemd"), "--listen", f"127.0.0.1:{port}"),
            *(*COMMAND, "--web.systemd-socket"),
        ],
        stderr=subprocess.DEVNULL,
    )
    try:

        def answer() -> bool:
            with contextlib.suppress(OSError):
                connection = Connection(port)
                try:
                    return connection.get("/-/healthy").status == 200
                finally:
                    connection.close()
            return False

        eventually(answer, "an answer")
    finally:
        process.terminate()
        assert process.wait(PATIENCE_SECONDS) == 0
    done = cgexporter("--web.systemd-socket")
    assert done.returncode == 1
    assert "cannot listen on systemd's sockets: systemd handed no socket over" in done.stderr
    assert cgexporter("--web.systemd-socket", "--web.listen-address=:1").returncode == 2


# What a systemd booted in a private view of this host's files does, then it powers off.
_SEEN = """\
#!/bin/bash
for _ in $(seq 200); do
    curl --silent --fail --output /seen.page http://127.0.0.1:9753/metrics && break
    sleep 0.1
done
systemctl show cgexporter.service --property=MainPID --value | \\
    xargs -I{} cat /proc/{}/status >/seen.status
systemctl start cgexporter-textfile.service
systemctl stop cgexporter.service
systemctl show cgexporter.service cgexporter-textfile.service --property=Result >/seen.results
journalctl --no-pager --unit cgexporter.service >/seen.log
systemctl --force --force poweroff
"""
_BOOT = """\
set -eu
mount --make-rprivate /
mount -t tmpfs scratch "$SCRATCH"
mkdir "$SCRATCH/upper" "$SCRATCH/work" "$SCRATCH/root" "$SCRATCH/run"
mount -t overlay overlay \\
    -o "lowerdir=/,upperdir=$SCRATCH/upper,workdir=$SCRATCH/work" "$SCRATCH/root"
mount --bind "$SCRATCH/run" /run
cd "$SCRATCH/root"
rm -f etc/machine-id
touch etc/machine-id
install "$PROGRAM" usr/local/bin/cgexporter
cp "$UNITS"/* etc/systemd/system/
echo CGEXPORTER_FLAGS=--web.listen-address=127.0.0.1:9753 >etc/default/cgexporter
install -d -o prometheus var/lib/prometheus/node-exporter
printf %s "$SEEN" >usr/local/bin/seen
chmod 755 usr/local/bin/seen
printf '[Unit]\\nAfter=cgexporter.service\\n[Service]\\nType=oneshot\\n%s\\n' \\
    ExecStart=/usr/local/bin/seen >etc/systemd/system/seen.service
printf '[Unit]\\nRequires=sysinit.target\\nWants=cgexporter.service seen.service\\n' \\
    >etc/systemd/system/seen.target
timeout 100 systemd-nspawn --directory=. --register=no --keep-unit --private-network --boot \\
    systemd.unit=seen.target >/dev/null 2>&1 || true
cat var/lib/prometheus/node-exporter/cgexporter.prom >seen.textfile
cp seen.* "$OUT"
"""


@pytest.mark.timeout(900)  # packages are downloaded for the zipapp
def test_they_work(repository: Path, tmp_path: Path) -> None:
    """Booted by systemd, the zipapp serves within the sandbox, and the textfile is written."""
    need_root()
    program("systemd-nspawn", "systemd-container")
    scratch, out = tmp_path / "scratch", tmp_path / "out"
    scratch.mkdir()
    out.mkdir()
    zipapp = tmp_path / "cgexporter.pyz"
    subprocess.run(
        [sys.executable, "dev.py", "zipapp", zipapp],
        cwd=repository,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    done = subprocess.run(
        ["unshare", "--mount", "bash", "-c", _BOOT],
        env={
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "SCRATCH": str(scratch),
            "OUT": str(out),
            "UNITS": str(repository / "packaging/systemd"),
            "PROGRAM": str(zipapp),
            "SEEN": _SEEN,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    log = (out / "seen.log").read_text()
    for name in ("page", "textfile"):
        assert "\ncgexporter_scan_success 1\n" in (out / f"seen.{name}").read_text(), log
    status = (out / "seen.status").read_text()
    assert re.search(r"^CapBnd:\t0+$", status, re.MULTILINE)
    assert re.search(r"^NoNewPrivs:\t1$", status, re.MULTILINE)
    assert re.search(r"^Seccomp:\t2$", status, re.MULTILINE)
    assert not re.search(r"^Uid:\t0\b", status, re.MULTILINE)
    assert (out / "seen.results").read_text().split() == ["Result=success"] * 2
    assert "Traceback" not in log
    assert os.listdir(scratch) == []
