"""I/O stalls, task limits, what differs from the manifest, and namespaces shared with the host."""

import math
from collections.abc import Iterator, Mapping

from cgexporter.correlate.facts import Declared
from cgexporter.findings.model import (
    Case,
    Finding,
    Harm,
    Limit,
    Window,
    amount,
    cores,
    iterate,
    more,
    percent,
    whole,
)
from cgexporter.model.io_more import DeviceLimits
from cgexporter.resources import convert

_STALLED = 0.2
_NEAR = 0.9
_AT_LIMIT = 0.8
# Kinds of namespace that a container has of its own unless asked otherwise.
_OWN = ("ipc", "mnt", "net", "pid", "uts")


def io_stalled(window: Window) -> Iterator[Finding]:
    """All tasks of a container waiting for I/O at once, by its own limit or by a neighbour."""
    for case in window.containers:
        waited = case.grown("pressure", "io_stalled_seconds")
        if waited is None or waited / window.seconds < _STALLED:
            continue
        part = waited / window.seconds
        why, limit, wanted = _because(window, case)
        yield case.finding(
            kind="io_stalled",
            harm=Harm.WARNING,
            cause=f"{case.name} stands still for I/O {percent(part)} of the time: {why}",
            evidence=[
                f"no task ran for {waited:.1f} s of {window.seconds:.1f} s (io.pressure full)",
                *(_rate_line(window, device, rates) for device, rates in _rates(case, window)),
            ],
            limit=limit,
            change=wanted,
            weight=part,
            numbers={"stalled_ratio": part},
        )


Rates = Mapping[str, float]
_COUNTERS = {
    # limit: the counter that it limits
    "read_bytes_per_second": "read_bytes",
    "write_bytes_per_second": "written_bytes",
    "reads_per_second": "reads",
    "writes_per_second": "writes",
}
_FILES = {
    "read_bytes_per_second": ("rbps", "blkio.throttle.read_bps_device"),
    "write_bytes_per_second": ("wbps", "blkio.throttle.write_bps_device"),
    "reads_per_second": ("riops", "blkio.throttle.read_iops_device"),
    "writes_per_second": ("wiops", "blkio.throttle.write_iops_device"),
}


def _rates(case: Case, window: Window) -> Iterator[tuple[str, Rates]]:
    """Of each device, what is done a second, by the limit that would bound it."""
    before = {one.device: one for one in (case.was.io or ())} if case.was else {}
    for now in case.now.io or ():
        was = before.get(now.device)
        rates = {}
        for limit, counter in _COUNTERS.items():
            new, old = getattr(now, counter), getattr(was, counter) if was else 0
            if new is not None and old is not None and new >= old:
                rates[limit] = (new - old) / window.seconds
        if any(rates.values()):
            yield now.device, rates


def _device(window: Window, number: str) -> str:
    return window.after.snapshot.devices.get(number, number)


def _rate_line(window: Window, device: str, rates: Rates) -> str:
    read, written = (rates.get(f"{word}_bytes_per_second", 0) for word in ("read", "write"))
    return f"{_device(window, device)}: read {amount(read)}, wrote {amount(written)} a second"


def _because(window: Window, case: Case) -> tuple[str, Limit | None, str]:
    rates = dict(_rates(case, window))
    for path in _upwards(case.path):
        cgroup = case.now if path == case.path else window.place(path)
        for limits in (cgroup.io_limits or ()) if cgroup else ():
            for name, rate in rates.get(limits.device, {}).items():
                bound = getattr(limits, name)
                if bound and bound != math.inf and rate >= _AT_LIMIT * bound:
                    unit = amount(bound) if "bytes" in name else f"{bound:.0f}"
                    why = f"its limit of {unit} {name.split('_')[0]} a second is reached"
                    return (
                        why,
                        _io_limit(window, path, limits, name),
                        "raise it (docker update cannot: start it anew with another "
                        "--device-*-bps or --device-*-iops)"
                        if case.container and case.container.runtime == "docker"
                        else "raise it, or let it read and write less",
                    )
    return _neighbour(window, case, rates)


