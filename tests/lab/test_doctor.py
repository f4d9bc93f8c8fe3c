"""`doctor` on cgroup v2 and under a kubelet: the right container, cause and limit; else silence."""

import json
import re
import shlex
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from tests.integration.engines import Engine
from tests.lab import container_image, engine
from tests.lab.conftest import Guests
from tests.lab.machine import Guest
from tests.lab.pods import EATS, MIB
from tests.tools import sick
from tests.tools.kubelet_pods import manifest, running

_KUBELET = "--identity.kubelet http://127.0.0.1:10255"
# All that the saved state runs, which is sick on purpose. Its loads are stopped, deaf to SIGTERM.
_EMPTY = """
docker rm -f $(docker ps -aq)
podman pod rm -fat 0; podman rm -fat 0
runuser -l lab -c 'XDG_RUNTIME_DIR=/run/user/1000 podman rm -fat 0'
for name in c-fs c-sd; do ctr tasks rm -f $name; ctr containers rm $name; done
systemctl kill -s KILL lab-limited lab-high
systemctl stop lab-limited lab-high
"""
_HEALTHY = sick.healthy(20)


@dataclass(frozen=True, slots=True)
class Ward:
    """A host without other containers than those that a test starts."""

    guest: Guest
    client: Engine

    def start(self, name: str, options: str, script: str) -> str:
        """Start a container; the path of its cgroup."""
        network = [] if "--network" in options else ["--network", "none"]
        words = ["--name", name, *engine.CHEAP, *network, *options.split()]
        identity = self.client.call("run", "-d", *words, "lab:1", "sh", "-c", script)
        return f"/system.slice/docker-{identity}.scope"

    def swapped(self, path: str, size: int) -> None:
        """Wait until so many bytes of a container are on disk."""
        self.guest.run(
            f"cd /sys/fs/cgroup{path}; for _ in $(seq 120); do "
            f"[ $(cat memory.swap.current) -gt {size} ] && exit; sleep 0.5; "
            "done; grep . memory.*; exit 1"
        )

    def remove(self, *names: str) -> None:
        """Remove containers."""
        self.client.call("rm", "-f", *names)

    def doctor(self, interval: float = 5, flags: str = "") -> dict[str, Any]:
        """What the command finds."""
        found: dict[str, Any] = self.guest.json(
            f"cgexporter doctor --format json --interval {interval:g}s {flags}"
        )
        return found


def about(document: Mapping[str, Any], cgroup: str) -> dict[str, dict[str, Any]]:
    """Findings about one cgroup, by kind."""
    return {one["kind"]: one for one in document["findings"] if one["cgroup"] == cgroup}


@pytest.fixture(scope="module")
def ward(guests: Guests) -> Iterator[Ward]:
    """A host with cgroup v2 and swap, on which nothing runs."""
    guest = guests.get("v2")
    guest.run(f'( {_EMPTY} ) >/dev/null 2>&1; [ -z "$(docker ps -q)$(podman ps -q)" ]')
    # On the other disk than /data, so that one may be slow without the other.
    guest.run(
        "dd if=/dev/zero of=/swap bs=1M count=192 2>/dev/null; chmod 600 /swap; "
        "mkswap /swap >/dev/null; swapon /swap"
    )
    with engine.docker(guest) as client:
        yield Ward(guest, client)


@pytest.mark.guest("v2")
@pytest.mark.last(of_all=True)
def test_idle_host(ward: Ward) -> None:
    """On a host where nothing runs nothing is found."""
    document = ward.doctor(2)
    assert document["containers"] == 0
    assert document["findings"] == []


@pytest.mark.guest("v2")
@pytest.mark.last(of_all=True)
def test_healthy_host(ward: Ward) -> None:
    """Of containers that stay below their limits, and of those without any, nothing is said."""
    ward.start("quiet", "", "sleep 1000000")
    ward.start("light", "--cpus 1 --memory 64m --pids-limit 50", _HEALTHY)
    ward.start("resting", "--memory 32m --memory-swap 96m --shm-size 64m", sick.filled(20))
    light = f"sh -c {shlex.quote(_HEALTHY)}"
    ward.guest.run(f"podman run -d --network none --name other --memory 64m lab:1 {light}")
    time.sleep(3)
    document = ward.doctor()
    ward.remove("quiet", "light", "resting")
    ward.guest.run("podman rm -ft 0 other")
    assert document["containers"] == 4
    assert document["findings"] == []


