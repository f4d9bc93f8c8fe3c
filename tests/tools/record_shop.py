"""Makes tests/data/shop.tar.xz: a recording of six containers, for screens and tests.

    unshare --pid --fork --mount-proc --net --uts -- \
        python3 -m tests.tools.record_shop tests/data/shop.tar.xz

As root, with runc and busybox. What else is on the host is left out of the recording: other
cgroups below the root and processes outside of the containers but PID 1, which is this one.
"""

import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from pathlib import Path

from cgexporter.exporter import Settings
from cgexporter.hierarchies import find
from cgexporter.names.settings import Identity
from cgexporter.recording import Entry, Recording, Scan
from cgexporter.recording.archive import write
from cgexporter.recording.make import record
from tests.integration.runc import Runc

_SCANS, _INTERVAL_SECONDS = 3, 2.0
_DOUBLE = "a=x; i=0; while [ $i -lt 24 ]; do a=$a$a; i=$((i+1)); done"
_HOGGING = "a=x; while :; do a=$a$a; done"
# Name, script, CPU quota in percent, memory limit in MiB, task limit.
_CONTAINERS = (
    ("api", "while :; do :; done", 5, 64, 50),
    ("batch", "while :; do dd if=/dev/zero of=/tmp/x bs=1M count=40; rm /tmp/x; done", 10, 128, 0),
    ("db", f"{_DOUBLE}; while :; do sleep 1000; done", 0, 40, 100),
    ("leak", f"while :; do sh -c '{_HOGGING}'; sleep 1; done", 30, 16, 20),
    ("sidecar", "while :; do sleep 1; done", 0, 0, 0),
    ("web", "while :; do sleep 1; done", 0, 32, 9),
)


def start(runc: Runc) -> None:
    """Start the containers; the sidecar is on web's network."""
    pids: dict[str, int] = {}
    for name, script, percent, mebibytes, tasks in sorted(_CONTAINERS, reverse=True):
        resources = {
            "cpu": {"quota": percent * 1000, "period": 100_000} if percent else {},
            "memory": {"limit": mebibytes << 20} if mebibytes else {},
            "pids": {"limit": tasks} if tasks else {},
        }
        joins = {"network": pids["web"]} if name == "sidecar" else {}
        container = runc.run(
            name, script, resources=resources, joins=joins, cgroups_path=f"/shop/{name}"
        )
        pids[name] = container.pid


def trimmed(recording: Recording, roots: Sequence[str]) -> Recording:
    """The recording without what is on the host besides.

    Args:
        recording: of the host.
        roots: where its hierarchies are mounted.
    """

    def scan(whole: Scan) -> Scan:
        files = {}
        for path, entry in whole.files.items():
            root = next((each for each in roots if f"{path}/".startswith(f"{each}/")), "")
            below = path[len(root) + 1 :] if root else ""
            names = whole.files[root].names if root else None
            others = {each.name for each in names or () if each.is_directory} - {"shop"}
            of_root = "/" not in below and below not in others and "stat" not in entry.errors
            if of_root or below.partition("/")[0] == "shop":
                files[path] = _without_others(entry, others) if path == root else entry
        told = {key: facts for key, facts in whole.told.items() if key[0].startswith("/shop/")}
        return replace(whole, files=files, told=told, missing={})

    note = {**recording.note, "containers": f"{len(_CONTAINERS)} of runc"}
    return replace(recording, note=note, scans=[scan(whole) for whole in recording.scans])


def _without_others(entry: Entry, others: AbstractSet[str]) -> Entry:
    names = tuple(name for name in entry.names or () if name.name not in others)
    links = 2 + sum(name.is_directory for name in names)
    status = entry.status and entry.status._replace(links=links)
    return entry._replace(names=names, status=status)


def leave_cgroups() -> None:
    """Go to the root of each hierarchy: where this began is nobody's business."""
    for file in Path("/sys/fs/cgroup").glob("*/cgroup.procs"):
        file.write_text("0")


def main() -> None:
    """Start, record, trim, write."""
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    runc, busybox = shutil.which("runc"), shutil.which("busybox")
    if runc is None or busybox is None:
        raise SystemExit("runc or busybox is missing: python3 dev.py tools")
    roots = [tree.mount_point for tree in find("/sys/fs/cgroup", "/proc").all]
    leave_cgroups()
    with tempfile.TemporaryDirectory() as directory:
        maker = Runc(runc, busybox, Path(directory))
        maker.unique = "shop"
        try:
            start(maker)
            time.sleep(4)
            states = [("runc", f"{directory}/state")]
            settings = Settings(identity=Identity(logs=False, state_roots=states))
            recording, _ = record(settings, _SCANS, lambda: time.sleep(_INTERVAL_SECONDS))
        finally:
            maker.close()
    with open(sys.argv[1], "wb") as file:
        write(trimmed(recording, roots), file)


if __name__ == "__main__":
    main()
