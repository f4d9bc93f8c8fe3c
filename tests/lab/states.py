"""Saved states of guests, from which tests go on in seconds.

Engines or a kubelet run there, with all containers and their loads.
"""

import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.lab import container_image, pods, workloads
from tests.lab.image import build as build_image
from tests.lab.image import image
from tests.lab.machine import HIERARCHIES, Guest, recipe
from tests.tools import programs
from tests.tools.cache import ROOT, digest, forget_others, making

_HERE = Path(__file__).parent
SCRIPTS = _HERE / "guest"
# A minute or two, but for a machine that does much else.
_PATIENCE_SECONDS = 1200
# What the guest of a kubelet needs beside its packages.
NODE_PROGRAMS = ("kubelet", "containerd", "containerd-shim-runc-v2", "ctr", "crictl")

# What of the guest a node does without: it is up in half the time.
NODE_WORDS = tuple(
    f"systemd.mask={name}.service"
    for name in ("systemd-logind", "systemd-update-utmp-runlevel", "serial-getty@ttyS0")
)


@dataclass(frozen=True, slots=True)
class State:
    """How to make one; `script` runs in the guest when it has booted."""

    name: str
    hierarchy: str
    script: Path
    has_kubelet: bool = False

    @property
    def home(self) -> Path:
        """Where it is once it is made."""
        parts: list[str | Path] = [
            image().home.name,
            recipe(self.hierarchy),
            _HERE / "container_image.py",
        ]
        if self.has_kubelet:
            parts += [programs.path(name).name for name in NODE_PROGRAMS]
            parts += [pod.manifest() for pod in pods.PODS]
            parts += NODE_WORDS
        else:
            parts += workloads.commands(self.hierarchy)
        key = digest(self.script, *parts)
        return ROOT / "states" / f"{self.name}-{key}"

    def guest(self, home: Path) -> Guest:
        """A guest of this kind, not started; its files go to `home`."""
        if self.has_kubelet:
            return Guest(image(), home, self.hierarchy, node_archive(), words=NODE_WORDS)
        return Guest(image(), home, self.hierarchy)


STATES = {
    **{name: State(name, name, SCRIPTS / "engines.sh") for name in HIERARCHIES},
    "kubelet": State("kubelet", "v2", SCRIPTS / "kubelet.sh", has_kubelet=True),
}


def node_archive() -> Path:
    """A tar file of the programs of a node."""
    paths = {name: programs.path(name) for name in NODE_PROGRAMS}
    target = ROOT / "programs" / f"node-{digest(*(path.name for path in paths.values()))}.tar"
    with making(target) as place:
        if place is not None:
            words = [w for path in paths.values() for w in ("-C", str(path.parent), path.name)]
            # kubelet-0123456789ab is kubelet in there.
            command = ["tar", "cf", str(place), "--transform", "s/-[0-9a-f]\\{12\\}$//", *words]
            subprocess.run(command, check=True)
    return target


def steps() -> Iterator[tuple[str, bool, Callable[[], object]]]:
    """What there is to build, in order: its name, whether it is there, and how to build it."""
    yield "image", image().home.exists(), build_image
    for name in programs.PROGRAMS:
        yield name, programs.path(name).exists(), partial(programs.build, name)
    for state in STATES.values():
        yield f"state {state.name}", state.home.exists(), partial(build_state, state)


def build_state(state: State) -> None:
    """Boot a guest, let its script prepare it, and save it."""
    with making(state.home) as place:
        if place is None:
            return
        with tempfile.TemporaryDirectory(prefix="cgexporter-lab-") as name:
            guest = state.guest(Path(name))
            try:
                guest.start()
                container_image.write(Path(name) / "lab.tar")
                guest.put([Path(name) / "lab.tar"], "/lab")
                if state.has_kubelet:
                    guest.put([pods.write(Path(name))], "/etc/kubernetes")
                guest.script(state.script, timeout=_PATIENCE_SECONDS)
                if state.has_kubelet:
                    _wait_for_pods(guest)
                else:
                    workloads.start(guest)
                guest.save(place)
            finally:
                guest.stop()
    forget_others(state.home, f"{state.name}-*")


def _wait_for_pods(guest: Guest) -> None:
    count = sum(len(pod.containers) for pod in pods.PODS)
    guest.run(
        f"while [ $SECONDS -lt {_PATIENCE_SECONDS} ]; do "
        f"[ $(crictl ps -q | wc -l) = {count} ] && exit; sleep 1; done; "
        "crictl ps -a; crictl pods; exit 1",
        timeout=_PATIENCE_SECONDS + 60,
    )
