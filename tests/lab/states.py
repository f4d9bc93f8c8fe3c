"""Saved states of guests, from which tests go on in seconds.

Engines or a kubelet run there, with all containers and their loads.
"""

import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.lab import container_image, patients, pods, workloads
from tests.lab.image import image
from tests.lab.machine import FIRST, HIERARCHIES, NICENESS, Guest, recipe
from tests.tools import kubelet_pods, programs
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

# What was to be counted was counted before the state was saved; from then on it takes a guest's CPU
# from the tests. The brackets keep the pattern from finding itself.
STOP_LOADS = "pkill -STOP -f 'while [:]; do|^stress-n[g]'; true"


@dataclass(frozen=True, slots=True)
class State:
    """How to make one.

    Attributes:
        prepare: what is done in the guest when it has booted, or gone on from `base`.
        made_of: beside image and machine, all that `prepare` depends on.
        base: the name of the state that it goes on from, instead of booting.
        niceness: of the guests that tests let go on from it.
    """

    name: str
    hierarchy: str
    prepare: Callable[[Guest], None]
    made_of: Callable[[], Sequence[str | Path]]
    base: str = ""
    has_kubelet: bool = False
    niceness: int = NICENESS

    @property
    def home(self) -> Path:
        """Where it is once it is made."""
        parts = [*self.made_of(), image().home.name, recipe(self.hierarchy)]
        if self.base:
            parts.append(STATES[self.base].home.name)
        return ROOT / "states" / f"{self.name}-{digest(*parts)}"

    def guest(self, home: Path, program: Path | None = None) -> Guest:
        """A guest of this kind, not started; its files go to `home`."""
        if self.has_kubelet:
            archive = node_archive()
            return Guest(
                *(image(), home, self.hierarchy, archive), words=NODE_WORDS, program=program
            )
        return Guest(image(), home, self.hierarchy, program=program)


def _start_engines(guest: Guest) -> None:
    _put_container_image(guest)
    guest.script(SCRIPTS / "engines.sh", timeout=_PATIENCE_SECONDS)


def _start_workloads(guest: Guest) -> None:
    _start_engines(guest)
    workloads.start(guest)
    guest.run(STOP_LOADS)


def _start_kubelet(guest: Guest) -> None:
    _put_container_image(guest)
    guest.put([pods.write(guest.home)], "/etc/kubernetes")
    guest.script(SCRIPTS / "kubelet.sh", timeout=_PATIENCE_SECONDS)
    count = sum(len(pod.containers) for pod in pods.PODS)
    # Its cAdvisor asks the runtime once for the names of a container, for two seconds, and never
    # again: on a machine that does much else it may have none, until it is started anew.
    known = f"curl -sS {pods.KUBELET}/metrics/cadvisor | grep -c "
    named = f"""$({known} '^container_start_time_seconds{{container="[a-z]')"""
    # Of the pod on the host's network it may show the host's.
    own = [pod.name for pod in pods.PODS if not pod.spec.get("hostNetwork")]
    row = f"""^container_network_receive_bytes_total.*interface="eth0".*pod="({"|".join(own)})-"""
    networks = f"""$({known} -E '{row}')"""
    guest.run(
        f"while [ $SECONDS -lt {_PATIENCE_SECONDS} ]; do "
        f"[ $(crictl ps -q | wc -l) = {count} ] && break; sleep 3; done\n"
        f"for tries in 1 2 3; do for _ in $(seq 12); do sleep 5; "
        f"[ {named} = {count} ] && [ {networks} = {len(own)} ] && exit; done; "
        "systemctl restart kubelet; done\n"
        f"crictl ps -a; crictl pods; curl -sS {pods.KUBELET}/metrics/cadvisor; exit 1",
        timeout=_PATIENCE_SECONDS + 300,
    )


def _put_container_image(guest: Guest) -> None:
    container_image.write(guest.home / "lab.tar")
    guest.put([guest.home / "lab.tar"], "/lab")


def _of_engines() -> Sequence[str | Path]:
    return SCRIPTS / "engines.sh", _HERE / "container_image.py"


def _with_workloads(hierarchy: str) -> State:
    return State(
        hierarchy,
        hierarchy,
        _start_workloads,
        lambda: (*_of_engines(), *workloads.commands(hierarchy), STOP_LOADS),
    )


def _of_kubelet() -> Sequence[str | Path]:
    names = [programs.path(name).name for name in NODE_PROGRAMS]
    manifests = [pod.manifest() for pod in pods.PODS]
    parts = (*names, *manifests, *NODE_WORDS)
    return SCRIPTS / "kubelet.sh", _HERE / "container_image.py", *parts


def _add_mixed(guest: Guest) -> None:
    """Add a pod of two containers, one of which has no limits."""
    guest.run(STOP_LOADS)
    guest.run(
        "cat >/lab/mixed.yaml && mv /lab/mixed.yaml /etc/kubernetes/manifests/",
        stdin=_mixed().encode(),
    )
    count = len(kubelet_pods.running("mixed"))
    guest.run(
        f"while [ $SECONDS -lt {_PATIENCE_SECONDS} ]; do sleep 3; "
        f"[ $(crictl ps -q --label io.kubernetes.pod.name=mixed-lab | wc -l) = {count} ] "
        f"&& exit; done; crictl ps -a; exit 1",
        timeout=_PATIENCE_SECONDS + 60,
    )


def _mixed() -> str:
    return kubelet_pods.manifest("mixed", container_image.NAME)


# Of each a recording lies in tests/data/lab.
RECORDED = {
    **{name: _with_workloads(name) for name in HIERARCHIES},
    "kubelet": State("kubelet", "v2", _start_kubelet, _of_kubelet, has_kubelet=True),
}
STATES = {
    **RECORDED,
    # Engines, and not one container.
    "bare": State("bare", "v2", _start_engines, _of_engines, niceness=FIRST),
    "mixed-pod": State(
        "mixed-pod", "v2", _add_mixed, lambda: [_mixed()], "kubelet", has_kubelet=True
    ),
    "sick": State("sick", "v2", patients.start, patients.made_of, "bare", niceness=FIRST),
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


def build(state: State) -> None:
    """Boot a guest, or go on from the state's base, prepare it, and save it."""
    with making(state.home) as place:
        if place is None:
            return
        with tempfile.TemporaryDirectory(prefix="cgexporter-lab-") as name:
            guest = state.guest(Path(name))
            try:
                guest.start(STATES[state.base].home if state.base else None)
                state.prepare(guest)
                guest.save(place)
            finally:
                guest.stop()
    forget_others(state.home, f"{state.name}-*")
