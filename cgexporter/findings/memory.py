"""Memory: close to a limit, killed at it, reading page cache again, swapping, stalled."""

import math
from collections.abc import Iterator

from cgexporter.findings.model import (
    PAGE,
    Case,
    Finding,
    Harm,
    Limit,
    Window,
    amount,
    iterate,
    more,
    percent,
)

# netdata warns from 90 %.
_NEAR = 0.9
_REFAULTS = 2**20  # bytes a second read again: below it nobody notices
_STALLED = 0.1


def near_limit(window: Window) -> Iterator[Finding]:
    """A working set close to a limit, or page cache that does not fit below it."""
    for case, busiest in iterate(window):
        memory = case.now.memory
        if memory is None or not memory.max_bytes or memory.max_bytes == math.inf:
            continue
        limit, used, working = memory.max_bytes, memory.current_bytes, memory.working_set_bytes
        if used is None or working is None:
            continue
        whom = busiest
        if case.container is None:
            whom = max(window.below(case.path), key=_working_set)
        if working >= _NEAR * limit:
            yield _near(window, case, whom)
        if used >= _NEAR * limit:
            yield from _cache(window, case, whom)


def _working_set(case: Case) -> int:
    return case.number("memory", "working_set_bytes") or 0


def _use(case: Case) -> list[str]:
    memory = case.now.memory
    assert memory is not None
    shared = memory.shmem_bytes or 0
    parts = [
        f"{amount(count)} {name}"
        for name, count in (
            ("anonymous", memory.anon_bytes),
            ("shared memory and tmpfs", shared),
            ("page cache of files", max(0, (memory.file_bytes or 0) - shared)),
            ("kernel", memory.kernel_bytes),
        )
        if count
    ]
    return [f"uses {amount(memory.current_bytes or 0)}: {', '.join(parts)}"] if parts else []


def _near(window: Window, case: Case, whom: Case) -> Finding:
    memory = case.now.memory
    assert memory is not None
    limit, working = memory.max_bytes or 0, memory.working_set_bytes or 0
    cache = memory.active_file_bytes or 0
    evidence = [f"working set {amount(working)} of {amount(limit)}", *_use(case)]
    mostly_cache = cache > working / 2
    if mostly_cache:
        evidence.append(
            f"{amount(cache)} of it is active page cache, which the kernel drops before it kills"
        )
    was = case.was.memory.working_set_bytes if case.was and case.was.memory else None
    if was is not None and working - was >= 2**20:
        rate = (working - was) / window.seconds
        evidence.append(
            f"grew by {amount(rate)} a second: full in {(limit - working) / rate:.0f} s"
        )
    who = whom.name if case is whom else f"{whom.name}, in {case.name},"
    return whom.finding(
        kind="memory_near_limit",
        harm=Harm.NOTE if mostly_cache else Harm.WARNING,
        cause=f"{who} is {percent(working / limit)} full: {amount(limit)} is its memory limit",
        evidence=evidence,
        limit=window.limit(case.now, "memory"),
        change=f"{more(whom, 'memory')}, or make it use less",
        weight=working / limit,
        numbers={"working_set_bytes": working, "limit_bytes": limit, "active_file_bytes": cache},
    )


def _cache(window: Window, case: Case, whom: Case) -> Iterator[Finding]:
    again = (case.grown("memory", "refaults_file") or 0) * PAGE / window.seconds
    memory = case.now.memory
    assert memory is not None
    if again < _REFAULTS:
        return  # page cache fills whatever there is; that alone is no harm
    limit = memory.max_bytes or 0
    yield whom.finding(
        kind="page_cache_thrash",
        harm=Harm.WARNING,
        cause=f"{whom.name} reads the same again: its page cache does not fit its memory limit "
        f"of {amount(limit)}",
        evidence=[
            f"{amount(again)} a second had been in the page cache before and was dropped",
            *_use(case),
        ],
        limit=window.limit(case.now, "memory"),
        change=f"{more(whom, 'memory')}: what it reads often should fit beside the working set",
        weight=again,
        numbers={"refault_bytes_per_second": again, "limit_bytes": limit},
    )


def oom_kills(window: Window) -> Iterator[Finding]:
    """Processes that the OOM killer took."""
    counted: dict[str, float] = {}
    for case in window.containers:
        total, lately = _kills(case)
        counted[case.path] = total or 0
        if total:
            yield _killed(window, case, case, total, lately)
    for case in window.others:
        total, lately = _kills(case)
        if not total or case.number("memory", "events_oom_kill") is None:
            continue
        if not case.name.startswith("pod "):
            continue  # slices have the sums of their pods
        inner = window.below(case.path)
        gone = total - sum(counted.get(one.path, 0) for one in inner)
        if gone > 0:
            yield _killed(window, case, inner[0] if len(inner) == 1 else case, gone, lately)


