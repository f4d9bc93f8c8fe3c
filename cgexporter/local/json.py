"""``--once --format json``: the model as one document.

What is absent has no key; an unlimited limit is the string "+Inf", since JSON has no
number for it. Units are in the names.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from types import MappingProxyType

from cgexporter.correlate.facts import Facts, Key
from cgexporter.correlate.view import Container, View
from cgexporter.exporter import host_facts, support_reason
from cgexporter.local.inspection import Inspection
from cgexporter.local.rates import Rates
from cgexporter.model import NETWORK_SECTIONS, SECTIONS, Cgroup
from cgexporter.model.namespaces import HostNamespace, Member

Json = Mapping[str, "Json"] | list["Json"] | str | float | bool | None


def _without_none(values: Mapping[str, Json]) -> dict[str, Json]:
    return {
        name: "+Inf" if value == math.inf else value
        for name, value in values.items()
        if value is not None
    }


def _sections(cgroup: Cgroup, devices: Mapping[str, str]) -> dict[str, Json]:
    sections: dict[str, Json] = {}
    for name in (*SECTIONS, "effective", "kept", *NETWORK_SECTIONS):
        section = getattr(cgroup, name)
        if section is None:
            continue
        if not hasattr(section, "_asdict"):  # one element for each device, size, …
            sections[name] = [
                {**_device_name(element, devices), **_without_none(element._asdict())}
                for element in section
            ]
        elif name == "network":
            sections[name] = [each._asdict() for each in section]
        else:
            sections[name] = _without_none(section._asdict())
    return sections


def _device_name(element: object, devices: Mapping[str, str]) -> dict[str, Json]:
    device = getattr(element, "device", None)
    return {} if device is None else {"name": devices.get(device)}


def _told(facts: Facts) -> dict[str, Json]:
    """What sources of names told, beside the name itself."""
    declared = facts.declared
    return {
        "image": facts.image,
        "restart_count": facts.restart_count,
        "owner_kind": facts.owner_kind,
        "owner_name": facts.owner_name,
        "compose_project": facts.compose_project,
        "compose_service": facts.compose_service,
        "published_ports": [_without_none(port._asdict()) for port in facts.ports or ()] or None,
        "labels": dict(facts.labels) or None,
        "declared": None if declared is None else _without_none(asdict(declared)),
    }


def _container(container: Container, devices: Mapping[str, str]) -> dict[str, Json]:
    place, process = container.place, container.process
    facts: dict[str, Json] = {
        "id": container.id or None,
        "namespace": container.facts.namespace,
        "pod": container.facts.pod,
        "container": container.name,
        "container_id": container.container_id,
        "runtime": container.runtime,
        "driver": place.driver,
        "pod_uid": place.pod_uid or container.facts.pod_uid,
        "qos_class": container.qos_class,
        **_told(container.facts),
        "cgroup": container.cgroup.path,
        "parent_cgroup": place.parent_path,
    }
    if process is not None:
        facts["pid"] = process.pid
        facts["namespaces"] = dict(process.namespaces)
    return {**_without_none(facts), **_sections(container.cgroup, devices)}


def _rates(container: Container, rates: Mapping[Key, Rates] | None) -> dict[str, Json]:
    found = (rates or {}).get((container.cgroup.path, container.cgroup.inode))
    return {} if found is None else {"rates": _without_none(found._asdict())}


def _member(member: Member, view: View) -> dict[str, Json]:
    facts: dict[str, Json] = {
        "name": member.name,
        "cgroup": member.path,
        "pod": member.pod,
        "pid": member.pid,
        "root_uid": member.root_uid,
        "root_gid": member.root_gid,
        "namespaces": {
            kind: _without_none(
                {
                    "inode": namespace.inode,
                    "host": namespace.host,
                    "pod": namespace.pod,
                    "containers": list(namespace.containers),
                }
            )
            for kind, namespace in member.namespaces.items()
        },
        "interfaces": [
            _without_none(end._asdict())
            for network in view.networks.values()
            if network.owner == member.path
            for end in network.ends
        ],
    }
    return _without_none(facts)


def namespaces(
    view: View, everywhere: Sequence[HostNamespace], unsupported: Mapping[str, str]
) -> str:
    """``namespaces --format json``: who is in which namespace, and all that the host has."""
    inventory = view.namespaces
    content: dict[str, Json] = {
        "host": dict(inventory.host),
        "containers": [_member(member, view) for member in inventory.containers],
        "sandboxes": [_member(member, view) for member in inventory.sandboxes],
        "pods": [_member(member, view) for member in inventory.pods],
        "namespaces": [
            _without_none(
                {
                    "kind": one.kind,
                    "inode": one.inode,
                    "host": one.host,
                    "containers": list(one.containers),
                    "processes": one.processes,
                    "pid": one.pid,
                    "comm": one.comm or None,
                    "mounts": list(one.mounts),
                    "descriptors": list(one.descriptors),
                }
            )
            for one in everywhere
        ],
        "counts": {
            kind: _without_none(
                {
                    "total": count.total,
                    "without_container": count.without_container,
                    "mounted": count.mounted,
                }
            )
            for kind, count in inventory.counts.items()
        },
        "unsupported": dict(unsupported),
    }
    return json.dumps(content, indent=2) + "\n"


def inspections(view: View, inspected: Sequence[Inspection], unsupported: Mapping[str, str]) -> str:
    """``inspect --format json``: one element for each container."""
    devices = view.snapshot.devices
    content: dict[str, Json] = {
        "time": view.snapshot.started,
        "containers": [_inspection(it, view, devices) for it in inspected],
        "unsupported": dict(unsupported),
    }
    return json.dumps(content, indent=2) + "\n"


def _inspection(it: Inspection, view: View, devices: Mapping[str, str]) -> dict[str, Json]:
    facts: dict[str, Json] = {
        "registry": it.registry,
        "oci_runtime": it.oci_runtime,
        "started_by": [each._asdict() for each in it.started_by],
        "daemons": [each._asdict() for each in it.daemons],
        "limits": [_without_none(asdict(limit)) for limit in it.limits],
        "ancestors": [
            {"cgroup": cgroup.path, **_sections(cgroup, devices)} for cgroup in it.ancestors[:-1]
        ],
        "member": None if it.member is None else _member(it.member, view),
        "network_of": it.network.owner if it.network else None,
        "interfaces": [each._asdict() for each in it.interfaces],
        "ends": [_without_none(end._asdict()) for end in it.network.ends] if it.network else [],
        "rates": None if it.rates is None else _without_none(it.rates._asdict()),
        "seconds": it.seconds if it.rates is not None else None,
    }
    return {**_container(it.container, devices), **_without_none(facts)}


def document(
    view: View,
    missing: Mapping[str, str] = MappingProxyType({}),
    rates: Mapping[Key, Rates] | None = None,
) -> str:
    """The whole document, indented, with a line end.

    Args:
        view: what to write.
        missing: by source of names, what it was denied.
        rates: since the scan before; None where there was none.
    """
    snapshot = view.snapshot
    devices, tiers = snapshot.devices, view.tiers
    unsupported = {
        file: reason for file in snapshot.files if (reason := support_reason(snapshot, file))
    }
    if view.denied:
        unsupported["/proc/PID/ns"] = "permission denied"
    unsupported |= {f"names from {source}": why for source, why in missing.items()}
    content: dict[str, Json] = {
        "host": {name: fact for name, fact in host_facts(snapshot).items() if fact},
        "time": snapshot.started,
        "containers": [{**_container(c, devices), **_rates(c, rates)} for c in view.containers],
        "sandboxes": [_container(sandbox, devices) for sandbox in view.sandboxes],
        "pods": [
            {
                **_without_none(
                    {
                        "uid": pod.uid,
                        "namespace": pod.facts.namespace,
                        "pod": pod.facts.pod,
                        "qos_class": pod.qos_class,
                        **_told(pod.facts),
                        "driver": pod.place.driver,
                        "cgroup": pod.cgroup.path,
                    }
                ),
                **_sections(pod.cgroup, devices),
            }
            for pod in view.pods
        ],
        "cgroups": [
            {
                "cgroup": cgroup.path,
                "level": tiers[cgroup.path].value,
                **_sections(cgroup, devices),
            }
            for cgroup in view.cgroups
        ],
        "unsupported": dict(unsupported),
    }
    return json.dumps(content, indent=2) + "\n"
