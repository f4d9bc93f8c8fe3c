"""What a pod's manifest becomes: the slice tree, and the files and values of each cgroup.

Source: kubernetes 1.35 pkg/kubelet/cm (helpers_linux.go ResourceConfigForPod,
cgroup_manager_linux.go, qos_container_manager_linux.go) and pkg/kubelet/kuberuntime/
kuberuntime_container_linux.go.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial

from cgexporter.resources import convert
from cgexporter.resources.docker import quota_lines, weight_lines
from cgexporter.resources.manifest import HUGE, Amounts, Container, Pod, Role, total
from cgexporter.resources.qos import Qos, oom_score, qos
from cgexporter.resources.quantity import bytes_text, cores_text, exact, milli, whole
from cgexporter.resources.settings import Explanation, Group, Line, Setting

UID, ID = "<UID>", "<ID>"
_ZERO = Fraction(0)
_THROTTLING = Fraction(9, 10)  # memoryThrottlingFactor
_NO_QUOTA = (Line("cpu.max", f"max {convert.PERIOD_USEC}"),), (Line("cpu.cfs_quota_us", "-1"),)

_SCOPES = f"""
CRI-O calls a container's scope crio-{ID}.scope. The pause sandbox is one more cgroup beside, with
cpu.weight 1 and oom_score_adj -998.
"""
_PIDS = """
The kubelet's podPidsLimit (default: none) is pids.max of the pod; with the systemd driver a
container's scope has systemd's DefaultTasksMax besides.
"""


@dataclass(frozen=True, slots=True)
class Node:
    """What is known of the node: bytes of memory, None where that is not known."""

    memory: int | None = None


def explain(pod: Pod, node: Node) -> Explanation:
    """Say what a pod becomes on a node."""
    kind, why = qos(pod)
    systemd, cgroupfs = _pod_paths(pod, kind)
    whole_pod = _whole(pod, kind)
    return Explanation(
        title=pod.title,
        facts={"QoS class": f"{kind.value}: {why}", **_totals(pod)},
        groups=[
            *_above(kind, whole_pod),
            Group(
                "the pod",
                systemd,
                cgroupfs,
                list(_pod_settings(pod, kind, whole_pod)),
                limits=_limits(whole_pod),
            ),
            *(
                Group(
                    f"{one.role.value} {one.name}",
                    f"{systemd}/cri-containerd-{ID}.scope",
                    f"{cgroupfs}/{ID}",
                    list(_container_settings(pod, one, node)),
                    limits=_limits(_stricter(_of_container(pod, one), whole_pod)),
                )
                for one in pod.containers
            ),
        ],
        namespaces=_namespaces(pod),
        notes=[" ".join(note.split()) for note in (_SCOPES, _PIDS)],
    )


def _pod_paths(pod: Pod, kind: Qos) -> tuple[str, str]:
    """Where the pod's cgroup is with the systemd and with the cgroupfs driver."""
    uid = pod.uid or UID
    tier = "" if kind is Qos.GUARANTEED else kind.value.lower()
    above, _ = _tier_paths(tier)
    name = "-".join(part for part in ("kubepods", tier, f"pod{uid.replace('-', '_')}") if part)
    cgroupfs = "/".join(part for part in ("/kubepods", tier, f"pod{uid}") if part)
    return f"{above}/{name}.slice", cgroupfs


def _tier_paths(tier: str) -> tuple[str, str]:
    if not tier:
        return "/kubepods.slice", "/kubepods"
    return f"/kubepods.slice/kubepods-{tier}.slice", f"/kubepods/{tier}"


def _above(kind: Qos, whole_pod: "_Limits") -> Iterator[Group]:
    yield Group(
        "all pods",
        *_tier_paths(""),
        facts={
            "set by": "the node: shares of its CPUs, and its memory that pods may have "
            "(enforceNodeAllocatable: pods)"
        },
    )
    tier = kind.value.lower()
    if kind is Qos.BURSTABLE:
        shares = convert.milli_to_shares(whole_pod.request)
        linear = convert.weight_linear(shares)
        yield Group(
            "QoS tier Burstable",
            *_tier_paths(tier),
            facts={
                "set by": "the CPU requests of all its pods on the node together; this one alone "
                f"gives cpu.shares {shares}, cpu.weight {linear}"
            },
        )
    elif kind is Qos.BEST_EFFORT:
        yield Group(
            "QoS tier BestEffort",
            *_tier_paths(tier),
            [_shares("all its pods together", convert.MIN_SHARES, kubelet=True)],
        )


@dataclass(frozen=True, slots=True)
class _Limits:
    """Thousandths of a core and bytes; 0 is no limit."""

    request: int
    cpu: int
    memory: int
    huge: Mapping[str, int]


def _limits(limits: _Limits) -> Mapping[str, str]:
    return {
        "cpu": f"{limits.cpu / 1000:.10g}" if limits.cpu else "max",
        "memory": str(convert.pages(limits.memory)) if limits.memory else "max",
    }


