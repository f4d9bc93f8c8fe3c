"""A disk for the node of a cluster: its programs, and containerd's folder with images in it.

Made here, natively: in a guest an import of an image of 80 MB takes minutes, copying aside.
"""

import contextlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.lab import container_image
from tests.lab.states import NODE_PROGRAMS
from tests.tools import programs
from tests.tools.cache import ROOT, digest, forget_others, making

# Has all in its place in the guest.
MOUNT = """
mkdir -p /lab /var/lib/containerd-cri
mount -o noatime /dev/vdb /lab
mount --bind /lab/bin /usr/local/bin
mount --bind /lab/containerd /var/lib/containerd-cri
"""
# What a kubelet does again and again for nobody here takes a guest's time from its pods.
_KUBELET = """#!/bin/sh
exec /lab/programs/kubelet "$@" --housekeeping-interval=60s --make-iptables-util-chains=false
"""
_SIZE = "4G"  # sparse
_PATIENCE_SECONDS = 60.0
# Nothing of a node but its store of images.
_SETTINGS = """version = 3
root = "{home}/disk/containerd"
state = "{home}/state"
disabled_plugins = [
    "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime"]
[grpc]
address = "{home}/grpc"
[ttrpc]
address = "{home}/ttrpc"
"""


def node_disk(archive: Path) -> Path:
    """The file system, made if it is not there yet: some seconds.

    Args:
        archive: a container image as ``docker save`` writes it, to have beside the lab's own; the
            file's name stands for what is in it.
    """
    paths = {name: programs.build(name) for name in NODE_PROGRAMS}
    names = [path.name for path in (*paths.values(), archive)]
    key = digest(Path(__file__), Path(container_image.__file__), *names)
    target = ROOT / "disks" / f"node-{key}.img"
    with making(target) as place:
        if place is not None:
            # On a file system where overlays may lie, and by a path short enough for a socket.
            with tempfile.TemporaryDirectory(prefix="cgx-", dir="/tmp") as name:
                home = Path(name)
                _fill(home, paths, archive)
                with place.open("wb") as disk:
                    disk.truncate(int(_SIZE[:-1]) << 30)
                options = (
                    "-O",
                    "^has_journal,^metadata_csum",
                    "-E",
                    "lazy_itable_init=0,nodiscard",
                )
                _run("mke2fs", "-q", "-t", "ext4", *options, "-d", home / "disk", place)
    forget_others(target, "node-*.img")
    return target


def _fill(home: Path, paths: dict[str, Path], archive: Path) -> None:
    folder = home / "disk/bin"
    folder.mkdir(parents=True)
    for name, path in paths.items():
        shutil.copy(path, folder / name)
    (home / "disk/programs").mkdir()
    (folder / "kubelet").rename(home / "disk/programs/kubelet")
    (folder / "kubelet").write_text(_KUBELET)
    (folder / "kubelet").chmod(0o755)
    container_image.write(home / "disk/lab.tar")
    with _containerd(home, folder / "containerd"):
        ctr = (folder / "ctr", "--address", home / "grpc", "--namespace", "k8s.io")
        for image in (home / "disk/lab.tar", archive):
            _run(*ctr, "images", "import", "--local", image)


@contextlib.contextmanager
def _containerd(home: Path, program: Path) -> Iterator[None]:
    """Run it for a `with` block, in a home of its own."""
    (home / "config.toml").write_text(_SETTINGS.format(home=home))
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, "--config", home / "config.toml"], stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not (home / "grpc").exists():
            ended = process.poll() is not None or time.monotonic() > deadline
            assert not ended, (home / "log").read_text()
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait(_PATIENCE_SECONDS)


def _run(*words: str | Path) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
