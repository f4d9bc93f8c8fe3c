"""What does not happen by itself, made to happen on a host with cgroup v2."""

import json
import re
from collections.abc import Iterator

import pytest

from tests.integration.seen import CONTAINER, samples
from tests.lab import exporter, workloads
from tests.lab.conftest import Guests
from tests.lab.machine import Guest

pytestmark = [pytest.mark.guest("v2"), pytest.mark.last]

_KILLS = 12
_SLICE = "victims.slice"
# By crun alone, for each program of an engine takes seconds in a guest; and the shell itself writes
# their settings.
_BUNDLE = f"""
set -e
mkdir -p /lab/bundle/rootfs/bin /lab/bundle/rootfs/proc /lab/bundle/rootfs/dev
cp /bin/busybox /lab/bundle/rootfs/bin/tail
cd /lab/bundle
crun spec
template=$(jq '.process.terminal = false | .process.args = ["/bin/tail", "/dev/zero"]
  | .linux.resources.memory.limit = 16777216 | .linux.cgroupsPath = "{_SLICE}:crun:VICTIM"
  ' config.json)
for n in $(seq {_KILLS}); do echo "${{template/VICTIM/victim-$n}}" >victim-$n.json; done
"""
_VICTIM = (
    "crun --systemd-cgroup run --bundle /lab/bundle --config /lab/bundle/victim-$n.json victim-$n "
    ">/dev/null 2>&1"
)
_REMAPPED = "docker -H unix:///run/remapped.sock"
# A dockerd of its own, whose root in containers is 200000 outside: /etc/subuid, user dockremap.
_REMAP = (
    "systemd-run -q --unit remapped dockerd --userns-remap default -H unix:///run/remapped.sock "
    "--data-root /var/lib/remapped --exec-root /run/remapped -p /run/remapped.pid "
    "--containerd /run/containerd/containerd.sock --containerd-namespace remapped "
    "--containerd-plugins-namespace remapped-plugins --bridge none --iptables=false"
)
_REMAPPED_UID = 200_000


@pytest.fixture(scope="module")
def guest(guests: Guests) -> Iterator[Guest]:
    """A host with cgroup v2 and its containers, of which a service with all rights tells."""
    made = guests.get("v2")
    with exporter.served(made, "--collector.transport"):
        exporter.named_page(made)
        yield made


def test_kills_between_scrapes(guest: Guest) -> None:
    """Containers that are OOM-killed and removed between two scrapes are all counted."""
    parent = f"/{_SLICE}"
    # It holds the slice, which systemd would remove with its last container.
    guest.run(f"systemd-run -q --slice {_SLICE} --unit holder sleep 100000")
    guest.run(_BUNDLE)

    def counted(text: str) -> float:
        (sample,) = (
            s
            for s in samples(text)
            if s.name == "cgexporter_slice_oom_kills_total" and s.labels["cgroup"] == parent
        )
        return sample.value

    before = exporter.page(guest)
    guest.run(f"for n in $(seq {_KILLS}); do {_VICTIM}; done; true", timeout=600)
    after = exporter.page(guest)
    events = guest.run(f"cat /sys/fs/cgroup{parent}/memory.events")
    killed = int(re.search(r"^oom_kill (\d+)$", events, re.MULTILINE)[1])  # type: ignore[index]
    assert killed >= _KILLS
    assert counted(after) - counted(before) == killed
    pids = {s.labels["cgroup"] for s in samples(after) if s.name == f"{CONTAINER}info"}
    assert not any(path.startswith(parent) for path in pids)


def test_lost_segments(guest: Guest) -> None:
    """Segments that a container sends again, for `tc netem` loses some, are counted on it."""
    web = workloads.find(guest)["d-web"]
    inside = f"nsenter -t {web.pid} -n"
    address = guest.run(f"cat {workloads.WEB_ADDRESS}")
    guest.run("docker exec d-web sh -c 'head -c 200000 /dev/zero >/tmp/large'")
    # In small pieces: of what is sent in lumps few would be lost, and long waited for.
    guest.run(f"{inside} ethtool -K eth0 tso off gso off >/dev/null")
    guest.run(f"modprobe sch_netem && {inside} tc qdisc add dev eth0 root netem loss 10%")

    def sent_again() -> float:
        (value,) = (
            s.value
            for s in samples(exporter.page(guest))
            if s.name == f"{CONTAINER}network_tcp_retransmitted_segments_total"
            and s.labels["id"] == web.id[:12]
        )
        return value

    kernels = f"{inside} awk '/^Tcp:/ {{ n = $13 }} END {{ print n }}' /proc/net/snmp"
    # How many pieces it is sent in is TCP's to choose, and none of few may be lost.
    fetch = f"curl -sS -m 200 -o /dev/null http://{address}:8080/large"
    try:
        before, start = sent_again(), int(guest.run(kernels))
        guest.run(f"for n in $(seq 50); do {fetch}; [ $({kernels}) -gt {start} ] && break; done")
    finally:
        guest.run(f"{inside} tc qdisc del dev eth0 root")
    low = int(guest.run(kernels))
    after = sent_again()
    high = int(guest.run(kernels))
    assert before < after
    assert low <= after <= high


def test_remapped_users(guest: Guest) -> None:
    """A container of a dockerd with --userns-remap shows whose root it is, and its namespaces."""
    guest.run(_REMAP)
    guest.run(
        "curl -sS --retry 120 --retry-delay 1 --retry-all-errors "
        f"--unix-socket /run/remapped.sock http://docker/_ping >/dev/null && "
        f"{_REMAPPED} load -qi /lab/lab.tar && "
        f"{_REMAPPED} run -d --network none --name remapped lab:1 sleep 1000000"
    )
    try:
        inspect = f"{_REMAPPED} inspect -f '{{{{.Id}}}} {{{{.State.Pid}}}}' remapped"
        identity, pid = guest.run(inspect).split()
        lines = samples(exporter.page(guest))
        uids = {s.labels["id"]: s.value for s in lines if s.name == f"{CONTAINER}root_uid"}
        assert uids[identity[:12]] == _REMAPPED_UID
        other = workloads.find(guest)["d-web"]
        assert uids[other.id[:12]] == 0
        inventory = guest.json("cgexporter namespaces --format json")
        (member,) = (each for each in inventory["containers"] if identity in each.get("cgroup", ""))
        inodes = dict(
            line.split()
            for line in guest.run(
                f"for k in user net pid mnt uts ipc; do "
                f"echo $k $(stat -Lc %i /proc/{pid}/ns/$k); done"
            ).splitlines()
        )
        for kind, inode in inodes.items():
            assert member["namespaces"][kind]["inode"] == int(inode), json.dumps(member)
            assert not member["namespaces"][kind]["host"]
    finally:
        guest.run(f"{_REMAPPED} rm -f remapped; systemctl stop remapped")