def _stricter(one: _Limits, other: _Limits) -> _Limits:
    return _Limits(
        one.request,
        min(filter(None, (one.cpu, other.cpu)), default=0),
        min(filter(None, (one.memory, other.memory)), default=0),
        one.huge,
    )


def with_overhead(pod: Pod) -> tuple[Amounts, Amounts]:
    """Requests and limits of the whole pod: PodRequests and PodLimits."""
    requests = {**total(pod, "requests"), **(pod.requests or {})}
    limits = {**total(pod, "limits"), **(pod.limits or {})}
    for name, amount in pod.overhead.items():
        requests[name] = requests.get(name, _ZERO) + amount
        if limits.get(name):
            limits[name] += amount
    return requests, limits


def _declared(pod: Pod, name: str) -> bool:
    """Whether every container has a limit, or the pod as a whole: else the pod gets none."""
    if pod.limits and pod.limits.get(name):
        return True
    begun = False
    for one in pod.containers:
        has = bool(one.limits.get(name))
        if one.role is Role.SIDECAR:
            begun = begun or has
        # An init container counts with the sidecars begun before it.
        if not has and not (one.role is not Role.MAIN and begun):
            return False
    return True


def _whole(pod: Pod, kind: Qos) -> _Limits:
    requests, limits = with_overhead(pod)
    enforced = kind is not Qos.BEST_EFFORT
    return _Limits(
        request=milli(requests.get("cpu", _ZERO)) if enforced else 0,
        cpu=milli(limits.get("cpu", _ZERO)) if enforced and _declared(pod, "cpu") else 0,
        memory=whole(limits.get("memory", _ZERO)) if enforced and _declared(pod, "memory") else 0,
        huge=_huge(requests),
    )


def _huge(amounts: Amounts) -> Mapping[str, int]:
    """Bytes by page size as the kernel names it: ``2MB``, ``1GB``."""
    found: dict[str, int] = {}
    for name, amount in amounts.items():
        if name.startswith(HUGE) and (size := exact(name.removeprefix(HUGE))):
            found[_page_size(whole(size))] = whole(amount)
    return found


def _page_size(count: int) -> str:
    for power, unit in ((30, "GB"), (20, "MB"), (10, "KB")):
        if count >= 2**power:
            return f"{count >> power}{unit}"
    return f"{count}B"


def _shares(asked: str, shares: int, *, kubelet: bool) -> Setting:
    """``cpu.shares`` and the weight that the kubelet or the runtime makes of it."""
    lines = weight_lines(shares)
    if kubelet and len(lines) > 1:
        lines = [Line("cpu.weight", str(convert.weight_linear(shares)))]
    note = "the kubelet converts by its own, older formula" if kubelet and shares > 2 else ""
    return Setting(asked, lines, [Line("cpu.shares", str(shares))], note)


def _quota(asked: str, millicores: int, *, kubelet: bool) -> Setting:
    if not millicores:
        return Setting(asked, *_NO_QUOTA)
    quota = convert.milli_to_quota(millicores)
    v2, v1 = quota_lines(quota, convert.PERIOD_USEC, kubelet=kubelet)
    notes = ["never less than 1 ms a period"] if millicores < 10 else []
    if len(v2) > 1:
        notes.append("systemd keeps whole hundredths of a CPU")
    return Setting(asked, v2, v1, "; ".join(notes))


def _memory(asked: str, limit: int) -> Setting:
    value = str(convert.pages(limit)) if limit else "max"
    return Setting(
        asked,
        [Line("memory.max", value)],
        [Line("memory.limit_in_bytes", value)],
        "the kernel counts whole pages" if limit % 4096 else "",
    )


def _pod_settings(pod: Pod, kind: Qos, limits: _Limits) -> Iterator[Setting]:
    requests, _ = with_overhead(pod)
    asked = f"CPU request of the pod: {_cores(requests)}"
    yield _shares(asked, convert.milli_to_shares(limits.request), kubelet=True)
    quota = partial(_quota, kubelet=True)
    for name, value, make in (("cpu", limits.cpu, quota), ("memory", limits.memory, _memory)):
        shown = "CPU" if name == "cpu" else name
        if value:
            amount = cores_text(value) if name == "cpu" else bytes_text(value)
            yield make(f"{shown} limit of the pod: {amount}", value)
        else:
            yield make(f"no {shown} limit of the pod{_lacking(pod, kind, name)}", 0)
    yield from _huge_settings(limits.huge, "hugepages of the pod")


def _cores(amounts: Amounts) -> str:
    count = milli(amounts.get("cpu", _ZERO))
    return cores_text(count) if count else "none"


def _lacking(pod: Pod, kind: Qos, name: str) -> str:
    """Whose missing limit leaves the pod without one."""
    if kind is Qos.BEST_EFFORT:
        return ""
    for one in pod.containers:
        if not one.limits.get(name):
            return f": {one.role.value} {one.name} has none"
    return ""


