"""A disk for the node of a cluster: its programs, and containerd's folder with images in it.

Made here, natively: in a guest an import of an image of 80 MB takes minutes, copying aside. Of the
exporter's image it has the base alone, which stays the same from one checkout to the next.
"""

import contextlib
import hashlib
import json
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.lab import container_image
from tests.lab.states import NODE_PROGRAMS
from tests.tools import bases, programs
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
_BASE = "docker.io/library/base:1"
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


def path() -> Path:
    """Where the file system is once it is made."""
    names = [programs.path(name).name for name in NODE_PROGRAMS]
    key = digest(Path(__file__), Path(container_image.__file__), Path(bases.__file__), *names)
    return ROOT / "disks" / f"node-{key}.img"


def build() -> Path:
    """The file system, made if it is not there yet: some seconds."""
    target = path()
    with making(target) as place:
        if place is not None:
            # On a file system where overlays may lie, and by a path short enough for a socket.
            with tempfile.TemporaryDirectory(prefix="cgx-", dir="/tmp") as name:
                home = Path(name)
                _fill(home)
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


def _fill(home: Path) -> None:
    folder = home / "disk/bin"
    folder.mkdir(parents=True)
    for name in NODE_PROGRAMS:
        shutil.copy(programs.build(name), folder / name)
    (home / "disk/programs").mkdir()
    (folder / "kubelet").rename(home / "disk/programs/kubelet")
    (folder / "kubelet").write_text(_KUBELET)
    (folder / "kubelet").chmod(0o755)
    container_image.write(home / "disk/lab.tar")
    _write_image(home / "base.tar", bases.final_base())
    with _containerd(home, folder / "containerd"):
        ctr = (folder / "ctr", "--address", home / "grpc", "--namespace", "k8s.io")
        for image in (home / "disk/lab.tar", home / "base.tar"):
            _run(*ctr, "images", "import", "--local", image)


def _write_image(target: Path, layer: Path) -> None:
    """Write an image of one layer, as `docker save` does."""
    name = f"sha256:{hashlib.sha256(layer.read_bytes()).hexdigest()}"
    config = {"architecture": "amd64", "os": "linux", "config": {}}
    config |= {"rootfs": {"type": "layers", "diff_ids": [name]}}
    manifest = [{"Config": "config.json", "RepoTags": [_BASE], "Layers": [layer.name]}]
    folder = target.parent
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with tarfile.open(target, "w") as archive:
        for file in (layer, folder / "config.json", folder / "manifest.json"):
            archive.add(file, file.name)


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
