"""`doctor` on cgroup v2 and under a kubelet: the right container, cause and limit; else silence."""

import json
import re
import shlex
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from tests.lab import engine, patients
from tests.lab.conftest import Guests
from tests.lab.machine import Guest
from tests.lab.patients import HEALTHY
from tests.lab.pods import KUBELET, MIB, told_of
from tests.tools import sick

_KUBELET = f"--identity.kubelet {KUBELET}"


def examine(guest: Guest, interval: float = 5, flags: str = "") -> dict[str, Any]:
    """What the command finds."""
    found: dict[str, Any] = guest.json(
        f"cgexporter doctor --format json --interval {interval:g}s {flags}"
    )
    return found


def about(document: Mapping[str, Any], cgroup: str) -> dict[str, dict[str, Any]]:
    """Findings about one cgroup, by kind."""
    return {one["kind"]: one for one in document["findings"] if one["cgroup"] == cgroup}


@pytest.fixture(scope="module")
def bare(guests: Guests) -> Guest:
    """A host with cgroup v2 on which nothing runs."""
    return guests.get("bare")


@pytest.mark.guest("bare")
@pytest.mark.last(of_all=True)
def test_idle_host(bare: Guest) -> None:
    """On a host where nothing runs nothing is found."""
    document = examine(bare, 2)
    assert document["containers"] == 0
    assert document["findings"] == []


@pytest.mark.guest("bare")
@pytest.mark.last(of_all=True)
def test_healthy_host(bare: Guest) -> None:
    """Of containers that stay below their limits, and of those without any, nothing is said."""
    with engine.docker(bare) as client:
        patients.start_one(client, "quiet", "", "sleep 1000000")
        patients.start_one(client, "light", "--cpus 1 --memory 64m --pids-limit 50", HEALTHY)
        patients.start_one(
            client, "resting", "--memory 32m --memory-swap 96m --shm-size 64m", sick.filled(20)
        )
    light = f"sh -c {shlex.quote(HEALTHY)}"
    bare.run(f"podman run -d --network none --name other --memory 64m lab:1 {light}")
    time.sleep(3)
    document = examine(bare)
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
def sickbay(guests: Guests) -> Guest:
    """A host with all patients, frozen."""
    return guests.get("sick")


# Python has loaded for the command what it needs, this library as the last, and begins to look.
_LOOKS = "pid=$(pgrep -of 'cgexporter docto[r]') && grep -q /liblzma /proc/$pid/maps"


def _seen(sickbay: Guest, ward: str, interval: float = 6) -> Seen:
    """What is found while the patients of a ward run, which they do from the first look on.

    Beside those that all want a CPU it would take a guest's Python half a minute to start.
    """
    paths = patients.paths(sickbay, ward)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(examine, sickbay, interval)
        sickbay.run(f"until {_LOOKS}; do sleep 1; done")
        patients.freeze(sickbay, paths.values(), wanted=False)
        document = asked.result()
    patients.freeze(sickbay, paths.values(), wanted=True)
    return Seen(paths, document)


@pytest.fixture(scope="module")
def seen(sickbay: Guest) -> Seen:
    """Containers that are sick each by itself, and one that is not."""
    return _seen(sickbay, "each by itself", 9)


@pytest.mark.guest("sick")
@pytest.mark.last(of_all=True)
def test_throttled(seen: Seen) -> None:
    """A quota that is too small is told, with its file."""
    one = seen.of("throttled")["throttled"]
    assert one["limit"] == {
        "cgroup": seen.paths["throttled"],
        "file": "cpu.max",
        "value": "5000 100000",
    }


@pytest.mark.guest("sick")
@pytest.mark.last(of_all=True)
def test_bursts(seen: Seen) -> None:
    """Threads that need little CPU but at once are told apart from a quota that is too small."""
    assert seen.of("bursts")["bursts"]["limit"]["value"] == "5000 100000"


@pytest.mark.guest("sick")
@pytest.mark.last(of_all=True)
def test_full(seen: Seen) -> None:
    """Memory that is nearly used up is told, with its limit."""
    one = seen.of("full")["memory_near_limit"]
    assert one["harm"] == "warning"
    assert (one["limit"]["file"], one["limit"]["value"]) == ("memory.max", str(32 * MIB))


@pytest.mark.guest("sick")
@pytest.mark.last(of_all=True)
def test_killed(seen: Seen) -> None:
    """OOM kills are the worst, and come first."""
    one = seen.of("killed")["oom_kill"]
    assert one["harm"] == "critical"
    assert (one["limit"]["file"], one["limit"]["value"]) == ("memory.max", str(16 * MIB))
    assert seen.document["findings"][0]["harm"] == "critical"


@pytest.mark.guest("sick")
@pytest.mark.last(of_all=True)
def test_refused_forks(seen: Seen) -> None:
    """Refused forks are told, with the limit that refuses them."""
    one = seen.of("forks")["pids_limit"]
    assert one["harm"] == "critical"
    assert (one["limit"]["file"], one["limit"]["value"]) == ("pids.max", "12")


@pytest.mark.guest("sick")
@pytest.mark.last(of_all=True)
def test_host_namespaces(seen: Seen) -> None:
    """Each namespace of the host is named."""
    one = seen.of("shares")["host_namespaces"]
    assert one["cause"].endswith("the host's ipc, net, pid, uts namespaces")
    assert set(seen.of("shares")) == {"host_namespaces"}


