"""What a dockerd and a kubelet make of what they are asked for: seen in a guest once, and kept.

Nothing of cgexporter runs there. What was seen stays true until what is asked, a program or the
guest changes, which all are in the digest of its name: what takes a guest ten minutes is done once.
"""

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.integration import reading
from tests.integration.engines import Engine
from tests.lab import engine, explained
from tests.lab.machine import Guest
from tests.lab.states import SCRIPTS, STATES, STOP_LOADS
from tests.tools.cache import ROOT, digest, forget_others, making

_AT_ONCE = 2
_SLEEPS = ("lab:1", "sleep", "1000000")
# A container whose network others have.
_FIRST = "explain"
_NETWORK = f"container:{_FIRST}"
_LONG_SECONDS = 1500


@dataclass(frozen=True, slots=True)
class Observation:
    """One that can be made.

    Attributes:
        state: the name of the state in which.
        asked: what for, as JSON; it says how much is asked of a guest at a time.
        look: asks, and says what was seen.
        made_with: files that have a part in it, beside this one.
    """

    name: str
    state: str
    asked: Callable[[], Any]
    look: Callable[[Guest, Any], Any]
    made_with: Sequence[Path]

    @property
    def file(self) -> Path:
        """Where it is once it is made."""
        parts = (STATES[self.state].home.name, json.dumps(self.asked()))
        return ROOT / "observed" / f"{self.name}-{digest(Path(__file__), *self.made_with, *parts)}"

    def read(self) -> Any:
        """What was seen."""
        return json.loads(self.file.read_text())


def make(observation: Observation) -> None:
    """Make one if it is not there yet: minutes."""
    with making(observation.file) as place:
        if place is not None:
            with tempfile.TemporaryDirectory(prefix="cgexporter-lab-") as name:
                state = STATES[observation.state]
                guest = state.guest(Path(name))
                try:
                    guest.start(state.home)
                    place.write_text(json.dumps(observation.look(guest, observation.asked())))
                finally:
                    guest.stop()
    forget_others(observation.file, f"{observation.name}-*")


# -- Docker ----------------------------------------------------------------------------------


def _start(client: Engine, words: Sequence[str]) -> tuple[str, str]:
    """Start a container; its ID, or why it was refused."""
    network = [] if {"--network", "--net"}.intersection(words) else ["--network", _NETWORK]
    try:
        return client.call("run", "-d", *engine.CHEAP, *network, *words, *_SLEEPS), ""
    except RuntimeError as exc:
        return "", str(exc)


def _of_docker(guest: Guest, asked: Mapping[str, Any]) -> Mapping[str, Any]:
    """ID, or why it was refused, cgroup, files and shared namespaces of each container."""
    guest.put([SCRIPTS / "options.py", Path(reading.__file__)], "/lab")
    kind, number = guest.run(f"stat -c '%F %Hr:%Lr' {explained.DISK}").rsplit(" ", 1)
    wanted: Mapping[str, Sequence[str]] = asked["options"]
    with engine.docker(guest) as client, ThreadPoolExecutor(_AT_ONCE) as pool:
        client.call("run", "-d", "--name", _FIRST, *engine.CHEAP, "--network", "none", *_SLEEPS)
        started = dict(zip(wanted, pool.map(partial(_start, client), wanted.values()), strict=True))
        inspected = json.loads(client.call("inspect", *(key for key, _ in started.values() if key)))
    pids = {one["Id"]: one["State"]["Pid"] for one in inspected}
    read = guest.json(
        "python3 /lab/options.py",
        stdin=json.dumps({"containers": pids, "files": asked["files"]}).encode(),
    )
    seen = {
        options: {"id": key, "refused": why, **read.get(key, {})}
        for options, (key, why) in started.items()
    }
    return {"disk": [kind[0], number], "options": seen}


# -- pods ------------------------------------------------------------------------------------

# The saved state's kubelet kills single processes, which is not the default. What it does again and
# again for nobody here takes a guest's time from its pods.
_WITH_DEFAULTS = r"""
set -e
sed -i /singleProcessOOMKill/d /etc/kubernetes/kubelet.yaml
sed -i 's/"--v=0"/"--v=0" "--housekeeping-interval=60s"/' /run/systemd/transient/kubelet.service
systemctl daemon-reload
systemctl restart kubelet
"""


def _of_kubelet(guest: Guest, asked: Mapping[str, Any]) -> Mapping[str, Any]:
    """MemTotal in bytes, and what was seen in each batch of pods while it ran."""
    guest.run(STOP_LOADS)
    guest.run(_WITH_DEFAULTS)
    guest.put([SCRIPTS / "static_pods.py"], "/lab")
    memory = int(guest.run("awk '/^MemTotal:/ { print $2 }' /proc/meminfo")) * 1024
    batches = []
    for batch in asked["batches"]:
        given = {**batch, "files": asked["files"], "are_the_last": batch is asked["batches"][-1]}
        told = guest.json(
            "python3 /lab/static_pods.py", stdin=json.dumps(given).encode(), timeout=_LONG_SECONDS
        )
        batches.append(told)
    return {"memory": memory, "batches": batches}


DOCKER = Observation(
    *("docker-options", "bare", explained.options_asked, _of_docker),
    [SCRIPTS / "options.py", Path(reading.__file__), Path(engine.__file__)],
)
KUBELET = Observation(
    *("kubelet-pods", "kubelet", explained.pods_asked, _of_kubelet), [SCRIPTS / "static_pods.py"]
)
OBSERVATIONS = (DOCKER, KUBELET)
