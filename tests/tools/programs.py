"""Programs that no package here has, built once from Go modules into the cache folder."""

import os
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

from tests.tools.cache import ROOT, digest, making

# go.mod of this folder pins Kubernetes and all that it is made of.
KUBERNETES = Path(__file__).parent / "kubernetes"
_SMALL = "-s -w"
# The API server says its version, which charts look at.
_VERSION = "-X k8s.io/component-base/version.gitVersion=v1.35.4"


@dataclass(frozen=True, slots=True)
class Program:
    """One command of a Go module."""

    package: str
    version: str = ""  # of the module; without one, go.mod of `KUBERNETES` says it
    tags: str = ""
    ldflags: str = _SMALL

    @property
    def flags(self) -> tuple[str, ...]:
        """Of the compiler."""
        return ("-trimpath", "-ldflags", self.ldflags)


def _kubernetes(name: str) -> Program:
    return Program(f"k8s.io/kubernetes/cmd/{name}", tags="selinux,notest,grpcnotrace")


def _containerd(name: str) -> Program:
    return Program(f"github.com/containerd/containerd/v2/cmd/{name}", "v2.4.2")


PROGRAMS = {
    "kubelet": _kubernetes("kubelet"),
    "kube-apiserver": replace(_kubernetes("kube-apiserver"), ldflags=f"{_SMALL} {_VERSION}"),
    "kube-controller-manager": _kubernetes("kube-controller-manager"),
    "kube-scheduler": _kubernetes("kube-scheduler"),
    "kubectl": _kubernetes("kubectl"),
    "containerd": _containerd("containerd"),
    "containerd-shim-runc-v2": _containerd("containerd-shim-runc-v2"),
    "ctr": _containerd("ctr"),
    "crictl": Program("sigs.k8s.io/cri-tools/cmd/crictl", "v1.37.0"),
}


def path(name: str) -> Path:
    """Where a program is once it is built."""
    program = PROGRAMS[name]
    pins = () if program.version else (KUBERNETES / "go.mod", KUBERNETES / "go.sum")
    key = digest(program.package, program.version, program.tags, *program.flags, *pins)
    return ROOT / "programs" / f"{name}-{key}"


def missing(*names: str) -> list[str]:
    """What this machine lacks to have these programs: nothing, or Go."""
    return [] if all(path(name).exists() for name in names) or shutil.which("go") else ["go"]


def build(name: str) -> Path:
    """The program, built if it is not there yet: seconds to three minutes on two CPUs.

    Raises:
        CalledProcessError: the Go compiler failed; it said why.
    """
    target, program = path(name), PROGRAMS[name]
    with making(target) as place:
        if place is None:
            return target
        if program.version:
            command = ["go", "install", *program.flags, f"{program.package}@{program.version}"]
        else:
            command = ["go", "build", *program.flags, "-tags", program.tags]
            command += ["-o", str(place), program.package]
        binaries = place.with_suffix(".bin")
        environment = os.environ | {"CGO_ENABLED": "0", "GOBIN": str(binaries)}
        subprocess.run(command, cwd=KUBERNETES, env=environment, check=True)
        if program.version:
            (binaries / name).rename(place)
            binaries.rmdir()
    return target
