"""What cgexporter says of containers, in each format, as numbers that can be compared."""

import json
import math
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, TypedDict

from prometheus_client.parser import text_string_to_metric_families

from tests.integration import reading
from tests.integration.reading import Numbers

CONTAINER = "cgexporter_container_"
# What is no number of a cgroup: test_namespaces.py and test_network.py compare it.
_OTHERS = ("info", "interface_", "namespace_", "network_", "root_uid")
_OTHER_SECTIONS = ("namespaces", "network", "transport")


class Document(TypedDict):
    """The parts of the JSON document that are compared."""

    containers: list[dict[str, object]]
    unsupported: dict[str, str]


class Sample(NamedTuple):
    """One line of the metrics."""

    name: str
    labels: Mapping[str, str]
    value: float


def document(text: str) -> Document:
    """The output of ``--format json``."""
    parsed: Document = json.loads(text)
    return parsed


def samples(text: str) -> list[Sample]:
    """The output of ``--format prom``, as prometheus-client reads it."""
    families = text_string_to_metric_families(text)
    return [Sample(s.name, s.labels, s.value) for family in families for s in family.samples]


def entries(parsed: Document, pids: Collection[int]) -> dict[int, Mapping[str, object]]:
    """The document's entry of each container, by PID of its first process; one for each."""
    found = [(entry.get("pid"), entry) for entry in parsed["containers"]]
    wanted = [(pid, entry) for pid, entry in found if isinstance(pid, int) and pid in pids]
    assert sorted(pid for pid, _ in wanted) == sorted(pids), "each container appears once"
    return dict(wanted)


def json_numbers(text: str, pids: Collection[int]) -> Mapping[int, Numbers]:
    """All numbers that a JSON document has of some containers."""
    return {pid: _numbers(entry) for pid, entry in entries(document(text), pids).items()}


def _numbers(entry: Mapping[str, object]) -> Numbers:
    found: Numbers = {}
    for section, content in entry.items():
        for part in content if isinstance(content, list) else [content]:
            if section not in _OTHER_SECTIONS and isinstance(part, dict):
                device = f"{{{part['name']}}}" if "name" in part else ""
                for key, value in part.items():
                    if key not in ("name", "device"):
                        name = key if section == "core" else f"{section}_{key}"
                        found[name + device] = math.inf if value == "+Inf" else value
    return found


def ids(lines: Sequence[Sample], pids: Collection[int]) -> dict[str, int]:
    """The ``id`` label of each container, from the info family; one for each."""
    found = {}
    for pid in pids:
        paths = reading.cgroup_paths(pid) - {"/"}
        infos = [
            labels["id"]
            for name, labels, _ in lines
            if name == CONTAINER + "info" and labels["cgroup"] in paths
        ]
        assert len(infos) == 1, "each container appears once"
        found[infos[0]] = pid
    assert len(found) == len(pids), "each container has an id of its own"
    return found


def text_numbers(text: str, pids: Collection[int]) -> Mapping[int, Numbers]:
    """All numbers that the metrics have of some containers."""
    lines = samples(text)
    by_id = ids(lines, pids)
    found: dict[int, Numbers] = {pid: {} for pid in pids}
    for name, labels, value in lines:
        key = name.removeprefix(CONTAINER).removesuffix("_total")
        ours = name.startswith(CONTAINER) and not (key.startswith(_OTHERS) or key.endswith("info"))
        if ours and labels["id"] in by_id:
            key += f"{{{labels['device']}}}" if "device" in labels else ""
            numbers = found[by_id[labels["id"]]]
            assert key not in numbers, "no series appears twice"
            numbers[key] = value
    return found
