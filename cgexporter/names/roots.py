"""Where runtimes keep their state: lists of directories, of the system and of its users."""

import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cgexporter.kernel import Missing
from cgexporter.names import SYSTEM
from cgexporter.names.door import Door

# A "*" stands for any name: a containerd namespace, a user. containerd's shim keeps runc's state
# in one place whatever containerd's own state directory is.
_TASKS = "io.containerd.runtime.v2.task/*"
_METADATA = "io.containerd.metadata.v1.bolt"
_STORAGE = ("/var/lib/containers/storage", "/run/containers/storage")
DEFAULTS: Mapping[str, Sequence[str]] = {
    "runc": (
        "/run/runc",
        "/run/containerd/runc/*",
        "/run/docker/runtime-*/moby",
        "/run/user/*/runc",
        "/run/user/*/docker/runtime-*/moby",
    ),
    "crun": ("/run/crun", "/run/user/*/crun"),
    "containerd": (
        f"/run/containerd/{_TASKS}",
        f"/run/k3s/containerd/{_TASKS}",
        f"/run/k0s/containerd/{_TASKS}",
        f"/var/snap/microk8s/common/run/containerd/{_TASKS}",
    ),
    "containerd-root": (
        f"/var/lib/containerd/{_METADATA}",
        f"/var/lib/rancher/k3s/agent/containerd/{_METADATA}",
        f"/var/lib/k0s/containerd/{_METADATA}",
        f"/var/snap/microk8s/common/var/lib/containerd/{_METADATA}",
        f"/home/*/.local/share/containerd/{_METADATA}",
    ),
    "docker": (
        "/var/lib/docker",
        "/var/snap/docker/common/var-lib-docker",
        "/home/*/.local/share/docker",
    ),
    "storage": (
        *(f"{root}/*-containers" for root in _STORAGE),
        "/home/*/.local/share/containers/storage/*-containers",
        "/run/user/*/containers/*-containers",
    ),
    "libpod": (
        "/var/lib/containers/storage/libpod",
        "/home/*/.local/share/containers/storage/libpod",
    ),
}
# What a directory given by --identity.state-root is completed with.
SUFFIXES = {
    "containerd": f"/{_TASKS}",
    "containerd-root": f"/{_METADATA}",
    "storage": "/*-containers",
    "libpod": "/libpod",
}
# Whose directories are looked into as well.
ALSO = {"libpod": "storage"}


@dataclass(frozen=True, slots=True)
class Root:
    """One directory that is there. `maker` is who may write to it: see `names.Wanted`."""

    path: str
    maker: int


def expand(door: Door, patterns: Sequence[str]) -> Iterator[Root]:
    """The directories that patterns stand for, as of now."""
    system = door.owner("/")
    for pattern in patterns:
        for path in _matching(door, "", pattern.strip("/").split("/")):
            owner = door.owner(path)
            if not isinstance(owner, Missing):
                yield Root(path, SYSTEM if owner == system else owner)


def _matching(door: Door, above: str, names: Sequence[str]) -> Iterator[str]:
    fixed = 0
    while fixed < len(names) and "*" not in names[fixed]:
        fixed += 1
    path = "/".join((above, *names[:fixed]))
    if fixed == len(names):
        yield path
        return
    for name in sorted(fnmatch.filter(door.listed(path), names[fixed])):
        yield from _matching(door, f"{path}/{name}", names[fixed + 1 :])
