"""The systemd unit on a host with containers, installed and driven as docs/INSTALL.md says."""

import re
import shlex
import time
from pathlib import Path

import pytest

from tests.integration.seen import CONTAINER, Sample, samples
from tests.integration.web.test_units import EXPOSURE
from tests.lab import workloads
from tests.lab.conftest import Guests
from tests.lab.machine import Guest, GuestError

pytestmark = [pytest.mark.guest("v2"), pytest.mark.last]

_UNIT = "cgexporter.service"
_SETTINGS = "/etc/cgexporter/cgexporter.yml"
_PATIENCE_SECONDS = 90
# In the guest by one curl that sleeps meanwhile: to start one anew each time would take more of the
# guest's CPU than what is waited for.
_AGAIN = ("--retry-all-errors", "--retry-delay", "1", "--retry", f"{_PATIENCE_SECONDS}")


class Unit:
    """The unit in a guest."""

    def __init__(self, guest: Guest, repository: Path) -> None:
        self.guest = guest
        self._document = (repository / "docs/INSTALL.md").read_text()

    def walk(self, name: str) -> str:
        """Run a block of docs/INSTALL.md from a copy of the checkout."""
        blocks = dict(
            re.findall(r"<!-- walk: (\w+) -->\n```sh\n(.*?)```", self._document, re.DOTALL)
        )
        return self.guest.run(f"cd /lab/checkout\nset -e\n{blocks[name]}")

    def show(self, *names: str) -> list[str]:
        """Properties, as systemd knows them."""
        said = self.guest.run(f"systemctl show {_UNIT} --property {','.join(names)}")
        # In an order of its own.
        known = dict(line.split("=", 1) for line in said.splitlines())
        return [known[name] for name in names]

    def page(self) -> list[Sample]:
        """What it serves, once it does: names are told from the second scan on."""
        self.ask("/metrics")
        return samples(self.ask("/metrics"))

    def ask(self, path: str) -> str:
        """One GET, again until there is an answer."""
        try:
            return self.guest.run(f"curl -sSf {shlex.join(_AGAIN)} http://127.0.0.1:9753{path}")
        except GuestError:
            raise GuestError(self.log()) from None

    def log(self) -> str:
        """What it has logged."""
        return self.guest.run(f"journalctl -q -o cat -u {_UNIT}")


@pytest.fixture(scope="module")
def unit(repository: Path, guests: Guests) -> Unit:
    """A host with containers on which the unit is enabled and runs."""
    guests.stop()  # what others did there is not to matter
    guest = guests.get("v2")
    guest.put([repository / "packaging"], "/lab/checkout")
    made = Unit(guest, repository)
    assert made.walk("unit") == f"{_SETTINGS}: ok"
    made.walk("enable")
    return made


def test_it_serves(unit: Unit) -> None:
    """Enabled, it serves every container, as a user of its own without rights."""
    page = unit.page()
    infos = {s.labels.get("container_id") for s in page if s.name == f"{CONTAINER}info"}
    # Of ctr's, whose IDs are chosen, the path alone does not tell the runtime.
    assert {
        f"{each.workload.runtime}://{each.id}"
        for each in workloads.find(unit.guest).values()
        if each.workload.runtime != "containerd"
    } <= infos
    assert not {"d-cpu", "p-cpu"} & {s.labels.get("container") for s in page}, "no rights, no names"
    assert [s.value for s in page if s.name == "cgexporter_scan_success"] == [1]
    pid, state = unit.show("MainPID", "UnitFileState")
    assert state == "enabled"
    status = unit.guest.run(f"cat /proc/{pid}/status")
    for line in ("CapEff:\t0+", "CapBnd:\t0+", "NoNewPrivs:\t1", "Seccomp:\t2"):
        assert re.search(f"^{line}$", status, re.MULTILINE), status
    assert not re.search(r"^Uid:.*\b0\b", status, re.MULTILINE)
    assert "Traceback" not in unit.log()


def test_exposure(unit: Unit) -> None:
    """The running service is as closed as the documents say."""
    said = unit.guest.run(f"systemd-analyze security --no-pager {_UNIT} || true")
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", said)
    assert found, said
    assert float(found[1]) <= EXPOSURE[_UNIT]


def test_restarts(unit: Unit) -> None:
    """Killed, it is back; with settings that are not understood it stays down and says why."""
    unit.ask("/-/ready")
    (before,) = unit.show("MainPID")
    unit.guest.run(f"systemctl kill --signal KILL {_UNIT}")
    unit.ask("/-/ready")
    after, count = unit.show("MainPID", "NRestarts")
    assert (after != before, count) == (True, "1")
    unit.guest.run(f"cp {_SETTINGS} /lab/good.yml; echo web.listen: x >>{_SETTINGS}")
    try:
        unit.guest.run(
            f"systemctl restart {_UNIT}; for _ in $(seq 100); do "
            f"systemctl is-failed -q {_UNIT} && exit; sleep 0.5; done; exit 1"
        )
        time.sleep(6)  # RestartSec= has passed
        assert unit.show("ActiveState", "ExecMainStatus", "NRestarts") == ["failed", "2", "0"]
        assert f"{_SETTINGS}:2: " in unit.log()
    finally:
        unit.guest.run(f"cp /lab/good.yml {_SETTINGS}; systemctl reset-failed {_UNIT}")
    unit.guest.run(f"systemctl start {_UNIT}")
    unit.ask("/-/ready")


def test_names_for_root(unit: Unit) -> None:
    """With the documented drop-in it is uid 0, still without capabilities, and knows names.

    Not those of rootless containers, whose state is in a home that root without capabilities may
    not enter and the unit does not see.
    """
    named: set[str] = set()
    (drop_in,) = re.findall(r"```ini\n(# systemctl edit.*?)```", unit._document, re.DOTALL)
    folder = f"/etc/systemd/system/{_UNIT}.d"
    unit.guest.run(f"mkdir {folder}; cat >{folder}/override.conf", stdin=drop_in.encode())
    try:
        unit.guest.run(f"systemctl daemon-reload; systemctl restart {_UNIT}")
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not {"d-cpu", "p-cpu"} <= named and time.monotonic() < deadline:
            named = {s.labels["container"] for s in unit.page() if "container" in s.labels}
        status = unit.guest.run(f"cat /proc/{unit.show('MainPID')[0]}/status")
    finally:
        unit.guest.run(f"rm -r {folder}; systemctl daemon-reload")
    assert {"d-cpu", "p-cpu"} <= named
    assert "r-less" not in named
    assert re.search(r"^Uid:\t0\t", status, re.MULTILINE)
    assert re.search(r"^CapBnd:\t0+$", status, re.MULTILINE)


def test_stop_and_boot(unit: Unit) -> None:
    """Stopped, it ends well and leaves nothing running; what boots the host starts it again."""
    unit.ask("/-/ready")
    unit.guest.run(f"systemctl stop {_UNIT}")
    assert unit.show("ActiveState", "Result", "ExecMainStatus") == ["inactive", "success", "0"]
    assert unit.guest.run(f"ls -d /sys/fs/cgroup/system.slice/{_UNIT} || true") == ""
    unit.guest.run("systemctl start multi-user.target")
    unit.ask("/-/ready")
    unit.walk("remove")
    # But for the link to the disk on which a guest of the laboratory has it.
    left = unit.guest.run(
        "systemctl list-units --all --no-legend 'cgexporter*'; "
        "find /etc /run /var -xdev -name '*cgexporter*' -not -path '/run/udev/links/*'"
    )
    assert left == ""
