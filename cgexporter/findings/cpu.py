"""CPU: throttled by a limit, or starved by neighbours with more shares."""

import math
from collections.abc import Iterator

from cgexporter.findings.model import (
    Case,
    Finding,
    Harm,
    Limit,
    Window,
    cores,
    iterate,
    more,
    percent,
)

# kubernetes-mixin's CPUThrottlingHigh warns from a quarter of all periods.
_THROTTLED = 0.25
_MIN_PERIODS = 5
# Below this part of its limit on average, a throttled container is throttled by bursts.
_SUSTAINED = 0.8
_IDLE = 0.1
_WAITING = 0.5
_BUSY = 0.9


def throttled(window: Window) -> Iterator[Finding]:
    """A quota that keeps tasks from running: too small for the work, or for its bursts."""
    for case, whom in iterate(window):
        limit, period = case.number("cpu", "limit_cores"), case.number("cpu", "period_seconds")
        periods, stopped = case.grown("cpu", "periods"), case.grown("cpu", "throttled_periods")
        used = case.grown("cpu", "usage_seconds")
        if not limit or limit == math.inf or not period or not periods or used is None:
            continue
        if stopped is None or stopped < _MIN_PERIODS or stopped / periods < _THROTTLED:
            continue
        average = used / window.seconds
        if average >= _SUSTAINED * limit:
            yield _too_small(window, case, whom, average, stopped / periods)
        else:
            yield _bursts(window, case, whom, average, stopped / periods)


def _about(case: Case, whom: Case) -> str:
    return whom.name if case is whom else f"{whom.name}, in {case.name},"


def _evidence(window: Window, case: Case, average: float, part: float) -> list[str]:
    limit = case.number("cpu", "limit_cores")
    waited = case.grown("cpu", "throttled_seconds") or 0
    lines = [
        f"throttled {waited:.1f} s in {window.seconds:.1f} s, in {percent(part)} of its periods",
        f"used {cores(average)} of {cores(limit)} on average",
    ]
    if window.busy is not None:
        lines.append(f"{percent(1 - window.busy)} of the node's CPU time was idle")
    return lines


def _numbers(window: Window, case: Case, average: float, part: float) -> dict[str, float]:
    numbers = {
        "throttled_periods_ratio": part,
        "usage_cores": average,
        "limit_cores": case.number("cpu", "limit_cores"),
    }
    if window.busy is not None:
        numbers["node_idle_ratio"] = 1 - window.busy
    return numbers


def _too_small(window: Window, case: Case, whom: Case, average: float, part: float) -> Finding:
    limit = case.number("cpu", "limit_cores")
    idle = None if window.busy is None else 1 - window.busy
    though = (
        f", though {percent(idle)} of the node is idle" if idle is not None and idle > _IDLE else ""
    )
    return whom.finding(
        kind="throttled",
        harm=Harm.WARNING,
        cause=f"{_about(case, whom)} is held back by a CPU limit of {cores(limit)}{though}",
        evidence=_evidence(window, case, average, part),
        limit=window.limit(case.now, "cpu"),
        change=f"{more(whom, 'cpu')}, or remove the limit and rely on shares",
        weight=part,
        numbers=_numbers(window, case, average, part),
    )


def _bursts(window: Window, case: Case, whom: Case, average: float, part: float) -> Finding:
    limit, period = case.number("cpu", "limit_cores"), case.number("cpu", "period_seconds")
    tasks = case.number("pids", "current")
    cpus = window.after.snapshot.machine.cpus or 1
    evidence = _evidence(window, case, average, part)
    numbers = _numbers(window, case, average, part)
    if tasks:
        side_by_side = min(tasks, case.number("cpuset", "cpus") or cpus)
        numbers["tasks"] = tasks
        if side_by_side > limit:
            evidence.append(
                f"{tasks} threads: {side_by_side} at once use up {limit * period * 1e3:.3g} ms in "
                f"{limit * period / side_by_side * 1e3:.3g} ms, then wait for the rest of "
                f"{period * 1e3:.0f} ms"
            )
    return whom.finding(
        kind="bursts",
        harm=Harm.WARNING,
        cause=f"{_about(case, whom)} needs little CPU but at once: its limit of {cores(limit)} "
        "is used up early in a period",
        evidence=evidence,
        limit=window.limit(case.now, "cpu"),
        change=f"run at most {_threads(limit)} at once (GOMAXPROCS, "
        f"-XX:ActiveProcessorCount), allow bursts (cpu.max.burst), or {more(whom, 'cpu')}",
        weight=part,
        numbers=numbers,
    )


def _threads(limit: float) -> str:
    count = max(1, math.ceil(limit))
    return f"{count} thread{'s' * (count > 1)}"


def starved(window: Window) -> Iterator[Finding]:
    """Tasks that wait for CPU while a neighbour with more shares has it."""
    if window.busy is None or window.busy < _BUSY:
        return
    for case in window.containers:
        waited = case.grown("pressure", "cpu_waiting_seconds")
        if waited is None or waited / window.seconds < _WAITING:
            continue
        if case.grown("cpu", "throttled_periods"):
            continue  # its own limit makes it wait
        neighbours = [other for other in window.containers if other is not case]
        hog = max(neighbours, key=lambda one: one.grown("cpu", "usage_seconds") or 0, default=None)
        if hog is None or not hog.grown("cpu", "usage_seconds"):
            continue
        yield from _against(window, case, hog, waited / window.seconds)


def _against(window: Window, case: Case, hog: Case, waiting: float) -> Iterator[Finding]:
    """Compare the two where their paths part."""
    mine, theirs = _branches(case.path, hog.path)
    own, other = _share(window, mine, case), _share(window, theirs, hog)
    if own is None or other is None or own >= other:
        return
    file = "cpu.weight" if window.unified else "cpu.shares"
    used = (case.grown("cpu", "usage_seconds") or 0) / window.seconds
    taken = (hog.grown("cpu", "usage_seconds") or 0) / window.seconds
    yield case.finding(
        kind="starved",
        harm=Harm.WARNING,
        cause=f"{case.name} waits for CPU: it has {own} shares against {other} of {hog.name}"
        if not window.unified
        else f"{case.name} waits for CPU: it has a weight of {own} against {other} of {hog.name}",
        evidence=[
            f"waited for CPU in {percent(waiting)} of the time and used {cores(used)}",
            f"{hog.name} used {cores(taken)}; {theirs} has {file} {other}",
            f"{percent(window.busy or 0)} of the node's CPU time was used",
        ],
        limit=Limit(mine, file, str(own)),
        change=f"{more(case, 'shares')}, limit {hog.name}, or move one of them",
        weight=waiting,
        numbers={"waiting_ratio": waiting, "usage_cores": used, "neighbour_usage_cores": taken},
    )


def _branches(one: str, other: str) -> tuple[str, str]:
    """The ancestors of two cgroups that are children of the same cgroup."""
    ours, theirs = one.strip("/").split("/"), other.strip("/").split("/")
    depth = 0
    while depth < min(len(ours), len(theirs)) - 1 and ours[depth] == theirs[depth]:
        depth += 1
    return "/" + "/".join(ours[: depth + 1]), "/" + "/".join(theirs[: depth + 1])


def _share(window: Window, path: str, case: Case) -> int | None:
    cgroup = case.now if path == case.path else window.place(path)
    if cgroup is None or cgroup.cpu is None:
        return None
    return cgroup.cpu.weight if window.unified else cgroup.cpu.shares
