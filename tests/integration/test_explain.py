"""What `explain` says of Docker's options is what a real dockerd makes of them."""

import contextlib
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from cgexporter import kernel
from cgexporter.resources.docker import explain
from cgexporter.resources.docker_options import read_command
from cgexporter.resources.settings import ExplainError
from tests.integration.engines import Engine, docker
from tests.integration.reading import directories
from tests.integration.support import missing, need_root
from tests.tools.enforced import (
    DOCKER,
    Host,
    differences,
    namespace_differences,
    reader,
    shared_namespaces,
)

# runc here; tests/lab compares other versions.
_QUADRATIC = False


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A dockerd without networks of its own."""
    need_root()
    home = tmp_path_factory.mktemp("docker")
    with docker(home, "--bridge=none", "--iptables=false", "--ip6tables=false") as running:
        yield running


def whole_disk() -> str:
    """A disk that limits may be set on."""
    for place in sorted(Path("/sys/block").iterdir()):
        path = f"/dev/{place.name}"
        if kernel.device(path) is not None:
            return path
    return missing("no block device to limit")


def command(options: str, parent: str) -> list[str]:
    """The words of the options."""
    return shlex.split(options.format(disk=whole_disk(), parent=f"{parent}/below"))


@pytest.mark.parametrize("options", DOCKER, ids=lambda text: text or "(none)")
def test_every_predicted_file(engine: Engine, options: str) -> None:
    """Each file that is predicted says what is predicted, in the cgroup that is predicted."""
    words = command(options, engine.parent)
    said = explain(read_command(["docker", "run", *words, "image"]), kernel.device)
    if "--network" not in words and "--net" not in words:
        words += ["--network", "none"]
    name = f"explain-{DOCKER.index(options)}"
    whole = engine.start(name, *words)
    try:
        pid = engine.pid(name)
        where = directories(pid)
        host = Host(
            version="v1" if "memory" in where else "v2",
            quadratic=_QUADRATIC,
            driver="cgroupfs",
            read=reader(list(where.values()), pid),
        )
        compared, wrong = differences(said.groups[0].settings, host)
        wrong += namespace_differences(said, shared_namespaces(pid), host.version)
        assert not wrong
        assert compared or not said.groups[0].settings or host.version == "v1"
        path = "/" + str(where["memory"]).partition("/memory/")[2]
        if "--cgroup-parent" in words:
            assert path == said.groups[0].cgroupfs.replace("<ID>", whole)
        else:
            assert path == said.groups[0].cgroupfs.replace(
                "/docker/<ID>", f"{engine.parent}/{whole}"
            )
    finally:
        engine.call("rm", "--force", name)


@pytest.mark.parametrize(
    "options",
    [
        "--cpus 1 --cpu-quota 50000",
        "--cpus 1 --cpu-period 50000",
        "--cpus 0.0099",
        "--cpus x",
        "--cpus 1.0000000001",
        "--cpu-period 999",
        "--cpu-quota 999",
        "--cpu-shares 1",
        "--cpu-shares 262145",
        "--cpuset-cpus 3-1",
        "--memory 5m",
        "--memory 64x",
        "--memory 64m --memory-swap 32m",
        "--memory-swap 64m",
        "--memory-reservation 1m",
        "--memory 64m --memory-reservation 65m",
        "--memory 64m --memory-swappiness 101",
        "--oom-score-adj 1001",
        "--pids-limit x",
        "--blkio-weight-device {disk}:5",
        "--device-read-bps nothing:1m",
        "--device-read-bps {disk}",
        "--device-read-iops {disk}:1m",
        "--device-cgroup-rule 'x 1:3 rwm'",
        "--pid nobody",
        "--uts private",
        "--userns me",
        "--cgroupns other",
        "--ipc x",
        "--rm=maybe",
        "--memory",
        "--no-such-option",
        "-z",
    ],
)
def test_what_is_refused(engine: Engine, options: str) -> None:
    """What `explain` refuses Docker, runc or the kernel refuses too."""
    words = command(options, engine.parent)
    with pytest.raises(ExplainError) as refused:
        explain(read_command(["docker", "run", *words]), kernel.device)
    assert "\n" not in str(refused.value)
    if words[-1] == "--memory":
        words = ["--memory=", *words[:-1]]
    name = "refused"
    try:
        with pytest.raises(RuntimeError):
            engine.start(name, "--network", "none", *words)
    finally:
        with contextlib.suppress(RuntimeError):
            engine.call("rm", "--force", name)
