"""Where a host's hierarchies are: mountinfo of every kind of host."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from cgexporter.hierarchies import Hierarchies, Hierarchy, NoHierarchyError, find
from cgexporter.model import Mode

Lay = Callable[[Mapping[str, str]], Path]


def mount(
    place: str, options: str = "rw", *, root: str = "/", device: str = "", kind: str = "cgroup"
) -> str:
    """One line of mountinfo; a hierarchy's device is made of its place unless it is given."""
    device = device or f"0:{sum(place.encode())}"
    return f"31 22 {device} {root} {place} rw,nosuid shared:9 - {kind} {kind} {options}\n"


def cgroup2(place: str, *, root: str = "/", device: str = "0:26") -> str:
    """The line of a v2 mount."""
    return mount(place, "rw,nsdelegate", root=root, device=device, kind="cgroup2")


PROC = "21 24 0:20 / /proc rw - proc proc rw\n"


def host(lay: Lay, *mounts: str, process: str = "self", cgroupfs: str = "cg") -> Hierarchies:
    """Find the hierarchies of a host whose /sys/fs/cgroup is at `cgroupfs`."""
    root = lay({f"proc/{process}/mountinfo": PROC + "".join(mounts)})
    return find(str(root / cgroupfs), str(root / "proc"))


def controllers(hierarchies: Hierarchies, root: Path) -> dict[str, str]:
    """Mount point of each controller, below the temporary directory."""
    return {
        controller: str(Path(tree.mount_point).relative_to(root))
        for controller, tree in hierarchies.legacy.items()
    }


def test_unified(lay: Lay) -> None:
    """A v2 host has one hierarchy, at /sys/fs/cgroup itself."""
    root = lay({"cg/cgroup.procs": ""})
    found = host(lay, cgroup2("/sys/fs/cgroup"))
    assert found.mode is Mode.UNIFIED
    assert found.legacy == {}
    assert found.procfs == str(root / "proc")
    (tree,) = found.all
    assert tree is found.unified
    assert (tree.mount_point, tree.root, tree.unified) == (str(root / "cg"), "/", True)


def test_legacy(lay: Lay, tmp_path: Path) -> None:
    """Each controller has its hierarchy; co-mounted ones share it, systemd's has none."""
    lay({f"cg/{name}/cgroup.procs": "" for name in ("cpu,cpuacct", "memory", "systemd", "net")})
    found = host(
        lay,
        mount("/sys/fs/cgroup/systemd", "rw,xattr,name=systemd"),
        mount("/sys/fs/cgroup/cpu,cpuacct", "rw,cpu,cpuacct"),
        mount("/sys/fs/cgroup/memory", "rw,memory"),
        mount("/sys/fs/cgroup/net", "rw,net_cls"),
    )
    assert found.mode is Mode.LEGACY
    assert found.unified is None
    assert controllers(found, tmp_path) == {
        "cpu": "cg/cpu,cpuacct",
        "cpuacct": "cg/cpu,cpuacct",
        "memory": "cg/memory",
    }
    assert found.legacy["cpu"] is found.legacy["cpuacct"]
    assert found.legacy["cpu"].controllers == {"cpu", "cpuacct"}
    assert len(found.all) == 2


def test_separate_controllers(lay: Lay, tmp_path: Path) -> None:
    """The same controllers may have a hierarchy each."""
    lay({f"cg/{name}/cgroup.procs": "" for name in ("cpu", "cpuacct")})
    found = host(
        lay, mount("/sys/fs/cgroup/cpu", "rw,cpu"), mount("/sys/fs/cgroup/cpuacct", "rw,cpuacct")
    )
    assert controllers(found, tmp_path) == {"cpu": "cg/cpu", "cpuacct": "cg/cpuacct"}
    assert len(found.all) == 2


