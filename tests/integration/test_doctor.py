"""`cgexporter doctor` on real sick containers: the right one, cause and limit; else silence."""

import http.server
import json
import os
import secrets
import subprocess
import sys
import threading
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration.reading import cgroup_paths, directories
from tests.integration.runc import Container, Runc, block_device
from tests.integration.support import eventually, missing
from tests.tools import sick

MIB = 2**20
_KILLED = "while :; do dd if=/dev/zero of=/dev/null bs=64M count=1 2>/dev/null; sleep 0.3; done"
_HEALTHY = sick.healthy(100)


def doctor(*flags: str, interval: float = 4) -> dict[str, Any]:
    """What the command finds, as JSON."""
    words = ["doctor", "--format=json", f"--interval={interval}", *flags]
    done = subprocess.run(
        [sys.executable, "-m", "cgexporter", *words],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def about(document: dict[str, Any], container: Container) -> dict[str, Any]:
    """Findings about one container, by kind."""
    paths = cgroup_paths(container.pid)
    return {one["kind"]: one for one in document["findings"] if one["cgroup"] in paths}


@dataclass(frozen=True, slots=True)
class Ward:
    """Sick containers, a healthy one, and what the doctor says of all of them."""

    document: dict[str, Any]
    found: dict[str, dict[str, Any]]  # by container, by kind

    def only(self, label: str, kind: str) -> dict[str, Any]:
        """The one finding about one container."""
        found = self.found[label]
        assert kind in found, (found, self.document["not_looked_for"])
        one: dict[str, Any] = found[kind]
        assert one["evidence"]
        assert one["change"]
        return one


@pytest.fixture(scope="module")
def ward(runc: Runc) -> Ward:
    """All of them at once."""
    memory = {"limit": 32 * MIB, "swap": 32 * MIB}
    patients: dict[str, Container] = {}

    def start(label: str, script: str, resources: dict[str, Any], **options: Any) -> None:
        path = f"/{runc.unique}/{label}"
        patients[label] = runc.run(label, script, resources=resources, cgroups_path=path, **options)

    start("throttled", sick.BUSY, {"cpu": {"quota": 5_000, "period": 100_000}})
    start("bursts", sick.bursts(12_000, 3), {"cpu": {"quota": 5_000, "period": 100_000}})
    start("full", sick.filled(30), {"memory": memory})
    start("killed", _KILLED, {"memory": {"limit": 16 * MIB, "swap": 16 * MIB}})
    start("forks", sick.FORKS, {"pids": {"limit": 12}})
    start("shares", _HEALTHY, {}, joins={"network": os.getpid(), "ipc": os.getpid()})
    start("healthy", _HEALTHY, {"cpu": {"quota": 100_000}, "memory": memory})
    eventually(lambda: _refused(patients["forks"]), "a fork that is refused")
    document = doctor(interval=6)
    found = {label: about(document, one) for label, one in patients.items()}
    for one in patients.values():  # the tests that follow want the CPUs
        runc.call("kill", one.name, "KILL")
    return Ward(document, found)


def _write(file: Path, size: int) -> None:
    """Write a file that is not in our page cache afterwards: who reads it first has it in his."""
    with file.open("wb") as output:
        output.write(os.urandom(size))
        output.flush()
        os.fsync(output.fileno())
        os.posix_fadvise(output.fileno(), 0, size, os.POSIX_FADV_DONTNEED)


def _refused(container: Container) -> bool:
    words = (directories(container.pid)["pids"] / "pids.events").read_text().split()
    return int(words[words.index("max") + 1]) > 0


def test_throttled(ward: Ward) -> None:
    """A busy loop with too small a quota is told, with its quota."""
    one = ward.only("throttled", "throttled")
    assert "CPU limit of 0.05 CPUs" in one["cause"]
    assert one["limit"]["file"] in ("cpu.cfs_quota_us", "cpu.max")
    assert one["limit"]["value"].split()[0] == "5000"
    assert one["limit"]["cgroup"] == one["cgroup"]
    assert one["numbers"]["throttled_periods_ratio"] > 0.5
    assert set(ward.found["throttled"]) == {"throttled"}


def test_bursts(ward: Ward) -> None:
    """Threads that need little CPU but at once are told apart from a quota that is too small."""
    one = ward.only("bursts", "bursts")
    assert one["numbers"]["usage_cores"] < 0.8 * 0.05
    assert any("threads" in line for line in one["evidence"])


def test_memory_near_its_limit(ward: Ward) -> None:
    """What cannot be given back fills the limit, and the limit is named."""
    one = ward.only("full", "memory_near_limit")
    assert one["harm"] == "warning"
    assert one["limit"]["value"] == str(32 * MIB)
    assert 0.9 < one["numbers"]["working_set_bytes"] / (32 * MIB) <= 1
    assert set(ward.found["full"]) == {"memory_near_limit"}


def test_page_cache_that_does_not_fit(runc: Runc, tmp_path: Path) -> None:
    """Reading the same again and again is no shortage of memory for processes."""
    _write(tmp_path / "big", 64 * MIB)
    path = f"/{runc.unique}/reads"
    resources = {"memory": {"limit": 12 * MIB, "swap": 12 * MIB}}
    binds = {"/data": tmp_path}
    reads = sick.reads("/data/big", "1M")
    # Four, with little memory: where disks are fast, one alone waits too little.
    script = f"for n in 1 2 3; do ({reads}) & done; {reads}"
    one = runc.run("reads", script, resources=resources, cgroups_path=path, binds=binds)
    try:
        found = about(doctor(), one)
        assert found["page_cache_thrash"]["numbers"]["refault_bytes_per_second"] > MIB
        assert found["page_cache_thrash"]["limit"]["value"] == str(12 * MIB)
        if Path("/proc/pressure/memory").exists():
            # Less so while others want the CPUs, for then it waits for them.
            stalled = eventually(
                lambda: about(doctor(interval=2), one).get("memory_stalled"), "memory stalls"
            )
            assert "its limit of 12Mi is reached" in stalled["cause"]
    finally:
        runc.call("kill", one.name, "KILL")


def test_killed(ward: Ward) -> None:
    """OOM kills while we look are the worst there is, and come first."""
    one = ward.only("killed", "oom_kill")
    assert one["harm"] == "critical"
    assert one["numbers"]["oom_kills_in_window"] >= 1
    assert one["limit"]["value"] == str(16 * MIB)
    assert ward.document["findings"][0]["harm"] == "critical"


def test_refused_forks(ward: Ward) -> None:
    """Refused forks are told, with the limit that refuses them."""
    one = ward.only("forks", "pids_limit")
    assert one["harm"] == "critical"
    assert one["limit"]["file"] == "pids.max"
    assert one["limit"]["value"] == "12"


def test_host_namespaces(ward: Ward) -> None:
    """Each namespace of the host is named; what is the default is not."""
    one = ward.only("shares", "host_namespaces")
    assert one["cause"].endswith("the host's ipc, net namespaces")
    assert set(ward.found["shares"]) == {"host_namespaces"}


def test_healthy(ward: Ward) -> None:
    """A healthy container beside all these is not mentioned."""
    assert ward.found["healthy"] == {}


def test_order(ward: Ward) -> None:
    """The most harmful comes first."""
    harms = [one["harm"] for one in ward.document["findings"]]
    ranks = {"critical": 0, "warning": 1, "note": 2}
    assert harms == sorted(harms, key=lambda harm: ranks[harm])


def test_an_ancestors_limit(runc: Runc) -> None:
    """A quota on the slice above is told with its path, and who runs into it."""
    path = f"/{runc.unique}-above/inner"
    container = runc.run("inner", sick.BUSY, resources={}, cgroups_path=path)
    above = directories(container.pid)["cpu"].parent
    quota = above / "cpu.cfs_quota_us"
    if not quota.exists():
        (above / "cpu.max").write_text("5000 100000")
    else:
        quota.write_text("5000")
    found = about(doctor(interval=2), container)
    assert set(found) == {"throttled"}
    assert found["throttled"]["limit"]["cgroup"] == path.rpartition("/")[0]


def test_starved(runc: Runc) -> None:
    """Few shares beside a neighbour with many, on a busy node, are told with both numbers."""
    if not Path("/proc/pressure/cpu").exists():
        missing("this kernel has no pressure stall information")
    loops = sick.loops(2 * (os.cpu_count() or 1))
    poor = runc.run(
        "poor", sick.BUSY, resources={"cpu": {"shares": 2}}, cgroups_path=f"/{runc.unique}/p"
    )
    hog = runc.run(
        "hog", loops, resources={"cpu": {"shares": 20_000}}, cgroups_path=f"/{runc.unique}/h"
    )
    try:
        one = about(doctor(), poor)["starved"]
        assert one["limit"]["value"] in ("2", "1")
        (path,) = cgroup_paths(hog.pid)
        assert f"of {path.rpartition('/')[2]}" in one["cause"]
        assert one["numbers"]["waiting_ratio"] > 0.5
    finally:
        runc.call("kill", hog.name, "KILL")
        runc.call("kill", poor.name, "KILL")


def test_slow_disk_by_its_own_limit(runc: Runc, tmp_path: Path) -> None:
    """A container that stands still for I/O at its own limit is told so."""
    device = block_device(tmp_path)
    if device is None or not Path("/proc/pressure/io").exists():
        missing("no disk of its own, or no pressure stall information")
    _write(tmp_path / "big", 32 * MIB)
    throttle = {"major": device[0], "minor": device[1], "rate": MIB}
    container = runc.run(
        "slow",
        sick.reads("/data/big", "256k", "iflag=direct"),
        resources={"blockIO": {"throttleReadBpsDevice": [throttle]}},
        cgroups_path=f"/{runc.unique}/slow",
        binds={"/data": tmp_path},
    )
    one = about(doctor(), container)["io_stalled"]
    assert "its limit of 1Mi read a second is reached" in one["cause"]
    assert one["limit"]["value"].endswith(str(MIB))


class _Pods(http.server.BaseHTTPRequestHandler):
    """A kubelet's /pods: one pod of two containers."""

    body = b""

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *words: object) -> None:
        """Say nothing."""