def _kills(case: Case) -> tuple[float | None, float]:
    for name in ("events_oom_kill", "events_local_oom_kill"):
        if (total := case.number("memory", name)) is not None:
            return total, case.grown("memory", name) or 0
    return None, 0


def _killed(window: Window, case: Case, whom: Case, total: float, lately: float) -> Finding:
    limit = window.acting(case, "memory")
    where = "at its memory limit"
    if limit is None:
        where = "with no limit of its own: the node ran out of memory"
    elif limit.cgroup != case.path:
        where = f"at the memory limit of {limit.cgroup}"
    when = f"{lately:.0f} killed in {window.seconds:.1f} s, " if lately else ""
    gone = "" if case is whom else ", in containers that are gone"
    acting = case.now.effective and case.now.effective.memory_limit_bytes
    evidence = [f"{when}{total:.0f} killed since it was made{gone}"]
    if acting is not None and acting != math.inf:
        used = case.number("memory", "current_bytes")
        evidence.append(f"uses {amount(used or 0)} of {amount(acting)} now")
    wanted = more(whom, "memory") if limit else "lower what others use, or set limits"
    return Finding(
        kind="oom_kill",
        harm=Harm.CRITICAL if lately else Harm.WARNING,
        cause=f"processes of {whom.name} were killed {where}",
        container=whom.name,
        pod=whom.pod,
        cgroup=case.path,
        evidence=evidence,
        limit=limit,
        change=f"{wanted}, or make it use less",
        weight=lately or total,
        numbers={"oom_kills": total, "oom_kills_in_window": lately},
    )


def swapping(window: Window) -> Iterator[Finding]:
    """Memory that goes to swap and comes back."""
    for case in window.containers:
        swap = case.number("memory", "swap_current_bytes")
        back = (case.grown("memory", "refaults_anon") or 0) * PAGE / window.seconds
        out = (case.grown("memory", "swap_current_bytes") or 0) / window.seconds
        if not swap or (back < _REFAULTS and out < _REFAULTS):
            continue
        limit = window.acting(case, "memory")
        yield case.finding(
            kind="swapping",
            harm=Harm.WARNING,
            cause=f"{case.name} swaps: {amount(swap)} of its memory is on disk",
            evidence=[
                f"{amount(out)} a second more swapped out, {amount(back)} a second came back",
                *(_use(case) if case.now.memory else []),
            ],
            limit=limit,
            change=f"{more(case, 'memory')}, or forbid swap (memory.swap.max 0) and let it "
            "be killed instead",
            weight=back + out,
            numbers={"swap_bytes": swap, "refault_bytes_per_second": back},
        )


def stalled(window: Window) -> Iterator[Finding]:
    """All tasks of a container waiting for memory at once, and who is the cause."""
    for case in window.containers:
        waited = case.grown("pressure", "memory_stalled_seconds")
        if waited is None or waited / window.seconds < _STALLED:
            continue
        part = waited / window.seconds
        why, limit = _because(window, case)
        yield case.finding(
            kind="memory_stalled",
            harm=Harm.WARNING,
            cause=f"{case.name} stands still for memory {percent(part)} of the time: {why}",
            evidence=[
                f"no task ran for {waited:.1f} s of {window.seconds:.1f} s (memory.pressure full)",
                *(_use(case) if case.now.memory else []),
            ],
            limit=limit,
            change=more(case, "memory")
            if limit
            else "give the node more memory, or limit who uses most",
            weight=part,
            numbers={"stalled_ratio": part},
        )


def _because(window: Window, case: Case) -> tuple[str, Limit | None]:
    memory = case.now.memory
    if memory is not None and (limit := window.acting(case, "memory")):
        acting = case.now.effective and case.now.effective.memory_limit_bytes
        if limit.cgroup != case.path and (holder := window.place(limit.cgroup)):
            memory = holder.memory or memory
        used = memory.current_bytes or 0
        if acting and used >= _NEAR * acting:
            whose = "its limit" if limit.cgroup == case.path else f"the limit of {limit.cgroup}"
            return f"{whose} of {amount(acting)} is reached", limit
    high = memory.high_bytes if memory is not None else None
    if memory is not None and high and (memory.current_bytes or 0) >= _NEAR * high:
        limit = Limit(case.path, "memory.high", str(round(high)))
        return f"its memory.high of {amount(high)} is reached", limit
    others = [one for one in window.containers if one is not case]
    if others:
        most = max(others, key=_working_set)
        return f"the node is short of memory; {most.name} uses {amount(_working_set(most))}", None
    return "the node is short of memory", None
