"""The inventory of namespaces equals what the kernel, lsns and the runtimes say."""

import json
import os
import secrets
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cgexporter.correlate.processes import KINDS
from tests.integration.engines import IMAGE, Engine, docker, podman
from tests.integration.processes import output
from tests.integration.runc import Runc
from tests.integration.support import need_root, program

Json = Mapping[str, Any]
_NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all")


@dataclass(frozen=True, slots=True)
class World:
    """Containers of both engines, and what cgexporter said of them."""

    engines: Mapping[str, Engine]
    pids: Mapping[str, int]
    ids: Mapping[str, str]
    links: Mapping[str, Mapping[str, int]]
    host: Mapping[str, int]
    document: Json
    lsns: tuple[set[tuple[str, int]], set[tuple[str, int]]]

    def member(self, name: str) -> Json:
        """What cgexporter says of a container."""
        (found,) = [
            member
            for member in self.document["containers"] + self.document["sandboxes"]
            if member["name"] == self.ids[name]
        ]
        return dict(found)


def links_of(pid: int) -> dict[str, int]:
    """Readlink /proc/PID/ns/*."""
    return {
        kind: int(os.readlink(f"/proc/{pid}/ns/{kind}").partition("[")[2].rstrip("]"))
        for kind in KINDS
    }


def lsns() -> set[tuple[str, int]]:
    """Kind and inode of each namespace that has a process, as util-linux sees it."""
    done = subprocess.run(
        [program("lsns", "util-linux"), "--noheadings", "--raw", "--output", "TYPE,NS"],
        check=True,
        capture_output=True,
        text=True,
    )
    words = (line.split() for line in done.stdout.splitlines())
    return {(kind, int(inode)) for kind, inode in words}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Start the containers, look, and remove them."""
    need_root()
    no_network = ("--iptables=false", "--ip6tables=false", "--bridge=none")
    with (
        docker(tmp_path_factory.mktemp("docker"), *no_network) as dockerd,
        podman(tmp_path_factory.mktemp("podman")) as pod,
    ):
        dockerd.start("d-plain", "--network=none", "--ipc=shareable")
        dockerd.start("d-host-net", "--network=host")
        dockerd.start("d-net-of", "--network=container:d-plain")
        dockerd.start("d-host-pid", "--network=none", "--pid=host")
        dockerd.start("d-pid-of", "--network=none", "--pid=container:d-plain")
        dockerd.start("d-ipc-of", "--network=none", "--ipc=container:d-plain")
        dockerd.start("d-host-ipc", "--network=none", "--ipc=host")
        dockerd.start("d-host-uts", "--network=none", "--uts=host")
        parent = ("--cgroup-parent", pod.parent)
        pod.start("p-plain", "--network=none", *parent)
        pod.start("p-host-net", "--network=host", *parent)
        pod.start("p-net-of", "--network=container:p-plain", *parent)
        mapped = ("--uidmap=0:100000:65536", "--gidmap=0:200000:65536")
        pod.start("p-mapped", "--network=none", *mapped, *parent)
        pod.call(
            *("pod", "create", "--name", "p-pod", "--network=none", "--infra-name", "p-infra"),
            *("--infra-image", IMAGE, "--infra-command", "/bin/sleep 600"),
        )
        pod.start("p-one", "--pod", "p-pod")
        pod.start("p-two", "--pod", "p-pod")
        pod.containers["p-infra"] = pod.inspect("p-infra")["Id"]
        engines = dict.fromkeys(dockerd.containers, dockerd) | dict.fromkeys(pod.containers, pod)
        pids = {name: engine.pid(name) for name, engine in engines.items()}
        before = lsns()
        document = json.loads(output("namespaces", "--format", "json"))
        yield World(
            engines,
            pids,
            {name: engine.containers[name][:12] for name, engine in engines.items()},
            {name: links_of(pid) for name, pid in pids.items()},
            links_of(2),  # kthreadd; PID 1 may be hidden by a security module
            document,
            (before, lsns()),
        )
        pod.call("pod", "rm", "--force", "--time", "0", "p-pod")


def test_inodes(world: World) -> None:
    """Each container has the inodes that readlink says, of all eight kinds."""
    for name in world.pids:
        namespaces = world.member(name)["namespaces"]
        assert {k: n["inode"] for k, n in namespaces.items()} == world.links[name], name
        assert world.member(name)["pid"] == world.pids[name]


def test_shared_with_the_host(world: World) -> None:
    """A namespace is the host's where its inode is that of the host's processes."""
    assert world.document["host"] == world.host
    for name in world.pids:
        for kind, namespace in world.member(name)["namespaces"].items():
            assert namespace["host"] is (world.links[name][kind] == world.host[kind]), (name, kind)


def test_shared_with_each_other(world: World) -> None:
    """A namespace that is not the host's is shared with those, and only those, who are in it."""
    pods = {"p-one", "p-two", "p-infra"}
    for name in world.pids:
        for kind, namespace in world.member(name)["namespaces"].items():
            inode = world.links[name][kind]
            others = {n for n in world.pids if n != name and world.links[n][kind] == inode}
            if inode == world.host[kind]:
                others = set()
            mates = others & pods if name in pods else set()
            assert namespace["pod"] is bool(mates), (name, kind)
            names = {world.ids[other] for other in others - mates}
            assert set(namespace["containers"]) == names, (name, kind)


