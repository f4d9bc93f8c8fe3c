"""Each way out imports what it uses and no more: start-up time and memory depend on it."""

import subprocess
import sys
from pathlib import Path

import pytest


def modules_after(code: str) -> set[str]:
    """Top-level names and cgexporter's modules that are loaded after running some code."""
    script = f"{code}\nimport sys\nprint('\\n'.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    names = done.stdout.splitlines()
    return {name if name.startswith("cgexporter") else name.split(".")[0] for name in names}


@pytest.mark.parametrize(
    ("form", "unwanted"),
    [
        ("table", {"asyncio", "prometheus_client", "h11", "cgexporter.server", "http", "ssl"}),
        ("json", {"asyncio", "prometheus_client", "h11", "rich", "cgexporter.server", "ssl"}),
        ("prom", {"asyncio", "h11", "rich", "cgexporter.server", "prometheus_client", "ssl"}),
    ],
)
def test_once_imports_only_its_format(form: str, unwanted: set[str], fixtures: Path) -> None:
    """`--once` loads no server, and each format no other format's library."""
    root = fixtures / "v2-6.1-systemd"
    flags = ["--once", "--format", form]
    flags += ["--path.cgroupfs", f"{root}/sys/fs/cgroup", "--path.procfs", f"{root}/proc"]
    code = (
        "import contextlib, io\nfrom cgexporter.cli import main\n"
        f"with contextlib.redirect_stdout(io.StringIO()): assert main({flags!r}) == 0"
    )
    assert not modules_after(code) & unwanted


def test_the_server_imports_no_local_view() -> None:
    """The serving path loads neither rich nor the local views, and no other's HTTP server."""
    loaded = modules_after("import cgexporter.cli, cgexporter.server")
    assert not loaded & {
        *("rich", "cgexporter.local.table", "cgexporter.local.json", "yaml"),
        *("prometheus_client", "http", "email"),
    }


@pytest.mark.parametrize(
    ("flags", "unwanted"),
    [
        ([], {"yaml", "asyncio", "prometheus_client", "ssl"}),
        (["--format=json"], {"yaml", "rich", "asyncio", "prometheus_client", "ssl"}),
        (["--format=yaml"], {"rich", "asyncio", "prometheus_client", "ssl"}),
    ],
)
def test_explain_imports_only_its_format(flags: list[str], unwanted: set[str]) -> None:
    """`explain` loads YAML only for YAML, and no server."""
    words = ["explain", *flags, "docker", "run", "--cpus", "1"]
    code = (
        "import contextlib, io\nfrom cgexporter.cli import main\n"
        f"with contextlib.redirect_stdout(io.StringIO()): assert main({words!r}) == 0"
    )
    assert not modules_after(code) & unwanted


def test_the_server_imports_what_is_configured(tmp_path: Path) -> None:
    """YAML comes with a configuration, bcrypt with passwords, TLS with a certificate."""
    plain = modules_after("import cgexporter.cli, cgexporter.server")
    assert not plain & {"yaml", "bcrypt", "cgexporter.web.tls", "cgexporter.config_file"}
    file = tmp_path / "web.yml"
    file.write_text("http_server_config: {headers: {X-Frame-Options: deny}}\n")
    configured = modules_after(f"from cgexporter.web.live import load; load({str(file)!r})")
    assert "yaml" in configured
    assert not configured & {"bcrypt", "cgexporter.web.tls"}