def _declared(name: str, identity: str, **resources: dict[str, str]) -> tuple[Any, Any]:
    """A container in a pod's specification and in its status."""
    status = {"name": name, "containerID": f"containerd://{identity}"}
    return {"name": name, "resources": resources}, status


def test_what_the_manifest_says(runc: Runc) -> None:
    """Enforced limits that differ from the manifest are told, and who lowers the pod's class."""
    uid, one, two = str(uuid.uuid4()), secrets.token_hex(32), secrets.token_hex(32)
    above = f"/kubepods/burstable/pod{uid}"
    resources = {"cpu": {"quota": 20_000, "period": 100_000, "shares": 102}}
    limits = {"memory": {"limit": 64 * MIB}}
    app = runc.run("app", _HEALTHY, resources=resources | limits, cgroups_path=f"{above}/{one}")
    side = runc.run("side", _HEALTHY, resources={}, cgroups_path=f"{above}/{two}")
    same = {"cpu": "100m", "memory": "64Mi"}
    specs, statuses = zip(
        _declared("app", one, requests=same, limits=same),
        _declared("side", two, requests={"memory": "8Mi"}),
        strict=True,
    )
    pod = {
        "metadata": {"name": "cart-0", "namespace": "shop", "uid": uid},
        "spec": {"containers": specs},
        "status": {"qosClass": "Burstable", "containerStatuses": statuses},
    }
    _Pods.body = json.dumps({"items": [pod]}).encode()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Pods) as kubelet:
        threading.Thread(target=kubelet.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{kubelet.server_port}"
        document = doctor("--identity.kubelet", url, interval=0.5)
        kubelet.shutdown()
    wrong = about(document, app)
    assert set(wrong) == {"not_as_declared"}
    assert wrong["not_as_declared"]["pod"] == "shop/cart-0"
    assert (
        "another CPU limit than its manifest says: 0.2 CPUs, not 0.1 CPUs"
        in (wrong["not_as_declared"]["cause"])
    )
    assert wrong["not_as_declared"]["limit"]["value"].split()[0] == "20000"
    assert about(document, side) == {}
    (lower,) = (one for one in document["findings"] if one["cgroup"] == above)
    assert (lower["kind"], lower["container"].split()[0]) == ("qos_lower", "side")


@pytest.mark.parametrize("harm", ["critical", "warning", "note"])
def test_exit_status(runc: Runc, harm: str) -> None:
    """With --fail-on the exit status tells scripts that something was found."""
    joins = {"network": os.getpid()}
    path = f"/{runc.unique}/status-{harm}"
    runc.run(f"status-{harm}", _HEALTHY, resources={}, cgroups_path=path, joins=joins)
    words: Sequence[str] = ["doctor", "--interval=0.2", "--format=json", f"--fail-on={harm}"]
    done = subprocess.run(
        [sys.executable, "-m", "cgexporter", *words], check=False, capture_output=True, text=True
    )
    harms = {one["harm"] for one in json.loads(done.stdout)["findings"]}
    assert "note" in harms
    ranks = ["note", "warning", "critical"]
    bad = any(ranks.index(one) >= ranks.index(harm) for one in harms)
    assert done.returncode == (3 if bad else 0)
