"""Containers without an engine: bundles of busybox, run by runc."""

import contextlib
import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.integration.reading import hierarchies
from tests.integration.support import eventually

Setting = Mapping[str, "Setting"] | Sequence["Setting"] | str | int | bool


@dataclass(frozen=True, slots=True)
class Container:
    """A running container."""

    runc: "Runc"
    name: str
    pid: int

    def pause(self) -> None:
        """Freeze it. runc gives up on tasks in uninterruptible sleep; we do not."""
        eventually(lambda: self.runc.call("pause", self.name), f"runc pause {self.name}")

    def resume(self) -> None:
        """Thaw it."""
        assert self.runc.call("resume", self.name)


class Runc:
    """Starts containers, and removes all of them and their cgroups.

    Args:
        runc: the program.
        busybox: a static one; all that the containers hold.
        directory: for bundles and runc's state.
    """

    def __init__(self, runc: str, busybox: str, directory: Path) -> None:
        self.unique = f"cgexporter-test-{secrets.token_hex(4)}"
        self._runc = runc
        self._busybox = busybox
        self._directory = directory
        self._names: list[str] = []
        self._parents: list[Path] = []

    def call(
        self, *arguments: str, inside: Sequence[Path] = (), log_file: Path | None = None
    ) -> bool:
        """Run runc.

        Args:
            arguments: what follows runc's global flags.
            inside: directories of cgroups that runc joins first.
            log_file: for its complaints and, when it starts a container, for that one's output.
        """
        join = 'while [ "$1" != -- ]; do echo 0 > "$1/cgroup.procs"; shift; done; shift; exec "$@"'
        command = ["sh", "-c", join, "sh", *map(str, inside), "--"]
        command += [self._runc, "--root", str(self._directory / "state"), *arguments]
        # A file and no pipe: the container inherits it and keeps it open.
        with (log_file or self._directory / "runc.log").open("a") as log:
            done = subprocess.run(
                command,
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                timeout=60,
            )
        return done.returncode == 0

    def run(
        self,
        label: str,
        script: str,
        *,
        resources: Mapping[str, Setting],
        cgroups_path: str | None = None,
        binds: Mapping[str, Path] | None = None,
        inside: str | None = None,
        joins: Mapping[str, int] | None = None,
        root: tuple[int, int] | None = None,
    ) -> Container:
        """Start a container in the background.

        Args:
            label: the last part of its name.
            script: for its shell, which has busybox' commands and no others.
            resources: ``linux.resources`` of the OCI runtime specification.
            cgroups_path: ``linux.cgroupsPath``; without it runc chooses, from its own cgroup.
            binds: directories to mount, by where.
            inside: cgroup that runc itself is in; not in each v1 hierarchy, as with systemd.
            joins: by kind as the specification spells it, the process whose namespace it joins.
            root: the host's user and group that its root is, in a user namespace of its own.
        """
        name = f"{self.unique}-{label}"
        bundle = self._bundle(name, script, resources, cgroups_path, binds or {}, joins or {})
        if root:
            _map(bundle, *root)
        if cgroups_path:
            self._remember_parents(cgroups_path)
        joined = self._make(inside) if inside else []
        self._names.append(name)
        pid_file = bundle / "pid"
        flags = ("-d", "--bundle", str(bundle), "--pid-file", str(pid_file))
        # No other container writes to it. The kernel charges a page of a file to who made it, and
        # looks for somebody to kill there when another one's write needs more for that page while
        # the limit is hit: the next after who was just killed is the first process.
        log_file = bundle / "log"
        if not self.call("run", *flags, name, inside=joined, log_file=log_file):
            raise RuntimeError(f"runc run {name} failed:\n{log_file.read_text()}")
        return Container(self, name, int(pid_file.read_text()))

    def close(self) -> None:
        """Remove every container, and the cgroups above them that were not there before."""
        for name in self._names:
            self.call("resume", name)  # a frozen process does not die
            self.call("kill", name, "KILL")
            self.call("delete", "--force", name)
        for parent in sorted(self._parents, reverse=True):
            with contextlib.suppress(OSError):  # in use by others, or gone
                parent.rmdir()

    def _bundle(
        self,
        name: str,
        script: str,
        resources: Mapping[str, Setting],
        cgroups_path: str | None,
        binds: Mapping[str, Path],
        joins: Mapping[str, int],
    ) -> Path:
        bundle = self._directory / name
        rootfs = bundle / "rootfs"
        for directory in ("bin", "dev", "proc", "sys", "tmp"):
            (rootfs / directory).mkdir(parents=True)
        shutil.copy(self._busybox, rootfs / "bin/busybox")
        for command in ("sh", "sleep", "dd", "rm"):
            (rootfs / "bin" / command).symlink_to("busybox")
        for where in binds:
            (rootfs / where.lstrip("/")).mkdir()
        assert self.call("spec", "--bundle", str(bundle))
        config = bundle / "config.json"
        spec = json.loads(config.read_text())
        spec["process"] |= {"terminal": False, "args": ["/bin/sh", "-c", script]}
        spec["mounts"] += [
            {"destination": where, "type": "bind", "source": str(source), "options": ["bind", "rw"]}
            for where, source in binds.items()
        ]
        spec["linux"]["resources"] |= resources
        for namespace in spec["linux"]["namespaces"]:
            if pid := joins.get(namespace["type"]):
                kind = {"network": "net", "mount": "mnt"}.get(namespace["type"], namespace["type"])
                namespace["path"] = f"/proc/{pid}/ns/{kind}"
        if cgroups_path:
            spec["linux"]["cgroupsPath"] = cgroups_path
        config.write_text(json.dumps(spec))
        return bundle

    def _make(self, cgroup: str) -> list[Path]:
        self._remember_parents(f"{cgroup}/container")
        found = []
        for tree in hierarchies():
            if tree.unified or tree.controllers & {"cpu", "memory", "pids"}:
                found.append(tree.mount_point / cgroup.lstrip("/"))
                found[-1].mkdir(parents=True, exist_ok=True)
        return found

    def _remember_parents(self, cgroups_path: str) -> None:
        for tree in hierarchies():
            for parent in Path(cgroups_path).parents:
                directory = tree.mount_point / str(parent).lstrip("/")
                if not directory.exists():
                    self._parents.append(directory)


def _map(bundle: Path, uid: int, gid: int) -> None:
    """Give a container a user namespace, and its root the way to its files."""
    config = bundle / "config.json"
    spec = json.loads(config.read_text())
    spec["linux"]["namespaces"].append({"type": "user"})
    for kind, host in (("uid", uid), ("gid", gid)):
        spec["linux"][f"{kind}Mappings"] = [{"containerID": 0, "hostID": host, "size": 1000}]
    config.write_text(json.dumps(spec))
    os.chown(bundle / "rootfs", uid, gid)
    for directory in (bundle, *bundle.parents):
        directory.chmod(directory.stat().st_mode | 0o011)


def block_device(directory: Path) -> tuple[int, int] | None:
    """The whole disk below a directory's file system; None where there is none."""
    device = os.stat(directory).st_dev
    numbers = f"{os.major(device)}:{os.minor(device)}"
    place = Path("/sys/dev/block", numbers)
    if not place.exists():
        return None
    place = place.resolve()
    if (place / "partition").exists():
        place = place.parent
    major, _, minor = (place / "dev").read_text().strip().partition(":")
    return int(major), int(minor)