@dataclass(frozen=True, slots=True)
class Seen:
    """Containers by name, and what was found while they ran."""

    paths: Mapping[str, str]
    document: Mapping[str, Any]

    def of(self, name: str) -> dict[str, dict[str, Any]]:
        """Findings about one, by kind."""
        found = about(self.document, self.paths[name])
        assert all(one["container"].startswith(name) for one in found.values())
        assert all(one["evidence"] and one["change"] for one in found.values())
        return found


@pytest.fixture(scope="module")
def seen(ward: Ward) -> Seen:
    """Containers that are sick each by itself, and one that is not."""
    patients = {
        "throttled": ("--cpus 0.05", sick.BUSY),
        "bursts": ("", sick.bursts(600, 4)),
        "full": (
            "--memory 32m --memory-swap 32m --shm-size 64m",
            sick.filled(30),
        ),
        "killed": ("--memory 16m --memory-swap 16m", EATS.replace("sleep 10", "sleep 1")),
        "forks": ("--pids-limit 12", sick.FORKS),
        "shares": ("--network host --pid host --ipc host --uts host", _HEALTHY),
        "swaps": (
            "--memory 32m --memory-swap 160m --shm-size 96m",
            sick.filled(64, sick.reads("/dev/shm/full", "1M")),
        ),
        "high": (
            "--memory 128m --memory-swap 128m --shm-size 96m",
            sick.filled(24, sick.writes("/dev/shm/more", "64k", 32)),
        ),
        "healthy": ("--cpus 1 --memory 64m --pids-limit 50", _HEALTHY),
    }
    paths = {name: ward.start(name, *what) for name, what in patients.items()}
    # Afterwards: with so little CPU even the start of its processes would take long.
    ward.client.call("update", "--cpus", "0.05", "bursts")
    ward.guest.run(f"echo 16M >/sys/fs/cgroup{paths['high']}/memory.high")
    ward.swapped(paths["swaps"], 24 * MIB)
    document = ward.doctor(8)
    ward.remove(*patients)
    return Seen(paths, document)


@pytest.mark.guest("v2")
@pytest.mark.last(of_all=True)
def test_throttled(seen: Seen) -> None:
    """A quota that is too small is told, with its file."""
    one = seen.of("throttled")["throttled"]
    assert one["limit"] == {
        "cgroup": seen.paths["throttled"],
        "file": "cpu.max",
        "value": "5000 100000",
    }


@pytest.mark.guest("v2")
@pytest.mark.last(of_all=True)
def test_bursts(seen: Seen) -> None:
    """Threads that need little CPU but at once are told apart from a quota that is too small."""
    assert seen.of("bursts")["bursts"]["limit"]["value"] == "5000 100000"


@pytest.mark.guest("v2")
@pytest.mark.last(of_all=True)
def test_full(seen: Seen) -> None:
    """Memory that is nearly used up is told, with its limit."""
    one = seen.of("full")["memory_near_limit"]
    assert one["harm"] == "warning"
    assert (one["limit"]["file"], one["limit"]["value"]) == ("memory.max", str(32 * MIB))


@pytest.mark.guest("v2")
@pytest.mark.last(of_all=True)
def test_killed(seen: Seen) -> None:
    """OOM kills are the worst, and come first."""
    one = seen.of("killed")["oom_kill"]
    assert one["harm"] == "critical"
    assert (one["limit"]["file"], one["limit"]["value"]) == ("memory.max", str(16 * MIB))
    assert seen.document["findings"][0]["harm"] == "critical"


@pytest.mark.guest("v2")
@pytest.mark.last(of_all=True)
def test_refused_forks(seen: Seen) -> None:
    """Refused forks are told, with the limit that refuses them."""
    one = seen.of("forks")["pids_limit"]
    assert one["harm"] == "critical"
    assert (one["limit"]["file"], one["limit"]["value"]) == ("pids.max", "12")