def test_hybrid(lay: Lay, tmp_path: Path) -> None:
    """A hybrid host has v1 controllers and a v2 hierarchy, which comes last."""
    lay({f"cg/{name}/cgroup.procs": "" for name in ("unified", "memory")})
    found = host(
        lay, cgroup2("/sys/fs/cgroup/unified"), mount("/sys/fs/cgroup/memory", "rw,memory")
    )
    assert found.mode is Mode.HYBRID
    assert controllers(found, tmp_path) == {"memory": "cg/memory"}
    assert found.unified is not None
    assert found.unified.mount_point == str(tmp_path / "cg/unified")
    assert [tree.unified for tree in found.all] == [False, True]


CONTROLLERS = {
    *("cpu", "cpuacct", "cpuset", "memory", "blkio", "pids", "freezer"),
    *("hugetlb", "rdma", "misc"),
}


@pytest.mark.parametrize(
    ("name", "mode", "legacy"),
    [
        ("v2-6.1-systemd", Mode.UNIFIED, set[str]()),
        ("v2-6.1-kubernetes", Mode.UNIFIED, set[str]()),
        (
            "hybrid-6.1-systemd",
            Mode.HYBRID,
            CONTROLLERS,
        ),
        (
            "v1-6.1-docker",
            Mode.LEGACY,
            CONTROLLERS,
        ),
    ],
)
def test_captured_hosts(fixtures: Path, name: str, mode: Mode, legacy: set[str]) -> None:
    """A captured tree is read like a host, by the mountinfo of its PID 1."""
    found = find(f"{fixtures}/{name}/sys/fs/cgroup", f"{fixtures}/{name}/proc")
    assert found.mode is mode
    assert found.legacy.keys() == legacy
    assert all((Path(tree.mount_point) / "cgroup.procs").exists() for tree in found.all)


def test_mounted_elsewhere(lay: Lay, tmp_path: Path) -> None:
    """Where the host's trees are mounted at another place, our own mountinfo says so."""
    lay({"host/sys/cgroup.procs": "", "cg/memory/cgroup.procs": ""})
    found = host(lay, cgroup2(f"{tmp_path}/host/sys"), cgroupfs="host/sys")
    assert found.mode is Mode.UNIFIED
    assert found.all[0].mount_point == str(tmp_path / "host/sys")


def test_own_mounts_beside_the_hosts(lay: Lay, tmp_path: Path) -> None:
    """In a container /sys/fs/cgroup is its own: the place that was named is read."""
    lay({"host/cgroup.procs": "", "cg/cgroup.procs": ""})
    found = host(
        lay,
        cgroup2("/sys/fs/cgroup", root="/../../system.slice/x.scope"),
        cgroup2(f"{tmp_path}/host", root="/../.."),
        cgroupfs="host",
    )
    (tree,) = found.all
    assert (tree.mount_point, tree.root) == (str(tmp_path / "host"), "/")


def test_mountinfo_of_pid_1(lay: Lay, tmp_path: Path) -> None:
    """Where our own mountinfo shows no cgroups, that of PID 1 may."""
    lay({"cg/cgroup.procs": "", "proc/self/mountinfo": PROC})
    assert host(lay, cgroup2("/sys/fs/cgroup"), process="1").mode is Mode.UNIFIED
    lay({"proc/self/mountinfo": "junk\n"})
    assert host(lay, cgroup2("/sys/fs/cgroup"), process="1").mode is Mode.UNIFIED


def test_trailing_slash(lay: Lay, tmp_path: Path) -> None:
    """How a directory is written does not matter."""
    lay({"cg/cgroup.procs": "", "proc/self/mountinfo": cgroup2("/sys/fs/cgroup")})
    for place in ("cg/", "./cg", "proc/../cg//"):
        assert find(f"{tmp_path}/{place}", f"{tmp_path}/proc").all[0].mount_point == (
            f"{tmp_path}/cg"
        )


def test_similar_place(lay: Lay) -> None:
    """A mount beside /sys/fs/cgroup is none below it."""
    lay({"cg/cgroup.procs": "", "cg2/cgroup.procs": "", "cg/2/cgroup.procs": ""})
    with pytest.raises(NoHierarchyError):
        host(lay, cgroup2("/sys/fs/cgroup2"))