def _io_limit(window: Window, path: str, limits: DeviceLimits, name: str) -> Limit:
    key, file = _FILES[name]
    value = whole(getattr(limits, name))
    if window.unified:
        return Limit(path, "io.max", f"{limits.device} {key}={value}")
    return Limit(path, file, f"{limits.device} {value}")


def _neighbour(
    window: Window, case: Case, rates: Mapping[str, Rates]
) -> tuple[str, Limit | None, str]:
    best, most, device = None, 0.0, ""
    for other in window.containers:
        if other is case:
            continue
        for number, theirs in _rates(other, window):
            moved = theirs.get("read_bytes_per_second", 0) + theirs.get("write_bytes_per_second", 0)
            if moved > most and (not rates or number in rates):
                best, most, device = other, moved, number
    if best is None:
        return "the disk is slow for what it does", None, "let it read and write less"
    name = _device(window, device)
    return (
        f"{best.name} moves {amount(most)} a second on {name}",
        None,
        f"limit {best.name} (io.max, --device-write-bps), or give one of them another disk",
    )


def _upwards(path: str) -> Iterator[str]:
    while path and path != "/":
        yield path
        path = path.rpartition("/")[0]


def task_limit(window: Window) -> Iterator[Finding]:
    """Forks that are refused, or soon will be."""
    for case, whom in iterate(window):
        pids = case.now.pids
        if pids is None or pids.max is None or pids.max == math.inf or pids.current is None:
            continue
        lately, total = case.grown("pids", "events_max") or 0, pids.events_max or 0
        if not lately and not total and pids.current < _NEAR * pids.max:
            continue
        refused = f"{lately:.0f} forks refused in {window.seconds:.1f} s, " if lately else ""
        who = whom.name if case is whom else f"{whom.name}, in {case.name},"
        what = (
            "cannot start threads"
            if lately
            else "could not start threads"
            if total
            else "is close to its limit of threads"
        )
        yield whom.finding(
            kind="pids_limit",
            harm=Harm.CRITICAL if lately else Harm.WARNING,
            cause=f"{who} {what}: {whole(pids.max)} are allowed",
            evidence=[
                f"{pids.current} threads now of {whole(pids.max)}",
                f"{refused}{total} refused since it was made",
            ],
            limit=window.limit(case.now, "pids"),
            change=f"{more(whom, 'pids')}, or find what starts so many",
            weight=lately or pids.current / pids.max,
            numbers={"tasks": pids.current, "limit": pids.max, "refused_in_window": lately},
        )


def not_as_declared(window: Window) -> Iterator[Finding]:
    """A limit that is not what the pod's manifest says."""
    for case in window.containers:
        declared = case.container.facts.declared if case.container else None
        if declared is None:
            continue
        for what, limit, said, is_so in _differing(window, case, declared):
            yield case.finding(
                kind="not_as_declared",
                harm=Harm.WARNING,
                cause=f"{case.name} has another {what} than its manifest says: {is_so}, not {said}",
                evidence=[f"declared {said}, enforced {is_so}"],
                limit=limit,
                change="see whether a resize is under way; else restart the container, and find "
                "out who wrote the file",
                weight=1,
            )


