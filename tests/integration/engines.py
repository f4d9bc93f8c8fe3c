"""Docker and Podman with roots and sockets of their own, started by hand and removed again."""

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.integration.reading import hierarchies
from tests.integration.support import eventually, program

IMAGE = "localhost/cgexporter-test"


def root_file_system(directory: Path) -> Path:
    """An archive of busybox, the image of every container; no registry has a part in it."""
    rootfs = directory / "rootfs"
    for name in ("bin", "dev", "etc", "proc", "sys", "tmp"):
        (rootfs / name).mkdir(parents=True)
    shutil.copy(program("busybox", "busybox-static"), rootfs / "bin/busybox")
    for command in ("sh", "sleep", "ip", "nc"):
        (rootfs / "bin" / command).symlink_to("busybox")
    archive = directory / "rootfs.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(rootfs, ".")
    return archive


class Engine:
    """Runs a client, and remembers what to remove."""

    patience_seconds = 120.0

    def __init__(self, client: Sequence[str], parent: str, **environment: str) -> None:
        self._client = client
        self._environment = environment
        self.parent = parent  # of the containers' cgroups
        self.containers: dict[str, str] = {}
        self.places: tuple[Path, Path] = (Path(), Path())  # Docker's data root and socket

    def call(self, *arguments: str) -> str:
        """Run the client; what it prints."""
        done = subprocess.run(
            [*self._client, *arguments],
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            env=os.environ | self._environment,
            timeout=self.patience_seconds,
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(arguments)}: {done.stderr}")
        return done.stdout.strip()

    def start(self, name: str, *flags: str) -> str:
        """Start a container that sleeps; its whole ID."""
        found = self.call("run", "--detach", "--name", name, *flags, IMAGE, "/bin/sleep", "600")
        self.containers[name] = found.splitlines()[-1]
        return self.containers[name]

    def inspect(self, name: str) -> dict[str, Any]:
        """What the engine says of a container."""
        found: dict[str, Any] = json.loads(self.call("inspect", name))[0]
        return found

    def pid(self, name: str) -> int:
        """The first process of a container."""
        pid: int = self.inspect(name)["State"]["Pid"]
        assert pid
        return pid


def _remove_cgroups(parent: str) -> None:
    tops = [tree.mount_point / parent.lstrip("/") for tree in hierarchies()]

    def removed() -> bool:
        for top in tops:
            for directory, _, _ in os.walk(top, topdown=False):
                with contextlib.suppress(OSError):  # a process that is not yet buried
                    os.rmdir(directory)
        return not any(top.exists() for top in tops)

    eventually(removed, f"the end of the processes in {parent}")


@contextlib.contextmanager
def docker(directory: Path, *flags: str, prefix: Sequence[str] = ()) -> Iterator[Engine]:
    """A dockerd of our own.

    Args:
        directory: for all that it writes.
        flags: for dockerd.
        prefix: a command that runs it, such as nsenter.
    """
    parent = f"/cgexporter-test-{secrets.token_hex(4)}"
    socket = directory / "docker.sock"
    client = [*prefix, program("docker", "docker.io"), "--host", f"unix://{socket}"]
    with (directory / "dockerd.log").open("w") as log:
        daemon = subprocess.Popen(
            [
                *prefix,
                program("dockerd", "docker.io"),
                *("--data-root", str(directory / "data"), "--exec-root", str(directory / "exec")),
                *("--pidfile", str(directory / "docker.pid"), "--host", f"unix://{socket}"),
                *("--exec-opt", "native.cgroupdriver=cgroupfs", "--cgroup-parent", parent),
                *flags,
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    engine = Engine(client, parent)
    engine.places = (directory / "data", socket)

    def answers() -> bool:
        if daemon.poll() is not None:
            raise RuntimeError((directory / "dockerd.log").read_text())
        with contextlib.suppress(RuntimeError):
            return bool(engine.call("version"))
        return False

    try:
        eventually(answers, "dockerd")
        engine.call("import", str(root_file_system(directory)), IMAGE)
        yield engine
    finally:
        for name in engine.containers:
            with contextlib.suppress(RuntimeError):
                engine.call("rm", "--force", name)
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(60)
        for mount in directory.glob("exec/netns/*"):
            subprocess.run(["umount", str(mount)], check=False, capture_output=True)
        _remove_cgroups(parent)


@contextlib.contextmanager
def podman(directory: Path) -> Iterator[Engine]:
    """Podman with a storage of our own; it needs no daemon."""
    parent = f"/cgexporter-test-{secrets.token_hex(4)}"
    runroot = tempfile.mkdtemp(prefix="cgx-", dir="/tmp")  # it takes 50 characters at most
    # Its default limits are more than a root without CAP_SYS_RESOURCE may give.
    config = directory / "containers.conf"
    config.write_text('[containers]\ndefault_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]\n')
    engine = Engine(
        [
            program("podman", "podman"),
            *("--root", str(directory / "root"), "--runroot", runroot),
            *("--tmpdir", str(directory / "tmp"), "--storage-driver", "vfs"),
            *("--cgroup-manager", "cgroupfs", "--runtime", program("runc", "runc")),
            *("--events-backend", "file"),
        ],
        parent,
        CONTAINERS_CONF=str(config),
    )
    try:
        engine.call("import", str(root_file_system(directory)), IMAGE)
        yield engine
    finally:
        for name in reversed(engine.containers):  # who joined another's namespace goes first
            with contextlib.suppress(RuntimeError):
                engine.call("rm", "--force", "--time", "0", name)
        with contextlib.suppress(RuntimeError):
            engine.call("pod", "rm", "--all", "--force", "--time", "0")
        _remove_cgroups(parent)
        shutil.rmtree(runroot)
