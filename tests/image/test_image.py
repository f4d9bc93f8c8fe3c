"""The image: what is in it, and that it serves with nothing but what the chart gives it."""

import gzip
import os
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

import cgexporter
from tests.chart.rendered import CHART, exporter
from tests.image.built import NAME, Podman, walk
from tests.tools.bases import missing
from tests.tools.cluster import free_port
from tests.tools.toolbox import unavailable

# Bases may have to be made first.
pytestmark = pytest.mark.timeout(1500)

# Names of programs with which whoever is in a container goes on from there.
TOOLS = {"sh", "bash", "dash", "busybox", "perl", "gcc", "cc", "ld", "as", "make", "pip", "pip3"}
TOOLS |= {"apt", "apt-get", "dpkg", "curl", "wget", "nc", "su", "mount", "tar"}
PATIENCE_SECONDS = 60
_PACKAGES = """
import importlib.metadata, os, email
for name in sorted(os.listdir('/var/lib/dpkg/status.d')):
    with open('/var/lib/dpkg/status.d/' + name) as control:
        print('debian', name, email.message_from_file(control)['Version'])
for found in importlib.metadata.distributions(path=['/opt/cgexporter']):
    print('python', found.name.lower().replace('_', '-'), found.version)
"""


@pytest.fixture(scope="module")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    """Podman with the image."""
    if os.geteuid() != 0:
        unavailable("building images here needs root")
    if programs := missing():
        unavailable(f"not installed (sudo python3 dev.py tools): {', '.join(programs)}")
    home = tmp_path_factory.mktemp("image")
    made = Podman(home)
    try:
        made.build()
        yield made
    finally:
        made.close()
        shutil.rmtree(home / "storage", ignore_errors=True)


def answer(url: str) -> str:
    """One GET, again until there is an answer."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10) as response:
                text: str = response.read().decode()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return text


def test_configuration(podman: Podman) -> None:
    """It runs as nobody, and says what it is and of which sources."""
    found = podman.inspect(NAME)
    config = found["Config"]
    assert config["User"] == "65534:65534"
    assert config["Entrypoint"][-2:] == ["-m", "cgexporter"]
    labels = {key.rpartition(".")[2]: value for key, value in config["Labels"].items()}
    assert labels["version"] == cgexporter.__version__
    assert labels["licenses"] == "Apache-2.0"
    assert labels.keys() >= {"title", "description", "source", "created"}


def test_bases_and_labels_of_ones_own(podman: Podman) -> None:
    """The documented build arguments choose the bases, and say which sources it is of."""
    (build,) = walk("arguments")
    offline = "build --network none --build-arg PIP_NO_INDEX=1 "
    revision = "git() { echo 0123abc; }\n"
    # Podman 4.3 takes labels from its cache, whatever the arguments in them are.
    podman("rmi", NAME)
    podman.shell(revision + build.replace("build ", offline, 1))
    labels = podman.inspect(NAME)["Config"]["Labels"]
    assert labels["org.opencontainers.image.revision"] == "0123abc"
    assert labels["org.opencontainers.image.version"] == cgexporter.__version__


def test_it_runs_as_documented(podman: Podman) -> None:
    """The command of docs/IMAGE.md, on a network of its own, serves the host's cgroups."""
    (run,) = walk("run")
    name = f"cgexporter-{os.getpid()}"
    port = free_port()
    podman.shell(
        run.replace("docker run", f"docker run --detach --name {name}").replace(
            "9753:9753", f"127.0.0.1:{port}:9753"
        )
    )
    try:
        page = answer(f"http://127.0.0.1:{port}/metrics")
    finally:
        podman("rm", "--force", "--time=0", name)
    assert "\ncgexporter_scan_success 1\n" in page
    assert 'runtime="podman"' in page


def test_contents(podman: Podman) -> None:
    """It has no shell, compiler or package manager, nothing setuid, nothing of ours writable."""
    files = podman.files()
    assert "/opt/cgexporter/cgexporter/server.py" in files
    assert {
        Path(file).name for file in files if "/bin/" in file or "/sbin/" in file
    } & TOOLS == set()
    odd = podman.read(
        "import os, stat\n"
        "for root, folders, names in os.walk('/', onerror=None):\n"
        "    folders[:] = [] if root in ('/proc', '/sys', '/dev') else folders\n"
        "    for name in names:\n"
        "        path = os.path.join(root, name)\n"
        "        mode = os.lstat(path).st_mode\n"
        "        special = mode & (stat.S_ISUID | stat.S_ISGID)\n"
        "        if special or root.startswith('/opt') and os.access(path, os.W_OK):\n"
        "            print(path)\n"
    )
    assert odd == ""