def _differing(
    window: Window, case: Case, declared: Declared
) -> Iterator[tuple[str, Limit, str, str]]:
    """What, which file, what was declared, what is."""
    cpu, memory = case.now.cpu, case.now.memory
    if declared.cpu_limit_cores and cpu and cpu.limit_cores and cpu.period_seconds:
        period = round(cpu.period_seconds * 1e6)
        quota = convert.milli_to_quota(math.ceil(declared.cpu_limit_cores * 1000), period)
        right_quotas = (quota, convert.quota_by_systemd(quota, period))
        if all(abs(cpu.limit_cores * period - one) >= 1 for one in right_quotas):
            is_so = "none" if cpu.limit_cores == math.inf else cores(cpu.limit_cores)
            said = cores(declared.cpu_limit_cores)
            yield "CPU limit", window.limit(case.now, "cpu"), said, is_so
    enforced = memory.max_bytes if memory else None
    asked = declared.memory_limit_bytes
    if asked and enforced is not None and enforced != convert.pages(math.ceil(asked)):
        is_so = "none" if enforced == math.inf else amount(enforced)
        yield "memory limit", window.limit(case.now, "memory"), amount(asked), is_so
    if declared.cpu_request_cores is not None and cpu:
        shares = convert.milli_to_shares(math.ceil(declared.cpu_request_cores * 1000))
        right = (
            {convert.weight_linear(shares), convert.weight_quadratic(shares)}
            if window.unified
            else {shares}
        )
        is_so_ = cpu.weight if window.unified else cpu.shares
        if is_so_ is not None and is_so_ not in right:
            file = "cpu.weight" if window.unified else "cpu.shares"
            said = f"{cores(declared.cpu_request_cores)} ({' or '.join(map(str, sorted(right)))})"
            yield "CPU request", Limit(case.path, file, str(is_so_)), said, str(is_so_)


def class_lower(window: Window) -> Iterator[Finding]:
    """A pod that is Burstable for one container's sake, while another asks to be Guaranteed."""
    pods: dict[str, list[Case]] = {}
    for case in window.containers:
        if case.container and case.container.place.pod_path and case.container.facts.declared:
            pods.setdefault(case.container.place.pod_path, []).append(case)
    for path, cases in pods.items():
        if any(case.container and case.container.qos_class != "Burstable" for case in cases):
            continue
        meant = [case for case in cases if not _lacking(case)]
        others = [(case, why) for case in cases if (why := _lacking(case))]
        if not meant or not others:
            continue
        culprit, why = others[0]
        yield Finding(
            kind="qos_lower",
            harm=Harm.NOTE,
            cause=f"{meant[0].name} asks for Guaranteed but its pod is Burstable: "
            f"{culprit.name} {why}",
            container=culprit.name,
            pod=culprit.pod,
            cgroup=path,
            evidence=[
                f"{meant[0].name}: requests equal limits of CPU and memory",
                *(f"{case.name}: {reason}" for case, reason in others),
            ],
            change=f"give {culprit.name} limits of CPU and memory that equal its requests",
            weight=len(others),
        )


def _lacking(case: Case) -> str:
    """What keeps a container from Guaranteed; "" where nothing does."""
    declared = case.container.facts.declared if case.container else None
    assert declared is not None
    for name, request, limit in (
        ("CPU", declared.cpu_request_cores, declared.cpu_limit_cores),
        ("memory", declared.memory_request_bytes, declared.memory_limit_bytes),
    ):
        if not limit:
            return f"has no {name} limit"
        if request is not None and request != limit:
            return f"requests less {name} than its limit"
    return ""


def host_namespaces(window: Window) -> Iterator[Finding]:
    """Namespaces of the host that a container is in."""
    members = {member.path: member for member in window.after.namespaces.containers}
    for case in window.containers:
        member = members.get(case.path)
        if member is None:
            continue
        shared = {
            kind: one.inode
            for kind in _OWN
            if (one := member.namespaces.get(kind)) is not None and one.host
        }
        if not shared:
            continue
        kinds = ", ".join(shared)
        yield case.finding(
            kind="host_namespaces",
            harm=Harm.NOTE,
            cause=f"{case.name} is in the host's {kinds} namespace{'s' * (len(shared) > 1)}",
            evidence=[
                f"{kind}: " + (f"{kind}:[{inode}], the host's" if inode else "the host's")
                for kind, inode in shared.items()
            ],
            change="unset "
            + (
                ", ".join(_FIELDS.get(kind, kind) for kind in shared)
                if case.pod is not None
                else ", ".join(f"--{'network' if kind == 'net' else kind}=host" for kind in shared)
            )
            + " unless it needs to see or manage the host",
            weight=len(shared),
        )


_FIELDS = {"net": "hostNetwork", "pid": "hostPID", "ipc": "hostIPC", "uts": "hostNetwork"}
