"""A recording of this host, with real containers, shows elsewhere what was seen here."""

import json
import lzma
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cgexporter.correlate.namespaces import host_namespaces
from cgexporter.exporter import Exporter, Settings
from cgexporter.local.json import document
from cgexporter.local.json import namespaces as namespaces_document
from cgexporter.names.settings import Identity
from cgexporter.recording.host import replayed
from cgexporter.recording.make import everything, record
from tests.integration.runc import Container, Runc
from tests.integration.support import program

_SECRET = "correct-horse-battery-staple"


@pytest.fixture(scope="module")
def containers(runc: Runc) -> list[Container]:
    """Three containers; one has a secret in its environment and command line."""
    limits = {"memory": {"limit": 32 << 20}, "cpu": {"quota": 20_000, "period": 100_000}}
    busy = runc.run("busy", "while :; do :; done", resources=limits)
    secret = f"export PASSWORD={_SECRET}; exec sh -c 'sleep 1000; :' {_SECRET}"
    idle = runc.run("idle", secret, resources={"pids": {"limit": 9}})
    mate = runc.run("mate", "exec sleep 1000", resources={}, joins={"network": idle.pid})
    return [busy, idle, mate]


def cgexporter(*words: str, **options: object) -> bytes:
    """Run it; returns what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "cgexporter", *words], capture_output=True, check=False, **options
    )  # type: ignore[call-overload]
    assert done.returncode == 0, done.stderr
    return bytes(done.stdout)


def test_the_recording_is_what_was_seen(containers: list[Container]) -> None:
    """Each scan of it gives the document of the live scan, byte for byte."""
    settings = Settings(identity=Identity())
    recording, views = record(settings, 2, lambda: None)
    with replayed(recording) as host:
        exporter = Exporter(
            everything(Settings(cgroupfs=host.cgroupfs, procfs=host.procfs, resolver=host.resolver))
        )
        for number, seen in enumerate(views):
            if number:
                assert host.wait(0)
            view = exporter.name(exporter.look())
            assert document(view, recording.scans[number].missing) == document(
                seen, recording.scans[number].missing
            )
            assert view.namespaces == seen.namespaces
            assert view.networks.keys() == seen.networks.keys()
            data = json.loads(namespaces_document(view, host_namespaces(view, exporter.sweep), {}))
            for container in containers:
                assert container.name in json.dumps(data)
        assert not host.wait(0)
        exporter.close()


def test_elsewhere(containers: list[Container], tmp_path: Path) -> None:
    """On another host, without a right here, in another locale, the output is the same bytes."""
    file = tmp_path / "host.tar.xz"
    cgexporter("record", str(file), "--interval", "500ms")
    assert file.stat().st_mode & 0o777 == 0o600
    words = ("--once", "--format", "json", "--from")
    here = cgexporter(*words, str(file))
    for container in containers:
        assert container.name in here.decode()
    unshare = program("unshare", "util-linux")
    elsewhere = subprocess.run(
        [
            *(unshare, "--mount", "--pid", "--net", "--ipc", "--uts", "--cgroup", "--fork"),
            *("--user", "--map-root-user", "--"),
            *(sys.executable, "-m", "cgexporter", *words, "-"),
        ],
        input=file.read_bytes(),
        capture_output=True,
        check=False,
        cwd="/",
        env={"LC_ALL": "C", "TZ": "Asia/Tokyo", "PATH": os.environ["PATH"]},
    )
    assert elsewhere.returncode == 0, elsewhere.stderr
    assert elsewhere.stdout == here


def test_no_secret_is_in_it(containers: list[Container], tmp_path: Path) -> None:
    """Neither environment nor command line nor runtimes' files are in a recording."""
    piped = cgexporter("record", "-", "--scans", "1")
    content = lzma.decompress(piped)
    assert _SECRET.encode() not in content
    assert not re.search(rb"proc/\d+/(environ|cmdline|root|cwd|exe|maps|task)", content)
    for container in containers:
        assert f"proc/{container.pid}/stat".encode() in content
