"""Hosts of each kind: every container is found, with the limits that were asked for.

Containers are frozen for the comparison of counters, so that what the kernel counts stands still
and must be equal to the last digit.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cgexporter.metrics import METRICS
from tests.integration.reading import Numbers
from tests.integration.seen import CONTAINER, Sample, samples
from tests.lab import beside, exporter, privileges, workloads
from tests.lab.conftest import Guests
from tests.lab.machine import HIERARCHIES, Guest
from tests.lab.record import record, shown_here, shown_there
from tests.lab.states import SCRIPTS
from tests.lab.workloads import SERVICES, Started

# Collectors that are off by default and whose files the independent reading reads.
_MORE = tuple(
    f"--collector.{name}"
    for name in (
        *("io_limits", "cpu_policy", "cpuset_requested", "memory_protection", "pids_peak"),
        *("memory_events_local", "memory_kernel", "memory_failures", "memory_swap", "cgroup"),
    )
)
_NOBODY = "setpriv --reuid=65534 --regid=65534 --clear-groups --bounding-set=-all --inh-caps=-all"
# What is no number of a cgroup.
_NO_NUMBERS = ("interface_", "namespace_", "network_", "root_uid")
# What one that goes on has counted since it began.
_KEPT = tuple(row.name for row in METRICS if row.collector == "events")
# What no file of the cgroup alone says.
_NOT_READ = ("effective_", "io_limit_")
# crun sets Podman's limits, and so what counts them, on the cgroup below: test_limits has them.
_INNER = (
    "cpu_periods",
    "cpu_throttled_periods",
    "cpu_throttled_seconds",
    "_limit_cores",
    "_max_bytes",
    "_weight",
    "_period_seconds",
    "pids_max",
    "_high_bytes",
)
_ATTEMPTS = 10
# A frozen cgroup's memory may still be reclaimed or written back by the kernel for others.
_MUST_HAVE_MOVED = {
    "d-cpu": ("cpu_throttled_periods", "cpu_throttled_seconds", "pressure_cpu_waiting_seconds"),
    "d-oom": ("memory_events_oom_kill", "memory_page_faults"),
    "d-io": ("io_read_bytes{vdb}", "io_written_bytes{vdb}", "pressure_io_waiting_seconds"),
    "p-cpu": ("cpu_throttled_periods", "pids_current"),
    "c-fs": ("cpu_throttled_periods", "cpu_usage_seconds"),
}


@dataclass(frozen=True, slots=True)
class Host:
    """A guest, what runs in it, and what was seen of it.

    Attributes:
        interface: of d-web as `ip` tells of it, before and after the page was made.
        pod: Podman's, as it tells of it.
    """

    guest: Guest
    started: Mapping[str, Started]
    page: list[Sample]
    interface: tuple[Any, Any]
    pod: Any

    @property
    def by_id(self) -> dict[str, Started]:
        """Containers by their `id` label."""
        found = {}
        for each in self.started.values():
            (info,) = self.infos(each)
            found[info["id"]] = each
        return found

    def infos(self, container: Started) -> list[Mapping[str, str]]:
        """Labels of the info samples of one container, of which there shall be one."""
        full = f"{container.workload.runtime}://{container.id}"
        named = [s.labels for s in self.page if s.name == f"{CONTAINER}info"]
        return [labels for labels in named if labels["container_id"] == full]


@pytest.fixture(scope="module", params=list(HIERARCHIES))
def host(request: pytest.FixtureRequest, guests: Guests) -> Iterator[Host]:
    """A host of one kind, with all its containers, seen as root by a service that goes on."""
    guest = guests.get(request.param)
    started = workloads.find(guest)
    link = f"nsenter -t {started['d-web'].pid} -n ip -json -statistics link show eth0"
    with exporter.served(guest, *_MORE):
        (before,) = guest.json(link)
        page = exporter.named_page(guest)
        (after,) = guest.json(link)
        pod = guest.json(f"cat {workloads.POD}")
        yield Host(guest, started, page, (before, after), pod)


def _numbers(
    lines: list[Sample], label: str, others: tuple[str, ...] = _NO_NUMBERS
) -> dict[str, Numbers]:
    """Numbers of each container or cgroup, by its `id` or `cgroup` label, without some."""
    prefix = CONTAINER if label == "id" else "cgexporter_cgroup_"
    found: dict[str, Numbers] = {}
    for name, labels, value in lines:
        key = name.removeprefix(prefix).removesuffix("_total")
        if name.startswith(prefix) and not (key.startswith(others) or key.endswith("info")):
            for name_of in ("device", "interface"):
                key += f"{{{labels[name_of]}}}" if name_of in labels else ""
            numbers = found.setdefault(labels[label], {})
            assert key not in numbers, "no series appears twice"
            numbers[key] = value
    return found


def test_the_kind_of_host(host: Host) -> None:
    """It is recognised."""
    (info,) = (s.labels for s in host.page if s.name == "cgexporter_host_info")
    kinds = {"v2": "unified", "hybrid": "hybrid", "v1": "legacy"}
    assert info["cgroup_mode"] == kinds[host.guest.hierarchy]


def test_each_container_once(host: Host) -> None:
    """Every container is there, once, with its runtime, ID and name, and nothing else is."""
    for container in host.started.values():
        infos = host.infos(container)
        assert len(infos) == 1, container.workload.name
        assert infos[0]["runtime"] == container.workload.runtime
        assert infos[0]["container"] == container.workload.name
        if container.workload.client != "containerd":  # ctr leaves no file that says it
            assert infos[0]["image"].endswith("lab:1")
    others = {s.labels["id"] for s in host.page if s.name == f"{CONTAINER}info"} - {*host.by_id}
    assert others == {host.pod["InfraContainerID"][:12]}


def test_pod_of_podman(host: Host) -> None:
    """A container in a pod of Podman has the pod's ID."""
    pod = host.pod["Id"]
    (info,) = host.infos(host.started["p-pod"])
    assert info["pod_uid"] == pod
    assert pod in {s.labels.get("uid") for s in host.page if s.name == "cgexporter_pod_info"}


