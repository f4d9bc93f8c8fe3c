"""What is seen of namespaces and networks with few rights, from elsewhere, and with all."""

import re
import secrets
import subprocess
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.cgroups import Cgroups
from tests.integration.processes import COMMAND, output
from tests.integration.runc import Runc
from tests.integration.support import PATIENCE_SECONDS, eventually, program

_NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all")
_NO_PTRACE = ("setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace")
# The host's /proc is mounted elsewhere, and /proc is that of a PID namespace of our own.
_ELSEWHERE = (
    "mount -t tmpfs -o mode=755 none /mnt && mkdir /mnt/proc && mount --bind /proc /mnt/proc "
    "&& mount -t proc none /proc && exec "
)
_DENIED = 'cgexporter_supported{file="/proc/PID/ns",reason="permission denied"} 0'


@dataclass(frozen=True, slots=True)
class World:
    """IDs of containers: with everything its own, on the host's network, in its PID namespace."""

    own: str
    host_net: str
    host_pid: str
    host_net_pid: int


@pytest.fixture(scope="module")
def world(runc: Runc) -> World:
    """Start the containers. kthreadd stands for the host: PID 1 may be hidden."""
    ids = [secrets.token_hex(32) for _ in range(3)]
    joins: Sequence[Mapping[str, int]] = ({}, {"network": 2}, {"pid": 2})
    pids = [
        runc.run(
            f"c{number}",
            "exec sleep 600",
            resources={},
            cgroups_path=f"/{runc.unique}/docker/{identity}",
            joins=join,
        ).pid
        for number, (identity, join) in enumerate(zip(ids, joins, strict=True))
    ]
    return World(ids[0][:12], ids[1][:12], ids[2][:12], pids[1])


@pytest.fixture
def elsewhere(cgroups: Cgroups) -> Sequence[str]:
    """A command that runs another in a PID, mount and cgroup namespace of its own."""
    identity = cgroups.new_id()
    sleeper = subprocess.Popen(["sleep", "600"])
    try:
        cgroups.make(identity, {}, sleeper.pid)
    finally:
        sleeper.kill()
        sleeper.wait()
    moves = "".join(
        f"echo $$ >{directory}/cgroup.procs; " for directory in cgroups.directories(identity)
    )
    unshare = program("unshare", "util-linux")
    inner = f"""'{_ELSEWHERE}"$@"' sh"""
    script = f"""{moves} exec {unshare} --mount --cgroup --pid --fork sh -c {inner} "$@" """
    return ("sh", "-c", script, "sh")


def shared(page: str, identity: str) -> dict[str, str]:
    """With whom a container shares which kind."""
    name = rf'^cgexporter_container_namespace_shared{{id="{identity}"'
    return dict(re.findall(rf'{name},kind="(\w+)",with="(\w+)"}} 1$', page, re.MULTILINE))


def assert_network(page: str, world: World) -> None:
    """What needs no right: networks, and who is on the host's."""
    assert f'cgexporter_container_network_sockets{{id="{world.own}"}} ' in page
    assert f'cgexporter_container_network_sockets{{id="{world.host_pid}"}} ' in page
    assert f'network_sockets{{id="{world.host_net}"}}' not in page
    assert "net" not in shared(page, world.own)
    assert shared(page, world.host_net)["net"] == "host"
    assert re.search(r'^cgexporter_node_namespaces\{kind="net"\} [1-9]', page, re.MULTILINE)
    # NSpid has one number for who lives in the PID namespace of the mounted /proc.
    assert shared(page, world.host_pid)["pid"] == "host"
    assert "pid" not in shared(page, world.own)
    assert f'cgexporter_container_root_uid{{id="{world.own}"}} 0' in page


def assert_little(page: str, world: World) -> None:
    """Without ptrace access the rest is not known, and said so."""
    assert_network(page, world)
    assert _DENIED in page
    assert "ipc" not in shared(page, world.host_net)
    assert 'cgexporter_node_namespaces{kind="ipc"}' not in page


def assert_all(page: str, world: World) -> None:
    """With ptrace access all kinds are known."""
    assert_network(page, world)
    assert _DENIED not in page
    assert shared(page, world.own)["time"] == "host"
    assert re.search(r'^cgexporter_node_namespaces\{kind="ipc"\} [1-9]', page, re.MULTILINE)


def test_nobody(world: World) -> None:
    """Uid 65534 without capabilities tells networks apart."""
    page = output("--once", "--format", "prom", "--collector.transport", prefix=_NOBODY)
    assert_little(page, world)
    assert "time" not in shared(page, world.own)


def test_root_without_ptrace(world: World) -> None:
    """Root without SYS_PTRACE sees what nobody sees, and what little more it may."""
    assert_little(
        output("--once", "--format", "prom", "--collector.transport", prefix=_NO_PTRACE), world
    )


def test_everything(world: World) -> None:
    """Root sees all kinds."""
    assert_all(output("--once", "--format", "prom", "--collector.transport"), world)


def test_elsewhere_with_everything(world: World, elsewhere: Sequence[str]) -> None:
    """In another PID and cgroup namespace, the host's /proc mounted elsewhere tells the same."""
    page = output(
        "--once",
        "--format",
        "prom",
        "--collector.transport",
        "--path.procfs=/mnt/proc",
        prefix=elsewhere,
    )
    assert_all(page, world)


def test_elsewhere_as_nobody(world: World, elsewhere: Sequence[str]) -> None:
    """The same without a right: as a DaemonSet's pod runs by default."""
    prefix = (*elsewhere, *_NOBODY)
    page = output(
        "--once",
        "--format",
        "prom",
        "--collector.transport",
        "--path.procfs=/mnt/proc",
        prefix=prefix,
    )
    assert_little(page, world)


@pytest.mark.parametrize("form", ["table", "tree", "json"])
@pytest.mark.parametrize("privileges", [_NOBODY, _NO_PTRACE, ()], ids=["nobody", "root", "all"])
def test_views(world: World, privileges: Sequence[str], form: str) -> None:
    """Each view works with any rights, names the containers and says what is missing."""
    text = output("namespaces", "--format", form, prefix=privileges)
    if form != "tree" or not privileges:
        assert world.own in text
    assert ("permission denied" in text) is bool(privileges)


def test_what_is_missing_is_said_once(world: World, tmp_path: Path) -> None:
    """The server logs what a right would add, with the first scan and not again."""
    del world
    log = tmp_path / "log"
    with log.open("w") as stderr:
        server = subprocess.Popen(
            [*_NOBODY, *COMMAND, "--web.listen-address=127.0.0.1:0"], stderr=stderr
        )
    try:
        found = eventually(
            lambda: re.search(r"listening on 127.0.0.1:(\d+)", log.read_text()), "a server"
        )
        for _ in range(3):
            url = f"http://127.0.0.1:{found[1]}/metrics"
            with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as answer:
                assert answer.status == 200
        assert log.read_text().count("/proc/PID/ns: permission denied") == 1
    finally:
        server.terminate()
        server.wait(PATIENCE_SECONDS)