@pytest.mark.parametrize(
    ("name", "kind", "setting"),
    [
        ("d-host-net", "net", "NetworkMode"),
        ("d-host-pid", "pid", "PidMode"),
        ("d-host-ipc", "ipc", "IpcMode"),
        ("d-host-uts", "uts", "UTSMode"),
        ("p-host-net", "net", "NetworkMode"),
        ("d-net-of", "net", "NetworkMode"),
        ("d-pid-of", "pid", "PidMode"),
        ("d-ipc-of", "ipc", "IpcMode"),
        ("p-net-of", "net", "NetworkMode"),
    ],
)
def test_the_runtime_says_the_same(world: World, name: str, kind: str, setting: str) -> None:
    """What inspect calls host or container:ID is shared with just that."""
    mode = world.engines[name].inspect(name)["HostConfig"][setting]
    namespace = world.member(name)["namespaces"][kind]
    assert namespace["host"] is (mode == "host")
    if mode != "host":
        assert mode.startswith("container:")
        owner = mode.removeprefix("container:")
        assert world.engines[name].inspect(owner)["Id"][:12] in namespace["containers"]


def test_root_is_mapped(world: World) -> None:
    """Root in a user namespace of its own is the user that the runtime was told."""
    assert (world.member("p-mapped")["root_uid"], world.member("p-mapped")["root_gid"]) == (
        100_000,
        200_000,
    )
    assert not world.member("p-mapped")["namespaces"]["user"]["host"]
    assert world.member("p-plain")["root_uid"] == 0


def test_a_pod(world: World) -> None:
    """A Podman pod has the namespaces that podman says its infra container shares."""
    pod = world.engines["p-one"]
    shared = json.loads(pod.call("pod", "inspect", "p-pod"))["SharedNamespaces"]
    identity = json.loads(pod.call("pod", "inspect", "p-pod"))["Id"]
    (found,) = [one for one in world.document["pods"] if one["name"] == identity]
    for kind in shared:
        assert found["namespaces"][kind]["inode"] == world.links["p-infra"][kind]
        assert world.member("p-two")["namespaces"][kind]["pod"] is True
    assert "mnt" not in found["namespaces"]


def test_the_host_has_what_lsns_lists(world: World) -> None:
    """Namespaces with processes are those of lsns; other tests' may come and go meanwhile."""
    ours = {(one["kind"], one["inode"]) for one in world.document["namespaces"] if one["processes"]}
    before, after = world.lsns
    assert before & after <= ours
    # lsns takes all of one moment; a process that unshares between the two is in neither.
    stayed = {
        (one["kind"], one["inode"])
        for one in world.document["namespaces"]
        if one["processes"] and one["pid"] in set(world.pids.values())
    }
    assert stayed <= before & after