@pytest.mark.parametrize("name", [each.name for each in workloads.WORKLOADS])
def test_limits(host: Host, name: str) -> None:
    """Every enforced limit is what was asked for, and what was not asked for is no limit.

    Where users are not delegated cgroups, no container of theirs has one.
    """
    (workload,) = (each for each in workloads.WORKLOADS if each.name == name)
    if host.guest.hierarchy not in workload.on:
        assert name not in host.started
        assert name not in {s.labels.get("container") for s in host.page}
        return
    container = host.started[name]
    numbers = _numbers(host.page, "id")
    (info,) = host.infos(container)
    ours, asked = numbers[info["id"]], container.workload.limits
    for limit, value in asked.items():
        assert ours[limit] == value, limit
    for limit in ("cpu_limit_cores", "memory_max_bytes"):
        assert limit in asked or ours[limit] == math.inf, limit
    for limit in (key for key in ours if key.startswith("io_limit_")):
        assert limit in asked or ours[limit] == math.inf, limit


def test_limits_of_services(host: Host) -> None:
    """A service's limits are those of its unit."""
    numbers = _numbers(host.page, "cgroup")
    for service in SERVICES:
        for limit, value in service.limits.items():
            assert numbers[service.cgroup][limit] == value, (service.name, limit)


def test_one_cpu(host: Host) -> None:
    """A container that may use one CPU has one to use, and its cpuset is why."""
    (info,) = host.infos(host.started["d-set"])
    (limits,) = (
        s.labels
        for s in host.page
        if s.name == f"{CONTAINER}limits_info" and s.labels["id"] == info["id"]
    )
    assert limits["cpu"] == "cpuset"


def test_namespaces(host: Host) -> None:
    """Who shares the host's network or another's PID namespace is told."""
    shared = {
        (s.labels["id"], s.labels["kind"]): s.labels["with"]
        for s in host.page
        if s.name == f"{CONTAINER}namespace_shared"
    }
    ids = {each.workload.name: key for key, each in host.by_id.items()}
    for name in ("d-net", "p-net"):
        assert shared[ids[name], "net"] == "host"
    assert shared[ids["d-pid"], "pid"] == "container"
    assert shared[ids["p-pod"], "net"] == "pod"
    assert (ids["d-web"], "net") not in shared