def test_mounted_twice(lay: Lay, tmp_path: Path) -> None:
    """A hierarchy that is mounted at several places is read at the first."""
    lay({f"cg/{name}/cgroup.procs": "" for name in ("a", "b", "memory", "again")})
    found = host(
        lay,
        cgroup2("/sys/fs/cgroup/a"),
        cgroup2("/sys/fs/cgroup/b"),
        mount("/sys/fs/cgroup/memory", "rw,memory", device="0:40"),
        mount("/sys/fs/cgroup/again", "rw,memory", device="0:40"),
    )
    assert [tree.mount_point for tree in found.all] == [f"{tmp_path}/cg/memory", f"{tmp_path}/cg/a"]


def test_place_that_is_not_there(lay: Lay, tmp_path: Path) -> None:
    """A mount that is not seen from here (another mount namespace) is left out."""
    lay({"cg/memory/cgroup.procs": "", "cg/pids/": ""})
    found = host(
        lay,
        mount("/sys/fs/cgroup/pids", "rw,pids"),
        mount("/sys/fs/cgroup/cpu", "rw,cpu"),
        mount("/sys/fs/cgroup/memory", "rw,memory"),
    )
    assert controllers(found, tmp_path) == {"memory": "cg/memory"}


def test_first_mount_hidden(lay: Lay, tmp_path: Path) -> None:
    """Of several mounts of a hierarchy one that is seen is taken."""
    lay({"cg/seen/cgroup.procs": ""})
    found = host(lay, cgroup2("/sys/fs/cgroup/hidden"), cgroup2("/sys/fs/cgroup/seen"))
    assert found.all[0].mount_point == f"{tmp_path}/cg/seen"


def test_root_of_a_container(lay: Lay, tmp_path: Path) -> None:
    """In a container on v1 a part of the tree is mounted: paths are still the host's."""
    lay({"cg/memory/cgroup.procs": "", "cg/memory/x/cgroup.procs": ""})
    found = host(lay, mount("/sys/fs/cgroup/memory", "rw,memory", root="/docker/abc"))
    tree = found.legacy["memory"]
    assert tree.root == "/docker/abc"
    assert tree.path("/") == "/docker/abc"
    assert tree.path("/x") == "/docker/abc/x"
    assert tree.directory("/docker/abc") == f"{tmp_path}/cg/memory"
    assert tree.directory("/docker/abc/x") == f"{tmp_path}/cg/memory/x"


@pytest.mark.parametrize("root", ["/..", "/../..", "/../../system.slice/docker-x.scope"])
def test_root_outside_the_cgroup_namespace(lay: Lay, root: str) -> None:
    """Across a cgroup namespace the root is relative: the mount's top counts as "/"."""
    lay({"cg/cgroup.procs": ""})
    (tree,) = host(lay, cgroup2("/sys/fs/cgroup", root=root)).all
    assert tree.root == "/"
    assert tree.path("/system.slice") == "/system.slice"


def test_dots_in_a_name(lay: Lay) -> None:
    """Two dots within a name are a part of it."""
    lay({"cg/cgroup.procs": ""})
    (tree,) = host(lay, cgroup2("/sys/fs/cgroup", root="/a..b")).all
    assert tree.root == "/a..b"


@pytest.mark.parametrize(
    ("path", "directory"), [("/", "/cg"), ("/a", "/cg/a"), ("/a/b c", "/cg/a/b c")]
)
def test_paths_of_a_whole_tree(path: str, directory: str) -> None:
    """Of a whole tree a cgroup's path is what follows the mount point."""
    tree = Hierarchy("/cg", "/", frozenset(), unified=True)
    assert tree.path(path) == path
    assert tree.directory(path) == directory


def test_unified_by_files(lay: Lay, tmp_path: Path) -> None:
    """Without the mountinfo that belongs to it a v2 tree is told by its files, as one tree."""
    lay({f"cg{path}/cgroup.controllers": "" for path in ("", "/a", "/memory", "/unified")})
    lay({f"cg{path}/cgroup.procs": "" for path in ("", "/a", "/memory", "/unified")})
    for mounts in ([], [cgroup2("/elsewhere")]):
        found = host(lay, *mounts)
        assert found.mode is Mode.UNIFIED
        assert [tree.mount_point for tree in found.all] == [f"{tmp_path}/cg"]


