"""All that is looked for, in order of harm, and what could not be looked for."""

from collections.abc import Iterator, Sequence

from cgexporter.findings import cpu, memory, others
from cgexporter.findings.model import Finding, Window

# Of the same harm, what kills comes before what slows down, and that before what surprises.
_LOOKS = (
    memory.oom_kills,
    others.task_limit,
    memory.near_limit,
    memory.stalled,
    others.io_stalled,
    memory.swapping,
    cpu.throttled,
    cpu.starved,
    others.not_as_declared,
    others.class_lower,
    others.host_namespaces,
)


def examine(window: Window) -> Sequence[Finding]:
    """All findings, the most harmful first."""
    found = [
        (-finding.harm, order, -finding.weight, number, finding)
        for order, look in enumerate(_LOOKS)
        for number, finding in enumerate(look(window))
    ]
    return [finding for *_, finding in sorted(found, key=lambda row: row[:4])]


def blind(window: Window) -> Iterator[str]:
    """What could not be looked for on this host, and what would allow it."""
    cases = window.containers
    if not cases:
        return
    if all(case.now.pressure is None for case in cases):
        yield "stalls and starving: no pressure files (cgroup v2 and a kernel with PSI, psi=1)"
    if not any(case.container and case.container.facts.declared for case in cases):
        yield (
            "limits against manifests: what pods declare is not known (--identity.kubelet or "
            "--identity.api)"
        )
    if window.busy is None:
        yield "idle CPUs: the root cgroup does not tell its use"
    if window.after.denied or window.after.namespaces.denied:
        yield "some shared namespaces: not permitted (run as root with SYS_PTRACE)"
