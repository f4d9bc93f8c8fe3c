"""A pod's QoS class and why, and its containers' OOM scores.

Sources: kubernetes pkg/apis/core/v1/helper/qos/qos.go, pkg/kubelet/qos/policy.go.
"""

from collections.abc import Iterator
from enum import Enum
from fractions import Fraction

from cgexporter.resources.manifest import Amounts, Container, Pod, Role, total
from cgexporter.resources.quantity import whole

_COMPUTE = ("cpu", "memory")
_NODE_CRITICAL = "system-node-critical"
GUARANTEED_SCORE, BEST_EFFORT_SCORE = -997, 1000


class Qos(Enum):
    """Kubernetes' classes of pods."""

    GUARANTEED = "Guaranteed"
    BURSTABLE = "Burstable"
    BEST_EFFORT = "BestEffort"


def qos(pod: Pod) -> tuple[Qos, str]:
    """The class, and what makes it that."""
    own = pod.requests is not None
    parts: list[tuple[str, Amounts, Amounts]] = (
        [("the pod", pod.requests or {}, pod.limits or {})]
        if own
        else [(f"{c.role.value} {c.name}", c.requests, c.limits) for c in pod.containers]
    )
    if not any(amounts.get(name) for _, *both in parts for amounts in both for name in _COMPUTE):
        who = "the pod as a whole has" if own else "no container has"
        nothing = "no request and no limit" if own else "a request or a limit"
        return Qos.BEST_EFFORT, f"{who} {nothing} of CPU or memory"
    if reasons := list(_unequal(parts)):
        more = f", and {len(reasons) - 1} more" if len(reasons) > 1 else ""
        return Qos.BURSTABLE, f"{reasons[0]}{more}"
    who = "the pod as a whole" if own else "every container"
    return Qos.GUARANTEED, f"requests equal limits of CPU and memory in {who}"


def _unequal(parts: list[tuple[str, Amounts, Amounts]]) -> Iterator[str]:
    for who, requests, limits in parts:
        for name in _COMPUTE:
            limit, request = limits.get(name), requests.get(name)
            if not limit:
                yield f"{who} has no {name} limit"
            elif request != limit:
                yield f"{who} requests less {name} than its limit"


def oom_score(pod: Pod, container: Container, node_memory: int | None) -> str:
    """``oom_score_adj`` of a container's processes; a formula where the node's memory matters.

    Args:
        pod: the container's.
        container: whose.
        node_memory: the node's bytes (MemTotal); None where they are not known.
    """
    kind, _ = qos(pod)
    if pod.priority_class == _NODE_CRITICAL or kind is Qos.GUARANTEED:
        return str(GUARANTEED_SCORE)
    if kind is Qos.BEST_EFFORT:
        return str(BEST_EFFORT_SCORE)
    needed = _needed(pod, container)
    if node_memory is None:
        return f"1000 - 1000 x {needed} / the node's bytes, 3 to 999" if needed else "999"
    score = 1000 - 1000 * needed // node_memory
    return str(min(max(score, 1000 + GUARANTEED_SCORE), BEST_EFFORT_SCORE - 1))


def _needed(pod: Pod, container: Container) -> int:
    """The bytes that a Burstable container's score is reckoned from."""
    share = 0
    if pod.requests and pod.requests.get("memory"):
        # What the pod requests beyond its containers is every container's in equal parts.
        spare = pod.requests["memory"] - total(pod, "requests").get("memory", Fraction(0))
        share = whole(spare) // len(pod.containers)
    needed = whole(container.requests.get("memory", Fraction(0)))
    if container.role is Role.SIDECAR:
        # A sidecar must not die before the containers that it serves.
        needed = max(
            needed,
            min(whole(c.requests.get("memory", Fraction(0))) for c in pod.of(Role.MAIN)),
        )
    return needed + share
