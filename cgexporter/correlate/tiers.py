"""Which of the cgroups that are no container and no pod may stand in one sum.

A cgroup's numbers include those of the cgroups below it. So each of these lies in one tier, and
within a tier no cgroup lies in another: docs/decisions/0007-sums.md.
"""

import enum
import functools
from collections.abc import Mapping

from cgexporter.correlate.holders import parents


class Tier(enum.Enum):
    """What a cgroup is among those that are published by their paths."""

    NODE = "node"  # the root
    SLICE = "slice"  # directly below the root
    CGROUP = "cgroup"  # deeper, and with none of its kind below: services, QoS tiers
    HOLDER = "holder"  # a container or pod that holds others, and lies in none that does
    BETWEEN = "between"  # all others: something of its tier is around it or in it


@functools.lru_cache(maxsize=4)
def tiers(paths: tuple[str, ...], holding: frozenset[str]) -> Mapping[str, Tier]:
    """The tier of each cgroup.

    Args:
        paths: of all cgroups that are no container and no pod, but for those that hold others.
        holding: paths of the containers and pods among them.

    What a container makes inside itself changes the tier of nothing around it.
    """
    above = {parent for path in paths if path not in holding for parent in parents(path)}
    found = {}
    for path in paths:
        if path == "/":
            found[path] = Tier.NODE
        elif path in holding:
            inner = any(parent in holding for parent in parents(path))
            found[path] = Tier.BETWEEN if inner else Tier.HOLDER
        elif path.count("/") == 1:
            found[path] = Tier.SLICE
        else:
            found[path] = Tier.BETWEEN if path in above else Tier.CGROUP
    return found
