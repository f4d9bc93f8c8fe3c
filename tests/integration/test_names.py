"""Real containers of Docker, containerd, Podman and runc get their names, with few rights."""

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.tools.engines import Docker, Podman, engines, run, start_with
from tests.tools.served import served

# uid 0 that may not pass over any file mode.
WITHOUT_CAPABILITIES = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *WITHOUT_CAPABILITIES[1:])
PROGRAMS = {
    "dockerd": "docker.io",
    "containerd": "containerd",
    "podman": "podman",
    "runc": "runc",
    "busybox": "busybox-static",
}
SECRET = secrets.token_hex(16)


def skip(reason: str) -> None:
    """Skip, or fail in CI, where nothing may be missing."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must have it: {reason}")
    pytest.skip(reason)


class Lab:
    """Containers of each runtime, by name."""

    def __init__(self, docker: Docker, podman: Podman, home: Path) -> None:
        self.docker, self.podman = docker, podman
        self.parent = f"cgx-names-{os.getpid()}"
        compose = {"com.docker.compose.project": "shop", "com.docker.compose.service": "web"}
        options = [f"--label={name}={value}" for name, value in compose.items()]
        env = ("--env", f"DB_PASSWORD={SECRET}")
        self.ids = {
            "shop-web-1": docker.start("shop-web-1", *options, "--label=team=a", *env),
            "elsewhere": docker.start("elsewhere", f"--cgroup-parent=/{self.parent}"),
            "pod-less": podman.start("pod-less", *env),
        }
        self.pod = podman.start_pod("lab-pod", "--label=team=p")
        self.ids["in-pod"] = podman.start("in-pod", "--pod", "lab-pod", "--label=team=b", *env)
        self.ctr = f"ctr-{os.getpid()}"
        docker.start_with_ctr(self.ctr)
        self.runc, self.runc_root = f"byhand-{os.getpid()}", home / "runc"
        start_with(["runc"], home, self.runc_root, self.runc, f"/cgx-runc-{os.getpid()}")

    @property
    def state(self) -> list[str]:
        """Flags for the places of their state."""
        roots = {
            "docker": [self.docker.data],
            "containerd": [self.docker.containerd_state],
            "containerd-root": [self.docker.containerd_root],
            "storage": [self.podman.root],
            "runc": [
                *(self.runc_root, self.docker.exec / "runtime-runc/moby"),
                *(self.docker.runc_root / "default", self.podman.runc_root),
            ],
        }
        return [
            f"--identity.state-root={kind}={root}" for kind, many in roots.items() for root in many
        ]

    @property
    def sockets(self) -> list[str]:
        """Flags for their sockets, and for nothing else."""
        return [
            "--no-identity.state",
            f"--identity.socket=docker={self.docker.socket}",
            f"--identity.socket=podman={self.podman.socket}",
        ]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """All of them; removed at the end."""
    for program, package in PROGRAMS.items():
        if shutil.which(program) is None:
            skip(f"{program} is not installed (Debian package {package})")
    if os.geteuid() != 0:
        skip("root, who may start containers")
    home = tmp_path_factory.mktemp("lab")
    for directory in (home, *home.parents):
        directory.chmod(directory.stat().st_mode | 0o011)
    with engines(home) as (docker, podman):
        made = Lab(docker, podman, home)
        yield made
        run("runc", "--root", made.runc_root, "delete", "-f", made.runc)
        docker.docker("rm", "-f", "elsewhere")
        # Docker leaves the parent that it made.
        places = Path("/sys/fs/cgroup")
        for parent in (*places.glob(f"*/{made.parent}"), *places.glob(made.parent)):
            parent.rmdir()


def once(flags: Sequence[str], prefix: Sequence[str] = ()) -> list[Mapping[str, Any]]:
    """All containers of this host, as JSON."""
    containers: list[Mapping[str, Any]] = document(flags, prefix)["containers"]
    return containers


def document(flags: Sequence[str], prefix: Sequence[str] = ()) -> Mapping[str, Any]:
    """This host, as JSON."""
    command = [*prefix, sys.executable, "-m", "cgexporter", "--once", "--format", "json", *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert SECRET not in done.stdout + done.stderr
    found: Mapping[str, Any] = json.loads(done.stdout)
    return found


def by_name(containers: Sequence[Mapping[str, Any]]) -> Mapping[str, Mapping[str, Any]]:
    """Containers that have one."""
    return {each["container"]: each for each in containers if "container" in each}


@pytest.mark.parametrize("prefix", [WITHOUT_CAPABILITIES, ()], ids=["no capability", "root"])
def test_names_from_state(lab: Lab, prefix: Sequence[str]) -> None:
    """Without a socket, uid 0 without any capability sees all names, images and labels."""
    found = by_name(once([*lab.state, "--identity.labels=team"], prefix))
    for name, id_ in lab.ids.items():
        assert found[name]["container_id"] == id_
    assert found["shop-web-1"]["image"] == "lab:1"
    assert found["shop-web-1"]["compose_project"] == "shop"
    assert found["shop-web-1"]["compose_service"] == "web"
    assert found["shop-web-1"]["labels"] == {"team": "a"}
    assert found["pod-less"]["image"] == "localhost/lab:1"
    assert found["in-pod"]["image"] == "localhost/lab:1"
    assert {found[name]["runtime"] for name in ("shop-web-1", "elsewhere")} == {"docker"}
    assert {found[name]["runtime"] for name in ("pod-less", "in-pod")} == {"podman"}
    assert found["in-pod"]["pod"] == "lab-pod"
    assert found["in-pod"]["labels"] == {"team": "b"}
    assert found[lab.ctr]["runtime"] == "containerd"
    assert found[lab.ctr]["image"] == "docker.io/library/lab:1"
    assert found[lab.ctr]["labels"] == {"team": "c"}
    assert found[lab.runc]["runtime"] == "runc"


def test_names_of_pods_from_state(lab: Lab) -> None:
    """Podman's pod goes by its name and has its labels, without the socket."""
    pods = document([*lab.state, "--identity.labels=team"], WITHOUT_CAPABILITIES)["pods"]
    (pod,) = (pod for pod in pods if pod.get("pod") == "lab-pod")
    assert pod["labels"] == {"team": "p"}
    assert pod["uid"] == lab.pod


