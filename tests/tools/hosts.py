"""Hosts made by hand: a v2 cgroup tree, and the files that runtimes leave."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cgexporter.correlate.view import Container, View
from cgexporter.exporter import Exporter, Settings
from cgexporter.names.settings import Identity
from tests.tools.bolt import Tree, database

_MOUNTINFO = "31 22 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
_SECRET = "DB_PASSWORD=must-not-be-kept"


def hex_id(name: str) -> str:
    """An ID of 64 hex digits, the same for the same name."""
    return hashlib.sha256(name.encode()).hexdigest()


def docker(name: str) -> str:
    """Path of a Docker container's cgroup."""
    return f"/system.slice/docker-{hex_id(name)}.scope"


class Host:
    """One host below a directory."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "root"
        self.cgroupfs = directory / "sys/fs/cgroup"
        self.procfs = directory / "proc"
        self.root.mkdir(parents=True)
        (self.procfs / "1").mkdir(parents=True)
        (self.procfs / "1/mountinfo").write_text(_MOUNTINFO)
        self.cgroup("/")

    def cgroup(self, path: str, pid: int | None = None) -> None:
        """Make a cgroup, and those above it."""
        names = [name for name in path.split("/") if name]
        for depth in range(len(names) + 1):
            directory = self.cgroupfs.joinpath(*names[:depth])
            directory.mkdir(exist_ok=True, parents=True)
            (directory / "cgroup.procs").touch()
            (directory / "cpu.stat").write_text("usage_usec 5\n")
        if pid is not None:
            (self.cgroupfs.joinpath(*names) / "cgroup.procs").write_text(f"{pid}\n")

    def process(self, pid: int, oom_score_adj: int = 0) -> None:
        """Make a process in a PID namespace of its own."""
        directory = self.procfs / str(pid)
        directory.mkdir()
        (directory / "stat").write_text(f"{pid} (sh) S {'0 ' * 18}{pid} 0\n")
        (directory / "status").write_text(f"Name:\tsh\nNSpid:\t{pid}\t1\n")
        (directory / "oom_score_adj").write_text(f"{oom_score_adj}\n")

    def remove(self, path: str) -> None:
        """Remove a cgroup."""
        shutil.rmtree(self.cgroupfs / path.lstrip("/"))

    def write(self, path: str, content: object) -> Path:
        """Write a file below the root; what is no text as JSON."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content if isinstance(content, str) else json.dumps(content))
        return file

    def log(self, pod: str, namespace: str, container: str, container_id: str, uid: str) -> Path:
        """Make the kubelet's link to a container's log."""
        directory = self.root / "var/log/containers"
        directory.mkdir(parents=True, exist_ok=True)
        link = directory / (f"{pod}_{namespace}_{container}-{container_id}"[:251] + ".log")
        link.symlink_to(f"/var/log/pods/{namespace}_{pod}_{uid}/{container}/0.log")
        return link

    def docker(self, container_id: str, name: str, **config: Any) -> Path:
        """Write Docker's file of a container; `config` goes into Config."""
        return self.write(
            f"/var/lib/docker/containers/{container_id}/config.v2.json",
            {
                "State": {"Running": True, "Pid": 1},
                "ID": container_id,
                "Name": f"/{name}",
                "RestartCount": 2,
                "Config": {"Env": [_SECRET], "Image": "lab:1", **config},
            },
        )

    def runc(
        self, root: str, id_: str, cgroup: str, labels: Mapping[str, str] | None = None
    ) -> Path:
        """Write runc's state of a container."""
        pairs = [f"{key}={value}" for key, value in (labels or {}).items()]
        return self.write(
            f"{root}/{id_}/state.json",
            {
                "id": id_,
                "config": {"Hooks": {"prestart": [{"env": [_SECRET]}]}, "labels": pairs},
                "cgroup_paths": {"": f"/sys/fs/cgroup{cgroup}"},
            },
        )

    def bundle(self, directory: str, annotations: Mapping[str, str], cgroup: str = "") -> Path:
        """Write an OCI bundle's config.json."""
        return self.write(
            f"{directory}/config.json",
            {
                "process": {"env": [_SECRET]},
                "annotations": dict(annotations),
                "linux": {"cgroupsPath": cgroup},
            },
        )

    def containerd(self, namespaces: Mapping[str, Tree]) -> Path:
        """Write containerd's database: containers by namespace and ID."""
        tree: Tree = {"v1": {name: {"containers": its} for name, its in namespaces.items()}}
        file = self.write("/var/lib/containerd/io.containerd.metadata.v1.bolt/meta.db", "")
        file.write_bytes(database(tree))
        return file

    def libpod(self, tree: Tree) -> Path:
        """Write Podman's database."""
        file = self.write("/var/lib/containers/storage/libpod/bolt_state.db", "")
        file.write_bytes(database(tree))
        return file

    def exporter(self, **identity: Any) -> Exporter:
        """An exporter of this host, with all that needs no server."""
        settings = Settings(
            cgroupfs=str(self.cgroupfs),
            procfs=str(self.procfs),
            identity=Identity(root=str(self.root), **identity),
        )
        return Exporter(settings)

    def view(self, **identity: Any) -> View:
        """What is seen once every source was asked."""
        exporter = self.exporter(**identity)
        try:
            return exporter.name(exporter.look())
        finally:
            exporter.close()


def container(view: View, path: str) -> Container:
    """The container that is published for a cgroup."""
    (found,) = (each for each in view.containers if each.cgroup.path == path)
    return found