def test_bridges(host: Host) -> None:
    """A container on a bridge shows its host-side interface, as the host's own list has it."""
    links = host.guest.json("ip -json -details link show type veth")
    masters = {link["ifname"]: link.get("master") for link in links}
    found = [s.labels for s in host.page if s.name == f"{CONTAINER}interface_info"]
    assert {labels["bridge"] for labels in found} == {"docker0", "cni-podman0"}
    assert len(found) > 5
    for labels in found:
        assert masters[labels["host_interface"]] == labels["bridge"]


def test_traffic(host: Host) -> None:
    """What a container sends is counted as its own interface counts it."""
    key = {each.workload.name: key for key, each in host.by_id.items()}["d-web"]
    ours = {
        s.name.removeprefix(f"{CONTAINER}network_"): s.value
        for s in host.page
        if s.name.startswith(f"{CONTAINER}network_") and s.labels["id"] == key
    }
    for direction, name in (("rx", "receive"), ("tx", "transmit")):
        for unit in ("bytes", "packets"):
            low, high = (each["stats64"][direction][unit] for each in host.interface)
            assert 0 < low <= ours[f"{name}_{unit}_total"] <= high


def test_recording_elsewhere(host: Host, tmp_path: Path) -> None:
    """A recording shows here, to the byte, what it shows there: every container, once."""
    recording = record(host.guest, host.guest.hierarchy, tmp_path)
    here = shown_here(recording)
    assert here == shown_there(host.guest, recording)
    seen = json.loads(here)["containers"]
    assert {each["id"] for each in seen} >= host.by_id.keys()
    assert len(seen) == len({each["id"] for each in seen})


@pytest.mark.guest("v2")
def test_what_each_privilege_adds(
    request: pytest.FixtureRequest, guests: Guests, repository: Path
) -> None:
    """docs/PRIVILEGES.md is what each privilege shows; none hides a number of a cgroup."""
    privileges.check(request, guests.get("v2"), "v2", repository)


@dataclass(frozen=True, slots=True)
class Look:
    """What the kernel, the engines and we say of frozen containers, looked at in this order.

    Attributes:
        before: the kernel's numbers by PID.
        said: by name of container and by tool.
        ours: a page of root's.
        after: the kernel's numbers again.
    """

    before: Mapping[int, Numbers]
    said: Mapping[str, Mapping[str, Any]]
    ours: list[Sample]
    after: Mapping[int, Numbers]


class Frozen:
    """A host with all containers frozen, and one look after the other, which tests share.

    The first is mostly enough, but the kernel may still write back or reclaim for others.
    """

    def __init__(self, host: Host) -> None:
        self.host = host
        self._looks: list[Look] = []
        self._pids = " ".join(str(each.pid) for each in host.started.values())
        host.guest.put([SCRIPTS / "readings.py"], "/lab")

    def freeze(self, *, wanted: bool) -> None:
        """Let all stand still, or go on."""
        action = "freeze" if wanted else "thaw"
        self.host.guest.run(f"python3 /lab/readings.py {action} {self._pids}")

    def last(self) -> Look:
        """The last that there was."""
        return self._looks[-1] if self._looks else next(self.looks())

    def looks(self) -> Iterator[Look]:
        """Those that others had, and then new ones."""
        for number in range(_ATTEMPTS):
            if number == len(self._looks):
                self._looks.append(self._look())
            yield self._looks[number]

    def _look(self) -> Look:
        guest = self.host.guest
        engines = {
            each.workload.name: each.workload.client
            for each in self.host.started.values()
            if each.workload.client in ("docker", "podman")
        }
        before = self._read()
        said = beside.ask(guest, engines)
        ours = samples(exporter.page(guest))
        return Look(before, said, ours, self._read())

    def _read(self) -> dict[int, Numbers]:
        found = self.host.guest.json(f"python3 /lab/readings.py read {self._pids}")
        return {int(pid): numbers for pid, numbers in found.items()}