def test_metrics(world: World) -> None:
    """The metric is there where a namespace is shared, and only there."""
    page = output("--once", "--format", "prom").splitlines()

    def labels(name: str) -> set[tuple[str, str]]:
        start = f'cgexporter_container_namespace_shared{{id="{world.ids[name]}",kind="'
        lines = [line for line in page if line.startswith(start)]
        words = [line.removeprefix(start).removesuffix('"} 1') for line in lines]
        return {tuple(word.split('",with="')) for word in words}  # type: ignore[misc]

    for name in world.pids:
        if name != "p-infra":
            expected = {
                (kind, way)
                for kind, namespace in world.member(name)["namespaces"].items()
                for way, value in (
                    ("host", namespace["host"]),
                    ("pod", namespace["pod"]),
                    ("container", namespace["containers"]),
                )
                if value
            }
            assert labels(name) == expected, name
    assert f'cgexporter_container_root_uid{{id="{world.ids["p-mapped"]}"}} 100000' in page


@pytest.mark.parametrize("form", ["table", "tree"])
def test_views_for_people(world: World, form: str) -> None:
    """The table and the tree name each container."""
    text = output("namespaces", "--format", form)
    for name in world.pids:
        assert world.ids[name] in text


def test_what_keeps_a_namespace(tmp_path: Path) -> None:
    """A namespace without a process is found by the bind mount or descriptor that keeps it."""
    need_root()
    kept = tmp_path / "kept"
    kept.touch()
    script = (
        f"mount --bind /proc/self/ns/net {kept}; exec 7</proc/self/ns/ipc; "
        "readlink /proc/self/ns/net /proc/self/ns/ipc; exec unshare --ipc --net sleep 600"
    )
    sleeper = subprocess.Popen(
        [program("unshare", "util-linux"), "--net", "--ipc", "sh", "-c", script],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert sleeper.stdout is not None
        with sleeper.stdout as said:
            inodes = [int(said.readline().partition("[")[2].rstrip("]\n")) for _ in range(2)]
        while Path(f"/proc/{sleeper.pid}/comm").read_text() != "sleep\n":
            os.sched_yield()
        document = json.loads(output("namespaces", "--format", "json"))
        found = {one["inode"]: one for one in document["namespaces"]}
        mounted, opened = (found[inode] for inode in inodes)
        assert mounted["mounts"] == [str(kept)]
        assert (mounted["processes"], opened["processes"]) == (0, 0)
        assert opened["descriptors"] == [sleeper.pid]
        assert document["counts"]["net"]["mounted"] >= 1
    finally:
        sleeper.kill()
        sleeper.wait()
        subprocess.run(["umount", str(kept)], check=False)


def test_runc_with_mapped_users(runc: Runc) -> None:
    """A container that runc gave a user namespace: its inodes, its root, and what lsns lists."""
    identity = secrets.token_hex(32)
    pid = runc.run(
        "mapped",
        "exec sleep 600",
        resources={},
        cgroups_path=f"/{runc.unique}/docker/{identity}",
        root=(300_000, 400_000),
    ).pid
    before, links = lsns(), links_of(pid)
    document = json.loads(output("namespaces", "--format", "json"))
    (found,) = (one for one in document["containers"] if one["name"] == identity[:12])
    assert {kind: n["inode"] for kind, n in found["namespaces"].items()} == links
    assert links["user"] != links_of(2)["user"]
    assert not found["namespaces"]["user"]["host"]
    assert (found["root_uid"], found["root_gid"]) == (300_000, 400_000)
    ours = {(one["kind"], one["inode"]) for one in document["namespaces"] if one["processes"]}
    assert before & lsns() <= ours
    assert ("user", links["user"]) in before & ours
    page = output("--once", "--format", "prom", prefix=_NOBODY)
    assert f'cgexporter_container_root_uid{{id="{identity[:12]}"}} 300000' in page