def test_names_from_sockets(lab: Lab) -> None:
    """With the sockets of Docker and Podman, the same and a pod's name."""
    found = by_name(once(lab.sockets, WITHOUT_CAPABILITIES))
    for name, id_ in lab.ids.items():
        assert found[name]["container_id"] == id_
    assert found["shop-web-1"]["image"] == "lab:1"
    assert found["shop-web-1"]["compose_service"] == "web"
    assert found["in-pod"]["pod"] == "lab-pod"
    assert lab.runc not in found


@pytest.mark.parametrize("way", ["state", "sockets"])
def test_memory(lab: Lab, tmp_path: Path, way: str) -> None:
    """What real engines tell leaves no value of an environment in memory."""
    flags = lab.state if way == "state" else lab.sockets
    with served(tmp_path / "log", flags) as server:
        wanted = [f'container="{name}"' for name in lab.ids]
        page = server.eventually(lambda page: all(each in page for each in wanted))
        assert [each for each in wanted if each not in page] == []
        found = name = 0
        for piece in server.memory():
            found += piece.count(SECRET.encode())
            name += piece.count(b"shop-web-1")
        assert name
        assert not found
    assert SECRET not in page + (tmp_path / "log").read_text()


def test_what_is_missing_is_said(lab: Lab) -> None:
    """A user without rights sees IDs, and once which step would tell the names."""
    command = [*NOBODY, sys.executable, "-m", "cgexporter", "--once", *lab.state]
    readable = subprocess.run(
        [*NOBODY, sys.executable, "-c", "import cgexporter"], capture_output=True, check=False
    )
    if readable.returncode != 0:
        pytest.skip("this Python is not for every user of this machine")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert lab.ids["shop-web-1"][:12] in done.stdout
    assert "shop-web-1" not in done.stdout
    assert not done.stderr
    assert len(re.findall("names from docker: may not read .*run as uid 0", done.stdout)) == 1


def test_time_to_name(lab: Lab, tmp_path: Path, record_property: Any) -> None:
    """A container has its name within a second of its start, or with the next scrape."""
    with served(tmp_path / "log", lab.state) as server:
        server.page()
        waits = []
        for number in range(5):
            name = f"timed-{number}"
            id_ = lab.docker.start(name)
            started = time.monotonic()
            page = server.page()
            seen = f'id="{id_[:12]}"' in page
            while f'container="{name}"' not in page:
                assert time.monotonic() - started < 10
                time.sleep(0.02)
                page = server.page()
            waits.append(time.monotonic() - started)
            assert seen  # with its ID from the first scrape on
            lab.docker.docker("rm", "-f", name)
            assert id_[:12] not in server.page()
        record_property("seconds", waits)
        print("start to name:", [f"{wait:.3f} s" for wait in waits])
        assert max(waits) < 1.0


def test_crun(tmp_path: Path) -> None:
    """The state of crun tells the name, as that of runc does."""
    if shutil.which("crun") is None:
        skip("crun is not installed (Debian package crun)")
    if os.geteuid() != 0:
        skip("root, who may start containers")
    crun: list[str | Path] = ["crun"]
    if Path("/sys/fs/cgroup/unified/cgroup.procs").exists():
        # crun 1.8 refuses hybrid hosts whose v2 tree has a controller: hide that tree from it.
        hide = 'umount /sys/fs/cgroup/unified && exec "$@"'
        crun = ["unshare", "-m", "sh", "-c", hide, "sh", "crun"]
    name, root = f"crun-{os.getpid()}", tmp_path / "crun"
    start_with(crun, tmp_path, root, name, f"/cgx-crun-{os.getpid()}")
    try:
        found = by_name(once([f"--identity.state-root=crun={root}"]))
        assert found[name]["runtime"] == "crun"
    finally:
        run(*crun, "--root", root, "delete", "-f", name)