def _huge_settings(huge: Mapping[str, int], asked: str, when: str = "") -> Iterator[Setting]:
    for size, count in huge.items():
        yield Setting(
            f"{asked}: {bytes_text(count)} in pages of {size}",
            [Line(f"hugetlb.{size}.max", str(count), when)],
            [Line(f"hugetlb.{size}.limit_in_bytes", str(count), when)],
            "other page sizes get 0",
        )


def _of_container(pod: Pod, one: Container) -> _Limits:
    """Its own limits, or the whole pod's where it has none."""
    own = pod.limits or {}
    cpu = one.limits.get("cpu") or own.get("cpu", _ZERO)
    memory = one.limits.get("memory") or own.get("memory", _ZERO)
    request = one.requests.get("cpu", cpu)
    huge = {**_huge(own), **_huge(one.limits)}
    return _Limits(milli(request), milli(cpu), whole(memory), huge)


def _container_settings(pod: Pod, one: Container, node: Node) -> Iterator[Setting]:
    limits = _of_container(pod, one)
    if "cpu" in one.asked:
        asked = f"requests.cpu: {cores_text(limits.request)}"
    elif limits.request:
        asked = f"requests.cpu (default: its limit): {cores_text(limits.request)}"
    else:
        asked = "no requests.cpu"
    yield _shares(asked, convert.milli_to_shares(limits.request), kubelet=False)
    asked = _asked("cpu", one, cores_text(limits.cpu) if limits.cpu else "")
    yield _quota(asked, limits.cpu, kubelet=False)
    yield from _memory_settings(one, limits)
    yield from _huge_settings(
        limits.huge, "hugepages", "CRI-O; containerd with disable_hugetlb_controller = false"
    )
    line = [Line("/proc/PID/oom_score_adj", oom_score(pod, one, node.memory))]
    yield Setting("QoS class and memory request", line, line)


def _asked(name: str, one: Container, amount: str) -> str:
    if one.limits.get(name):
        return f"limits.{name}: {amount}"
    return f"limits.{name} of the pod: {amount}" if amount else f"no limits.{name}"


def _memory_settings(one: Container, limits: _Limits) -> Iterator[Setting]:
    yield _memory(
        _asked("memory", one, bytes_text(limits.memory) if limits.memory else ""), limits.memory
    )
    together = str(convert.pages(limits.memory)) if limits.memory else "max"
    yield Setting(
        "no swap (kubelet's memorySwap.swapBehavior: NoSwap)",
        [Line("memory.swap.max", "0")],
        [Line("memory.memsw.limit_in_bytes", together)],
        "with LimitedSwap on v2 the request's share of the node's swap",
    )
    yield Setting(
        "an OOM kill takes the whole container (singleProcessOOMKill: false)",
        [Line("memory.oom.group", "1")],
        note="kubelet 1.28 or later; v1 kills one process",
    )
    request = whole(one.requests.get("memory", _ZERO))
    if request:
        yield Setting(
            f"requests.memory: {bytes_text(request)}", note=_memory_qos(request, limits.memory)
        )


def _memory_qos(request: int, limit: int) -> str:
    """What the feature gate MemoryQoS would set, which is off by default."""
    high = ""
    if limit and limit != request:
        pages = convert.pages(_down(request + (limit - request) * _THROTTLING))
        high = f", memory.high = {pages}"
    return (
        "sets nothing but the OOM score; the feature gate MemoryQoS (v2, off by default) would "
        f"set memory.min = {request}{high}"
    )


def _down(value: Fraction) -> int:
    """Rounded down."""
    return value.numerator // value.denominator


def _totals(pod: Pod) -> Mapping[str, str]:
    requests, limits = with_overhead(pod)
    facts = {}
    for name, amounts in (("requests", requests), ("limits", limits)):
        parts = [
            f"{key} {cores_text(milli(amount)) if key == 'cpu' else bytes_text(whole(amount))}"
            for key, amount in amounts.items()
            if amount
        ]
        facts[f"sum of {name}"] = ", ".join(parts) or "none"
    if pod.overhead:
        facts["overhead"] = "included in these sums"
    return facts


def _namespaces(pod: Pod) -> Mapping[str, str]:
    shared: Sequence[tuple[str, bool]] = (
        ("ipc", pod.host_ipc),
        ("net", pod.host_network),
        ("pid", pod.host_pid),
    )
    whose = {name: "the host's" if host else "the pod's" for name, host in shared}
    if not pod.host_pid and not pod.share_processes:
        whose["pid"] = "each container's own"
    return {
        "cgroup": "each container's own on v2, the host's on v1 (containerd, CRI-O)",
        "ipc": whose["ipc"],
        "mnt": "each container's own",
        "net": whose["net"],
        "pid": whose["pid"],
        "user": "the host's" if pod.host_users else "the pod's",
        "uts": whose["net"],
    }