def test_legacy_by_files(lay: Lay, tmp_path: Path) -> None:
    """Trees of v1 are told by the names of their directories, links between them left out."""
    names = ("cpu,cpuacct", "memory", "systemd", "net_cls")
    lay({f"cg/{name}/cgroup.procs": "" for name in names})
    lay({"cg/cpu": "->cpu,cpuacct", "cg/pids/x": "", "cg/memory/cpu/cgroup.procs": ""})
    found = host(lay)
    assert found.mode is Mode.LEGACY
    assert controllers(found, tmp_path) == {
        "cpu": "cg/cpu,cpuacct",
        "cpuacct": "cg/cpu,cpuacct",
        "memory": "cg/memory",
    }
    assert found.legacy["cpu"] is found.legacy["cpuacct"]


def test_hybrid_by_files(lay: Lay, tmp_path: Path) -> None:
    """A v2 tree among those of v1 is told by its files, whatever it is called."""
    lay({f"cg/{name}/cgroup.procs": "" for name in ("memory", "odd")})
    lay({"cg/odd/cgroup.controllers": ""})
    found = host(lay)
    assert found.mode is Mode.HYBRID
    assert [tree.mount_point for tree in found.all] == [
        f"{tmp_path}/cg/memory",
        f"{tmp_path}/cg/odd",
    ]


def test_no_procfs(lay: Lay, tmp_path: Path) -> None:
    """The message names the flag that is wrong."""
    lay({"cg/cgroup.procs": "", "file": ""})
    for place in ("none", "file"):
        with pytest.raises(NoHierarchyError, match=rf"{place} is no directory.*--path\.procfs"):
            find(f"{tmp_path}/cg", f"{tmp_path}/{place}")


def test_no_cgroupfs(lay: Lay, tmp_path: Path) -> None:
    """The message names the flag that is wrong."""
    lay({"proc/self/mountinfo": cgroup2("/sys/fs/cgroup"), "file": ""})
    for place in ("none", "file"):
        with pytest.raises(NoHierarchyError, match=rf"{place} is no directory.*--path\.cgroupfs"):
            find(f"{tmp_path}/{place}", f"{tmp_path}/proc")


def test_no_mountinfo(lay: Lay, tmp_path: Path) -> None:
    """The message says what was tried and what to give."""
    lay({"cg/": "", "proc/": ""})
    with pytest.raises(NoHierarchyError) as caught:
        find(f"{tmp_path}/cg", f"{tmp_path}/proc")
    message = str(caught.value)
    assert f"no cgroup hierarchy at {tmp_path}/cg" in message
    assert "proc/self/mountinfo is absent" in message
    assert "proc/1/mountinfo is absent" in message
    assert "--path.cgroupfs and --path.procfs" in message


def test_no_mounts(lay: Lay, tmp_path: Path) -> None:
    """A host without cgroups, and a mountinfo that is none, are told apart."""
    lay({"cg/": "", "proc/self/mountinfo": PROC, "proc/1/mountinfo": "junk\n"})
    with pytest.raises(NoHierarchyError) as caught:
        find(f"{tmp_path}/cg", f"{tmp_path}/proc")
    assert "self/mountinfo has no cgroup mount that is seen below" in str(caught.value)
    assert "1/mountinfo: line 1: expected a mount, found b'junk'" in str(caught.value)


def test_mount_point_with_a_carriage_return(lay: Lay) -> None:
    """An odd name of another mount does not cost the host its cgroups."""
    root = lay({"cg/cgroup.procs": ""})
    mountinfo = root / "proc/self/mountinfo"
    mountinfo.parent.mkdir(parents=True)
    odd = b"40 22 8:1 / /media/a\rb rw - vfat /dev/sda1 rw\n"
    mountinfo.write_bytes(odd + cgroup2("/sys/fs/cgroup").encode())
    assert find(f"{root}/cg", f"{root}/proc").mode is Mode.UNIFIED