def test_packages_and_size(
    podman: Podman, request: pytest.FixtureRequest, repository: Path
) -> None:
    """docs/IMAGE.md lists what is in the image, and how large it is."""
    found = [line.split() for line in podman.read(_PACKAGES).splitlines()]
    debian = ", ".join(name for kind, name, _ in found if kind == "debian")
    python = ", ".join(
        f"{name} {version}" for kind, name, version in sorted(found) if kind == "python"
    )
    size = podman.inspect(NAME)["Size"]
    tar = podman.home / "image.tar"
    podman("save", "--quiet", "--output", tar, NAME)
    packed = len(gzip.compress(tar.read_bytes(), 6))
    tar.unlink()
    document = repository / "docs/IMAGE.md"
    text = document.read_text()
    begin, end = "<!-- printed: image -->\n", "<!-- end -->"
    if request.config.getoption("--update-docs"):
        head, rest = text.split(begin)
        text = (
            f"{head}{begin}\n{size / 1e6:.0f} MB unpacked, {packed / 1e6:.0f} MB in a registry.\n\n"
            f"From Python's index: {python}.\n\nFrom Debian trixie: {debian}.\n\n"
            f"{end}{rest.split(end)[1]}"
        )
        document.write_text(text)
    printed = text.split(begin)[1].split(end)[0]
    assert f"From Python's index: {python}.\n" in printed
    assert f"From Debian trixie: {debian}.\n" in printed
    sizes = re.search(r"(\d+) MB unpacked, (\d+) MB in a registry", printed)
    assert sizes
    # Debian's updates move it a little.
    assert [float(text) for text in sizes.groups()] == pytest.approx(
        [size / 1e6, packed / 1e6], rel=0.05, abs=1
    )


def test_it_serves_with_what_the_chart_gives(podman: Podman) -> None:
    """Nobody, without a capability and with nothing writable, serves itself among others."""
    port = free_port()
    wanted = exporter("--set", f"web.port={port}")
    context = wanted["securityContext"]
    assert context["readOnlyRootFilesystem"]
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert not context["allowPrivilegeEscalation"]
    container = podman.start(
        *("--volume", "/sys/fs/cgroup:/host/sys/fs/cgroup:ro", "--volume", "/proc:/host/proc:ro"),
        *("--volume", "/var/log:/host/var/log:ro", NAME, *wanted["args"]),
    )
    url = f"http://127.0.0.1:{port}"
    assert answer(f"{url}/-/ready") == "ready\n"
    assert answer(f"{url}/-/healthy") == "healthy\n"
    page = answer(f"{url}/metrics")
    assert "cgexporter_build_info{" in page
    assert f'id="{container[:12]}"' in page
    status = Path(f"/proc/{podman.inspect(container)['State']['Pid']}/status").read_text()
    assert re.search(r"^Uid:\t65534\t65534\t65534\t65534$", status, re.MULTILINE)
    for line in ("CapEff", "CapBnd", "CapPrm"):
        assert f"{line}:\t{0:016x}\n" in status
    assert "NoNewPrivs:\t1\n" in status
    helm_test(podman, url)
    podman("kill", "--signal", "TERM", container)
    assert podman("wait", container).strip() == "0"


def helm_test(podman: Podman, url: str) -> None:
    """Run what the chart's test runs, with the image that it has."""
    script = (CHART / "files/scrape.py").read_text()
    words = ("run", "--rm", "--network=host", "--read-only", "--entrypoint=/usr/bin/python3")
    said = podman(*words, NAME, "-c", script, url, "/metrics")
    assert f"{url}/-/ready: 200" in said
    assert f"{url}/metrics: 200" in said


def test_bad_flags_end_with_one_line(podman: Podman) -> None:
    """What is wrong is said in one line, by a process that is PID 1 too."""
    said = podman.fails("run", "--rm", "--network=none", NAME, "--no-such-flag")
    assert said.count("\n") == 1
    assert "--no-such-flag" in said
