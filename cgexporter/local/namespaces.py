"""``cgexporter namespaces``: who shares which namespace, as a table or a tree for people."""

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from cgexporter.correlate.processes import KINDS
from cgexporter.correlate.view import View
from cgexporter.exporter import MISSING
from cgexporter.local.table import grid, rendered
from cgexporter.local.text import printable
from cgexporter.model.namespaces import HostNamespace, Inventory, Member, Namespace

_UNKNOWN = "?"


def cell(namespace: Namespace | None) -> str:
    """With whom a namespace is shared, in a word or two; `?` where that is not known."""
    if namespace is None:
        return _UNKNOWN
    if namespace.host:
        return "host"
    others = list(namespace.containers)
    if namespace.pod:
        return f"pod +{len(others)}" if others else "pod"
    if others:
        return f"={printable(others[0])}" if len(others) == 1 else f"{len(others)} others"
    if namespace.host is None:
        return _UNKNOWN
    # Known not to be the host's, but nothing tells it from those of other containers.
    return "own" if namespace.certain else "not host"


def _row(member: Member) -> Sequence[str]:
    return (
        printable(member.name),
        printable(member.pod or "-"),
        *(cell(member.namespaces.get(kind)) for kind in KINDS),
        _UNKNOWN if member.root_uid is None else str(member.root_uid),
    )


def _members(inventory: Inventory) -> Sequence[Member]:
    return [*inventory.containers, *inventory.sandboxes]


def _without(everywhere: Sequence[HostNamespace]) -> Sequence[HostNamespace]:
    return [one for one in everywhere if not one.host and not one.containers]


def kept_by(one: HostNamespace) -> str:
    """What keeps a namespace: its processes, mounts and open descriptors."""
    reasons = []
    if one.processes:
        count = f"{one.processes} processes, first " if one.processes > 1 else ""
        reasons.append(f"{count}{one.pid} ({printable(one.comm)})")
    if one.mounts:
        reasons.append("mounted at " + ", ".join(map(printable, one.mounts)))
    if one.descriptors:
        reasons.append("open in " + ", ".join(map(str, one.descriptors)))
    return "; ".join(reasons)


def notes(view: View, unsupported: Mapping[str, str]) -> list[str]:
    """Where interfaces end, which ports are published, and what could not be seen."""
    names = {m.path: m.name for m in (*_members(view.namespaces), *view.namespaces.pods)}
    lines = []
    for network in view.networks.values():
        for end in network.ends:
            where = f"{end.host_interface} on {end.bridge}" if end.bridge else end.host_interface
            who = names.get(network.owner, network.owner)
            lines.append(printable(f"{who}: {end.interface} ends at {where}"))
    for container in (*view.containers, *view.sandboxes):
        who = names.get(container.cgroup.path, container.title)
        for port in container.facts.ports or ():
            where = f"{port.host_ip or '*'} port {port.host_port}/{port.protocol}"
            lines.append(printable(f"{who}: {where} of the host leads to its port {port.port}"))
    lines.sort()
    return lines + [f"{unsupported[file]}: {MISSING[file]}" for file in sorted(unsupported)]


def table(view: View, everywhere: Sequence[HostNamespace], unsupported: Mapping[str, str]) -> str:
    """A row a container, then what the host has besides."""
    inventory = view.namespaces

    def print_to(console: Console, terminal: bool) -> None:
        members = _members(inventory)
        if not members:
            console.print("No containers on this host.")
        else:
            columns = ("CONTAINER", "POD", *(kind.upper() for kind in KINDS), "ROOT IS UID")
            rows = grid(columns, len(columns) - 1, terminal)
            for member in members:
                rows.add_row(*(Text(text) for text in _row(member)))
            console.print(rows)
        console.print()
        columns = ("KIND", "ON THIS HOST", "WITHOUT CONTAINER", "ONLY MOUNTED", "ONLY OPEN")
        rows = grid(columns, 1, terminal)
        for kind in KINDS:
            count = inventory.counts.get(kind)
            only_open = sum(
                one.kind == kind and not one.processes and not one.mounts for one in everywhere
            )
            known = (count.total, count.without_container, count.mounted) if count else (None,) * 3
            cells = [_UNKNOWN if number is None else str(number) for number in known]
            whole = count is not None and count.mounted is not None
            rows.add_row(kind, *cells, str(only_open) if whole else _UNKNOWN)
        console.print(rows)
        if free := _without(everywhere):
            console.print()
            rows = grid(("WITHOUT CONTAINER", "INODE", "KEPT BY"), 3, terminal)
            for one in free:
                rows.add_row(one.kind, str(one.inode), Text(kept_by(one)))
            console.print(rows)
        for line in notes(view, unsupported):
            console.print(Text(line, style="dim"))

    return rendered(print_to)


def tree(view: View, everywhere: Sequence[HostNamespace], unsupported: Mapping[str, str]) -> str:
    """A branch a kind, and below it each namespace with those that are in it."""

    def print_to(console: Console, terminal: bool) -> None:
        del terminal
        for kind in KINDS:
            branch = Tree(kind)
            for one in everywhere:
                if one.kind == kind:
                    title = f"{one.inode}{' host' if one.host else ''}"
                    twig = branch.add(Text(f"{title}: {kept_by(one)}"))
                    for name in one.containers:
                        twig.add(Text(printable(name)))
            if not branch.children:
                branch.add("no namespace of this kind may be seen")
            console.print(branch)
        for line in notes(view, unsupported):
            console.print(Text(line, style="dim"))

    return rendered(print_to)
