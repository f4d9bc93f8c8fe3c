"""The machine below all cgroups: what limits the root, and what the root itself has."""

from typing import NamedTuple

from cgexporter.parse.proc import MemInfo


class Machine(NamedTuple):
    """Facts of procfs at the time of a scan; None where they could not be read."""

    cpus: int | None = None
    memory: MemInfo = MemInfo()
    tasks: int | None = None
    tasks_max: int | None = None
    oom_kills: int | None = None
    boot_id: str | None = None
    kernel: str | None = None  # its release
