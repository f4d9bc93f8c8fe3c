"""docs/INSTALL.md: each path is walked as written, from nothing."""

import hashlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.integration.runc import Container, Runc
from tests.integration.support import missing, need_root

# Packages are downloaded and built, twice for the zipapp.
pytestmark = pytest.mark.timeout(1200)
_MINUTES = 8
# A private view of the host, in which what is installed is gone afterwards.
_PRIVATE = """\
set -eu
mount --make-rprivate /
mount -t tmpfs scratch "$SCRATCH"
for place in /opt /usr/local /etc /var/lib; do
    name=$(echo "$place" | tr / _)
    mkdir -p "$SCRATCH/$name/upper" "$SCRATCH/$name/work"
    mount -t overlay overlay \
        -o "lowerdir=$place,upperdir=$SCRATCH/$name/upper,workdir=$SCRATCH/$name/work" "$place"
done
rm -rf /opt/cgexporter /usr/local/bin/cgexporter
cd "$CHECKOUT"
"""


def walk(repository: Path, *names: str) -> str:
    """The blocks of the document that are marked with these names, as one script."""
    text = (repository / "docs/INSTALL.md").read_text()
    blocks = dict(re.findall(r"<!-- walk: (\w+) -->\n```sh\n(.*?)```", text, re.DOTALL))
    return "".join(blocks[name] for name in names)


@pytest.fixture(scope="module")
def container(runc: Runc) -> Container:
    """One that is there to be shown."""
    return runc.run("shown", "exec sleep 6000", resources={})


@pytest.fixture
def checkout(repository: Path, tmp_path: Path) -> Path:
    """A copy of what is committed or about to be, without what was built."""
    copy = tmp_path / "checkout"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=repository,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        if not name.startswith("tests/") and (repository / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(repository / name, copy / name)
    return copy


def run(checkout: Path, script: str, home: Path) -> str:
    """Run a script in a private view of the host, with a clean environment."""
    need_root()
    scratch = home / "scratch"
    scratch.mkdir(parents=True)
    done = subprocess.run(
        ["unshare", "--mount", "bash", "-c", _PRIVATE + script],
        env={
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(home),
            "SCRATCH": str(scratch),
            "CHECKOUT": str(checkout),
            **{name: os.environ[name] for name in os.environ if name.startswith("PIP_")},
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60 * _MINUTES,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def assert_shown(container: Container, output: str) -> None:
    """The table of this host's containers is in there, with this one."""
    assert re.search(rf"^CONTAINER .*^{container.name} ", output, re.MULTILINE | re.DOTALL), output


def test_pip_and_unit_and_textfile(
    checkout: Path, repository: Path, container: Container, tmp_path: Path
) -> None:
    """pip, then the unit's files and the textfile on top of it."""
    script = walk(repository, "pip", "unit", "textfile") + (
        "systemd-analyze verify --man=no cgexporter.service 2>&1 | grep cgexporter || true\n"
        "head -1 /var/lib/prometheus/node-exporter/cgexporter.prom\n"
    )
    output = run(checkout, script, tmp_path / "home")
    assert_shown(container, output)
    assert "/etc/cgexporter/cgexporter.yml: ok\n# HELP " in output


def test_pipx(checkout: Path, repository: Path, container: Container, tmp_path: Path) -> None:
    """pipx, as it comes from its own package."""
    prepare = (
        'python3 -m venv "$HOME/pipx" && "$HOME/pipx/bin/pip" install -q pipx\n'
        'export PATH="$HOME/pipx/bin:$PATH"\n'
    )
    output = run(checkout, prepare + walk(repository, "pipx"), tmp_path / "home")
    assert_shown(container, output)


def test_zipapp(checkout: Path, repository: Path, container: Container, tmp_path: Path) -> None:
    """One file: the same twice, and it runs and serves with python3 alone."""
    keep = 'cp dist/cgexporter.pyz "$HOME/../first.pyz"\n'
    home = tmp_path / "home"
    output = run(checkout, walk(repository, "zipapp") + keep, home)
    assert_shown(container, output)
    moved = checkout.rename(tmp_path / "moved")
    shutil.rmtree(moved / "dist")
    shutil.rmtree(moved / ".venv")
    (home / "scratch").rmdir()
    run(moved, 'python3 dev.py zipapp "$HOME/../second.pyz"\n', home)
    first, second = (
        hashlib.sha256((tmp_path / f"{name}.pyz").read_bytes()).hexdigest()
        for name in ("first", "second")
    )
    assert first == second
    _serves(tmp_path / "first.pyz", tmp_path)


def _serves(zipapp: Path, directory: Path) -> None:
    """It serves with TLS's and YAML's libraries, and an environment without anything."""
    settings = directory / "cgexporter.yml"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings.write_text(f"web.listen-address: 127.0.0.1:{port}\n")
    python = shutil.which("python3", path="/usr/bin:/bin:/usr/local/bin") or missing("python3")
    process = subprocess.Popen(
        [python, "-I", zipapp, f"--config.file={settings}"],
        env={"SHIV_ROOT": str(directory / "unpacked"), "PATH": "/usr/bin:/bin"},
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
                    assert b"\ncgexporter_scan_success 1\n" in answer.read()
                break
            except OSError:
                assert time.monotonic() < deadline
                assert process.poll() is None
                time.sleep(0.1)
    finally:
        process.terminate()
        assert process.wait(20) == 0


def test_the_program_is_the_version_here(repository: Path) -> None:
    """What the paths install calls itself what pyproject.toml builds."""
    done = subprocess.run(
        [sys.executable, "-m", "cgexporter", "--version"],
        cwd=repository,
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.fullmatch(r"cgexporter \d+\.\d+\.\d+\S*\n", done.stdout)