@pytest.fixture(scope="module")
def frozen(host: Host) -> Iterator[Frozen]:
    """The same host with all containers frozen."""
    made = Frozen(host)
    made.freeze(wanted=True)
    yield made
    made.freeze(wanted=False)


@pytest.fixture(scope="module")
def nobodys(frozen: Frozen) -> list[Sample]:
    """What uid 65534 without a capability sees of it."""
    text = exporter.once(frozen.host.guest, "--format", "prom", *_MORE, prefix=_NOBODY)
    return samples(text)


def test_counters_are_the_kernels(frozen: Frozen) -> None:
    """All that is published of a container is what the kernel's files say.

    Throttling, OOM kills, I/O, pressure and pids have all moved, so that nothing is equal for
    being 0.
    """
    left = {each.pid: each for each in frozen.host.started.values()}
    keys = {each.pid: key for key, each in frozen.host.by_id.items()}
    differences: dict[str, object] = {}
    for look in frozen.looks():
        ours = _numbers(look.ours, "id")
        for pid in [pid for pid in left if look.before[pid] == look.after[pid]]:
            kernel = look.before[pid]
            mine = {
                name: value
                for name, value in ours[keys[pid]].items()
                if not name.startswith(_NOT_READ)
            }
            compared = kernel.keys() & mine.keys()
            if left[pid].workload.runtime == "podman":
                compared = {name for name in compared if not name.endswith(_INNER)}
            assert len(compared) > 25
            unequal = {n: (kernel[n], mine[n]) for n in compared if kernel[n] != mine[n]}
            name = left[pid].workload.name
            if unequal:
                differences[name] = unequal
                continue
            for moved in _MUST_HAVE_MOVED.get(name, ()):
                assert mine.get(moved, 1.0 if "pressure" in moved else 0.0) > 0, (name, moved)
            differences.pop(name, None)
            del left[pid]
        if not left:
            return
    pytest.fail(f"{[each.workload.name for each in left.values()]} differ or move: {differences}")


def test_engines_say_the_same(frozen: Frozen) -> None:
    """`docker stats`, `docker inspect` and `podman stats` give our numbers, and we theirs."""
    keys = {each.workload.name: key for key, each in frozen.host.by_id.items()}
    unequal: list[str] = []
    for look in frozen.looks():
        numbers = _numbers(look.ours, "id", ("interface_", "namespace_", "root_uid"))
        ours = {name: numbers[keys[name]] for name in look.said}
        equal, unequal = beside.differences(look.said, ours, frozen.host.guest.hierarchy)
        if not unequal:
            assert equal > 60
            return
    pytest.fail("\n".join(unequal))


def test_networks_without_privilege(host: Host, nobodys: list[Sample]) -> None:
    """Uid 65534 tells the host's network from others, and counts those."""
    ids = {each.workload.name: key for key, each in host.by_id.items()}
    shared = {
        s.labels["id"]
        for s in nobodys
        if s.name == f"{CONTAINER}namespace_shared"
        and s.labels["kind"] == "net"
        and s.labels["with"] == "host"
    }
    assert {ids["d-net"], ids["p-net"]} <= shared
    counted = {s.labels["id"] for s in nobodys if s.name.startswith(f"{CONTAINER}network_receive")}
    assert ids["d-web"] in counted
    assert ids["d-net"] not in counted


def test_nobody_sees_every_cgroup_metric(frozen: Frozen, nobodys: list[Sample]) -> None:
    """Uid 65534 without a capability is served each cgroup metric that root is, with its value."""

    def keys(lines: list[Sample]) -> set[tuple[str, ...]]:
        found = set()
        for name, labels, _ in lines:
            level = name.split("_")[1]
            rest = name.removeprefix(f"cgexporter_{level}_")
            if level in ("container", "pod", "cgroup") and not (
                rest.startswith((*_NO_NUMBERS, *_KEPT)) or rest.endswith("_info")
            ):
                key = [labels[k] for k in ("id", "uid", "cgroup", "device") if k in labels]
                # Sessions of those who look come and go.
                if "session-" not in key[0]:
                    found.add((name, *key))
        return found

    mine = keys(frozen.last().ours)
    assert keys(nobodys) == mine
    assert len({key[0] for key in mine}) > 100
