"""What each privilege adds, seen by running with each: docs/PRIVILEGES.md is printed from it.

Tests compare it in the guests that they have for other things too.
"""

import json
import re
from pathlib import Path

import pytest

from tests.contract.test_docs import compare
from tests.integration.seen import CONTAINER, samples
from tests.lab import exporter
from tests.lab.machine import Guest

_NOBODY = "setpriv --reuid=65534 --regid=65534 --clear-groups"
_NO_CAPABILITY = "--bounding-set=-all --inh-caps=-all"
_PTRACE = "--inh-caps=-all,+sys_ptrace --ambient-caps=+sys_ptrace"
# How it is run, by what docs call it.
RIGHTS = {
    "uid 65534, no capability": f"{_NOBODY} {_NO_CAPABILITY}",
    "uid 65534 with `SYS_PTRACE`": f"{_NOBODY} {_PTRACE}",
    "uid 0, no capability": f"setpriv {_NO_CAPABILITY}",
    "uid 0, all capabilities": "",
}
_HOSTS = {
    "v2": "Docker, Podman (rootless too), containerd and services on cgroup v2",
    "kubelet": "A kubelet with containerd on cgroup v2",
}
_HEAD = """\
# What each privilege adds

Printed from runs of `cgexporter --once` with each set of rights in the hosts of `tests/lab`, in the
host's own namespaces: `python3 dev.py lab --update-docs`. How to give a right, and what it risks:
[IDENTITY.md](IDENTITY.md), [NAMESPACES.md](NAMESPACES.md).
"""
_COLUMNS = (
    *("Runs as", "Containers", "with a name", "with an image", "Pods with a name"),
    *("Metric families of cgroups", "Networks counted", "On the host's network"),
    *("Bridges known", "Namespace kinds"),
)
_LEVELS = ("container", "pod", "cgroup")
_NO_NUMBERS = ("interface_", "namespace_", "network_", "root_uid", "oom_kills", "last_")


def row(guest: Guest, rights: str, prefix: str) -> list[str]:
    """What is seen with some rights."""
    lines = samples(exporter.once(guest, "--format", "prom", prefix=prefix))
    infos = [s.labels for s in lines if s.name == f"{CONTAINER}info"]
    pods = [s.labels for s in lines if s.name == "cgexporter_pod_info"]
    families = set()
    for sample in lines:
        _, level, rest = (*sample.name.split("_", 2), "", "")[:3]
        if level in _LEVELS and not rest.startswith(_NO_NUMBERS) and not rest.endswith("info"):
            families.add(sample.name)
    counted = {
        tuple(s.labels.get(key) for key in ("id", "uid"))
        for s in lines
        if s.name.endswith("_network_receive_bytes_total")
    }
    shared = {
        s.labels["id"]
        for s in lines
        if s.name == f"{CONTAINER}namespace_shared"
        and (s.labels["kind"], s.labels["with"]) == ("net", "host")
    }
    bridges = {s.labels.get("bridge", "") for s in lines if s.name.endswith("_interface_info")}
    kinds = [s.labels["kind"] for s in lines if s.name == "cgexporter_node_namespaces"]
    return [
        rights,
        *map(str, (len(infos), sum("container" in each for each in infos))),
        *map(str, (sum("image" in each for each in infos), sum("pod" in each for each in pods))),
        *map(str, (len(families), len(counted), len(shared))),
        ", ".join(f"`{name}`" for name in sorted(bridges - {""})) or "-",
        "all" if len(kinds) == 8 else ", ".join(sorted(kinds)),
    ]


def check(request: pytest.FixtureRequest, guest: Guest, name: str, repository: Path) -> None:
    """See that the page says of a host what each privilege shows, and that none hides a number."""
    rows = [row(guest, rights, prefix) for rights, prefix in RIGHTS.items()]
    assert len({each[1] for each in rows}) == 1, "every container is seen by anyone"
    assert len({each[5] for each in rows}) == 1, "every number is seen by anyone"
    lines = [f"## {_HOSTS[name]}", "", f"| {' | '.join(_COLUMNS)} |", "|---" * len(_COLUMNS) + "|"]
    lines += [f"| {' | '.join(each)} |" for each in rows]
    file = repository / "docs/PRIVILEGES.md"
    old = file.read_text() if file.exists() else _HEAD
    sections = dict(re.findall(r"^(## .+)\n\n((?:\|.*\n)+)", old, re.MULTILINE))
    sections[lines[0]] = "\n".join(lines[2:]) + "\n"
    order = [f"## {title}" for title in _HOSTS.values()]
    text = "\n".join([_HEAD, *(f"{t}\n\n{sections[t]}" for t in order if t in sections)])
    print(json.dumps(rows, indent=1))
    compare(request, file, text)
