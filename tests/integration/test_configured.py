"""Configuration files as the program takes them, and `cgexporter check-config`."""

from pathlib import Path

from tests.integration.conftest import Serve
from tests.integration.processes import cgexporter


def test_served_as_the_file_says(serve: Serve, tmp_path: Path) -> None:
    """A file of settings is in force, and a flag beside it stands."""
    file = tmp_path / "cgexporter.yml"
    file.write_text(
        "web: {telemetry-path: /deep, listen-address: ['127.0.0.1:1']}\ncollector.io: false\n"
    )
    server = serve(f"--config.file={file}")
    text = server.get("/deep").text
    assert "cgexporter_cgroup_memory_current_bytes" in text
    assert "cgexporter_cgroup_io_" not in text


def test_once_with_a_file(tmp_path: Path, fixtures: Path) -> None:
    """A server's settings do not stand in the way of --once."""
    file = tmp_path / "cgexporter.yml"
    file.write_text("web.listen-address: ':1'\n")
    root = fixtures / "v2-6.1-systemd"
    paths = (f"--path.cgroupfs={root}/sys/fs/cgroup", f"--path.procfs={root}/proc")
    assert cgexporter("--once", f"--config.file={file}", *paths).returncode == 0


def test_a_bad_file(tmp_path: Path) -> None:
    """One line with the place, and the status of a command line that was not understood."""
    file = tmp_path / "cgexporter.yml"
    file.write_text("scan:\n  max-cgroups: -1\n")
    for words in ([], ["--once"]):
        done = cgexporter(f"--config.file={file}", *words)
        assert (done.returncode, done.stdout) == (2, "")
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"cgexporter: {file}:2: scan.max-cgroups: '-1' is not a whole")


def test_check_config(tmp_path: Path) -> None:
    """It checks the file, and the web configuration that the file names."""
    settings, web = tmp_path / "cgexporter.yml", tmp_path / "web.yml"
    settings.write_text(f"web.config.file: {web}\n")
    web.write_text("http_server_config: {http2: true}\n")
    done = cgexporter("check-config", f"--config.file={settings}")
    assert (done.returncode, done.stdout) == (0, f"{settings}: ok\n{web}: ok\n")
    assert "warning" in done.stderr
    web.write_text("http_server_confg: {}\n")
    done = cgexporter("check-config", f"--config.file={settings}")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{web}:1: unknown key 'http_server_confg'; did you mean" in done.stderr
    settings.write_text("identity: {api: https://x}\nweb: {config.file: /nowhere}\n")
    done = cgexporter("check-config", f"--config.file={settings}", f"--web.config.file={web}")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 3
    assert cgexporter("check-config").returncode == 2
