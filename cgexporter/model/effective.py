"""Limits as they act: the least of a cgroup's own, its ancestors', its cpuset and the machine."""

from typing import NamedTuple


class Effective(NamedTuple):
    """The limit that acts and what sets it; None is not known, inf is none.

    A setter is the path of a cgroup, ``cpuset`` or ``machine``.
    """

    cpu_limit_cores: float | None = None
    memory_limit_bytes: float | None = None
    pids_limit: float | None = None
    cpu_limit_by: str | None = None
    memory_limit_by: str | None = None
    pids_limit_by: str | None = None