@pytest.mark.guest("v2")
@pytest.mark.last(of_all=True)
def test_host_namespaces(seen: Seen) -> None:
    """Each namespace of the host is named."""
    one = seen.of("shares")["host_namespaces"]
    assert one["cause"].endswith("the host's ipc, net, pid, uts namespaces")
    assert set(seen.of("shares")) == {"host_namespaces"}


@pytest.mark.guest("v2")
@pytest.mark.last(of_all=True)
def test_swaps(seen: Seen) -> None:
    """Memory that goes to swap and comes back is told, with the limit that pushes it there."""
    found = seen.of("swaps")
    one = found["swapping"]
    assert one["harm"] == "warning"
    assert one["numbers"]["swap_bytes"] > 16 * MIB
    assert one["numbers"]["refault_bytes_per_second"] > MIB
    assert (one["limit"]["file"], one["limit"]["value"]) == ("memory.max", str(32 * MIB))
    assert set(found) <= {"swapping", "memory_near_limit", "memory_stalled", "io_stalled"}


@pytest.mark.guest("v2")
@pytest.mark.last(of_all=True)
def test_memory_high(seen: Seen) -> None:
    """A container that memory.high brakes stands still for memory, and the file is named."""
    one = seen.of("high")["memory_stalled"]
    assert "its memory.high of 16Mi is reached" in one["cause"]
    assert one["limit"] == {
        "cgroup": seen.paths["high"],
        "file": "memory.high",
        "value": str(16 * MIB),
    }


@pytest.mark.guest("v2")
@pytest.mark.last(of_all=True)
def test_healthy(seen: Seen) -> None:
    """A healthy container beside all these is not mentioned."""
    assert seen.of("healthy") == {}


@pytest.mark.guest("v2")
@pytest.mark.last(of_all=True)
def test_starved(ward: Ward) -> None:
    """Few shares beside a neighbour with many, on a busy node, are told with both weights."""
    poor = ward.start("poor", "--cpu-shares 2", sick.BUSY)
    ward.start("hog", "--cpu-shares 8192", sick.loops(4))
    time.sleep(2)
    document = ward.doctor()
    ward.remove("poor", "hog")
    found = about(document, poor)
    assert "starved" in found, document["findings"]
    one = found["starved"]
    assert (one["limit"]["file"], one["limit"]["value"]) == ("cpu.weight", "1")
    assert "weight of 1 against 313 of hog" in one["cause"]


@pytest.fixture(scope="module")
def disks(ward: Ward) -> Seen:
    """Containers that disks hold up, each for a reason of its own."""
    ward.guest.run("dd if=/dev/urandom of=/data/big bs=1M count=64 oflag=direct 2>/dev/null")
    patients = {
        "reads": (
            "--memory 24m --memory-swap 24m -v /data:/data",
            sick.reads("/data/big", "1M"),
        ),
        "slow": (
            "-v /data:/data --device-write-bps /dev/vdb:1mb",
            sick.writes("/data/slow", "256k", 8, "oflag=direct"),
        ),
    }
    paths = {name: ward.start(name, *what) for name, what in patients.items()}
    time.sleep(3)
    document = ward.doctor()
    ward.remove(*patients)
    return Seen(paths, document)


@pytest.mark.guest("v2")
@pytest.mark.last(of_all=True)
def test_page_cache_that_does_not_fit(disks: Seen) -> None:
    """Reading the same again and again at a limit is told, and the stalls that come of it."""
    one = disks.of("reads")["page_cache_thrash"]
    assert one["numbers"]["refault_bytes_per_second"] > MIB
    assert (one["limit"]["file"], one["limit"]["value"]) == ("memory.max", str(24 * MIB))


@pytest.mark.guest("v2")
@pytest.mark.last(of_all=True)
def test_slow_disk_by_its_own_limit(disks: Seen) -> None:
    """A container that stands still for I/O at its own limit is told so."""
    one = disks.of("slow")["io_stalled"]
    assert "its limit of 1Mi write a second is reached" in one["cause"]
    assert one["limit"]["file"] == "io.max"
    assert one["limit"]["value"].endswith(f"wbps={MIB}")