@pytest.mark.guest("sick")
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


@pytest.mark.guest("sick")
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


@pytest.mark.guest("sick")
@pytest.mark.last(of_all=True)
def test_healthy(seen: Seen) -> None:
    """A healthy container beside all these is not mentioned."""
    assert seen.of("healthy") == {}


@pytest.mark.guest("sick")
@pytest.mark.last(of_all=True)
def test_starved(sickbay: Guest) -> None:
    """Few shares beside a neighbour with many, on a busy node, are told with both weights."""
    # Who waits is seen while this machine gives the guest the CPUs that it wants.
    for _ in range(3):
        one = _seen(sickbay, "starved")
        if "starved" in (found := one.of("poor")):
            break
    assert "starved" in found, one.document["findings"]
    told = found["starved"]
    assert (told["limit"]["file"], told["limit"]["value"]) == ("cpu.weight", "1")
    assert "weight of 1 against 313 of hog" in told["cause"]


@pytest.fixture(scope="module")
def disks(sickbay: Guest) -> Seen:
    """Containers that disks hold up, each for a reason of its own."""
    return _seen(sickbay, "disks")


@pytest.mark.guest("sick")
@pytest.mark.last(of_all=True)
def test_page_cache_that_does_not_fit(disks: Seen) -> None:
    """Reading the same again and again at a limit is told, and the stalls that come of it."""
    one = disks.of("reads")["page_cache_thrash"]
    assert one["numbers"]["refault_bytes_per_second"] > MIB
    assert (one["limit"]["file"], one["limit"]["value"]) == ("memory.max", str(24 * MIB))


@pytest.mark.guest("sick")
@pytest.mark.last(of_all=True)
def test_slow_disk_by_its_own_limit(disks: Seen) -> None:
    """A container that stands still for I/O at its own limit is told so."""
    one = disks.of("slow")["io_stalled"]
    assert "its limit of 1Mi write a second is reached" in one["cause"]
    assert one["limit"]["file"] == "io.max"
    assert one["limit"]["value"].endswith(f"wbps={MIB}")


@pytest.mark.guest("sick")
@pytest.mark.last(of_all=True)
def test_slow_disk_by_a_neighbour(sickbay: Guest) -> None:
    """A container that waits for a disk that another keeps busy is told who that is."""
    sickbay.slow_down("scratch", 2 * MIB)
    try:
        one = _seen(sickbay, "neighbours")
    finally:
        sickbay.slow_down("scratch", 0)
    told = one.of("waits")["io_stalled"]
    assert re.search(r": moves [0-9a-f]{12} moves \S+ a second on vdb$", told["cause"])
    assert told["limit"] is None


# -- under a kubelet -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def node(guests: Guests) -> Guest:
    """A node with a pod of two containers, one of which has no limits."""
    return guests.get("mixed-pod")


def _cgroup(node: Guest, container: str) -> str:
    (identity,) = (
        status["containerID"].removeprefix("containerd://")
        for item in told_of(node)
        for status in item["status"]["containerStatuses"]
        if (item["metadata"]["name"], status["name"]) == ("mixed-lab", container)
    )
    scope = f"cri-containerd-{identity}.scope"
    return node.run(f"cd /sys/fs/cgroup && find kubepods.slice -name {scope}")


@pytest.mark.guest("mixed-pod")
@pytest.mark.last(of_all=True)
def test_class_lower_than_meant(node: Guest) -> None:
    """Who makes a pod Burstable, in which another container asks for Guaranteed, is named."""
    document = examine(node, 1, _KUBELET)
    main = _cgroup(node, "main")
    kinds = {one["kind"] for one in document["findings"]}
    assert "not_as_declared" not in kinds
    (one,) = (each for each in document["findings"] if each["kind"] == "qos_lower")
    assert one["cgroup"] == f"/{main.rpartition('/')[0]}"
    assert one["container"].startswith("more")
    assert one["pod"] == "default/mixed-lab"


@pytest.mark.guest("mixed-pod")
@pytest.mark.last(of_all=True)
def test_not_as_declared(node: Guest) -> None:
    """Limits that somebody changed are told, with what the manifest says and what acts."""
    main = _cgroup(node, "main")
    node.run(
        f"cd /sys/fs/cgroup/{main} && echo 20000 100000 >cpu.max && echo {64 * MIB} >memory.max "
        "&& echo 7 >cpu.weight"
    )
    document = examine(node, 1, _KUBELET)
    wrong = [one for one in document["findings"] if one["kind"] == "not_as_declared"]
    assert {one["cgroup"] for one in wrong} == {f"/{main}"}
    said = {one["limit"]["file"]: (one["limit"]["value"], one["cause"]) for one in wrong}
    assert said["cpu.max"][0] == "20000 100000"
    assert "0.2 CPUs, not 0.04 CPUs" in said["cpu.max"][1]
    assert said["memory.max"][0] == str(64 * MIB)
    assert "64Mi, not 48Mi" in said["memory.max"][1]
    assert said["cpu.weight"][0] == "7"
    assert json.dumps(sorted(said)) == '["cpu.max", "cpu.weight", "memory.max"]'