@pytest.mark.guest("v2")
@pytest.mark.last(of_all=True)
def test_slow_disk_by_a_neighbour(ward: Ward) -> None:
    """A container that waits for a disk that another keeps busy is told who that is."""
    ward.guest.run("dd if=/dev/urandom of=/data/small bs=1M count=4 oflag=direct 2>/dev/null")
    path = ward.start(
        "waits",
        "-v /data:/data",
        sick.reads("/data/small", "4k", "iflag=direct"),
    )
    ward.start(
        "moves",
        "-v /data:/data",
        sick.writes("/data/large", "1M", 16, "oflag=direct"),
    )
    ward.guest.slow_down("scratch", 2 * MIB)
    try:
        time.sleep(3)
        document = ward.doctor()
    finally:
        ward.guest.slow_down("scratch", 0)
        ward.remove("waits", "moves")
    one = about(document, path)["io_stalled"]
    assert re.search(r": moves [0-9a-f]{12} moves \S+ a second on vdb$", one["cause"])
    assert one["limit"] is None


# -- under a kubelet -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def node(guests: Guests) -> Guest:
    """A node with a pod of two containers, one of which has no limits."""
    guest = guests.get("kubelet")
    guest.run(
        "cat >/lab/mixed.yaml && mv /lab/mixed.yaml /etc/kubernetes/manifests/",
        stdin=manifest("mixed", container_image.NAME).encode(),
    )
    count = len(running("mixed"))
    guest.run(
        f"for _ in $(seq 40); do sleep 5; "
        f"[ $(crictl ps -q --label io.kubernetes.pod.name=mixed-lab | wc -l) = {count} ] "
        f"&& exit; done; crictl ps -a; exit 1",
        timeout=400,
    )
    return guest


def _cgroup(node: Guest, container: str) -> str:
    labels = (
        f"--label io.kubernetes.pod.name=mixed-lab --label io.kubernetes.container.name={container}"
    )
    scope = f"cri-containerd-$(crictl ps -q {labels}).scope"
    return node.run(f"cd /sys/fs/cgroup && find kubepods.slice -name {scope}")


@pytest.mark.guest("kubelet")
@pytest.mark.last(of_all=True)
def test_class_lower_than_meant(node: Guest) -> None:
    """Who makes a pod Burstable, in which another container asks for Guaranteed, is named."""
    document = node.json(f"cgexporter doctor --format json --interval 1s {_KUBELET}")
    main = _cgroup(node, "main")
    kinds = {one["kind"] for one in document["findings"]}
    assert "not_as_declared" not in kinds
    (one,) = (each for each in document["findings"] if each["kind"] == "qos_lower")
    assert one["cgroup"] == f"/{main.rpartition('/')[0]}"
    assert one["container"].startswith("more")
    assert one["pod"] == "default/mixed-lab"


@pytest.mark.guest("kubelet")
@pytest.mark.last(of_all=True)
def test_not_as_declared(node: Guest) -> None:
    """Limits that somebody changed are told, with what the manifest says and what acts."""
    main = _cgroup(node, "main")
    node.run(
        f"cd /sys/fs/cgroup/{main} && echo 20000 100000 >cpu.max && echo {64 * MIB} >memory.max "
        "&& echo 7 >cpu.weight"
    )
    document = node.json(f"cgexporter doctor --format json --interval 1s {_KUBELET}")
    wrong = [one for one in document["findings"] if one["kind"] == "not_as_declared"]
    assert {one["cgroup"] for one in wrong} == {f"/{main}"}
    said = {one["limit"]["file"]: (one["limit"]["value"], one["cause"]) for one in wrong}
    assert said["cpu.max"][0] == "20000 100000"
    assert "0.2 CPUs, not 0.04 CPUs" in said["cpu.max"][1]
    assert said["memory.max"][0] == str(64 * MIB)
    assert "64Mi, not 48Mi" in said["memory.max"][1]
    assert said["cpu.weight"][0] == "7"
    assert json.dumps(sorted(said)) == '["cpu.max", "cpu.weight", "memory.max"]'
