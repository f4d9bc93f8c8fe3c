"""What the first process of a cgroup tells of it: its namespaces, and whether it is a sandbox.

Needs no privilege for `nested` and `oom_score_adj`; the inodes of namespaces need ptrace
access to the process (root with SYS_PTRACE, or its own user).
"""

import itertools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from cgexporter import kernel
from cgexporter.hierarchies import Hierarchies
from cgexporter.kernel import Missing
from cgexporter.parse.core import parse_cgroup_procs
from cgexporter.parse.formats import ParseError
from cgexporter.parse.proc import (
    parse_namespace_link,
    parse_nested_pids,
    parse_score,
    parse_start_time,
)

log = logging.getLogger(__name__)

# namespaces(7); each is a link in /proc/PID/ns.
KINDS = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")
# In how many cgroups below a container's its first process is looked for: payload, init.scope.
_CGROUPS_BELOW = 32
# Of how many processes the first is told.
_PROCESSES = 64


@dataclass(frozen=True, slots=True)
class Process:
    """One process at one moment.

    Attributes:
        pid: as the mounted procfs counts.
        started: clock ticks after boot; with the PID it is one process for ever.
        nested: it lives in a PID namespace below that of the mounted procfs.
        namespaces: inode of each kind that may be read.
        denied: the kinds' links exist and may not be read.
        oom_score_adj: None where it could not be read.
        init: it is the first process of a nested PID namespace.
    """

    pid: int
    started: int
    nested: bool
    namespaces: Mapping[str, int] = field(default_factory=dict)
    denied: bool = False
    oom_score_adj: int | None = None
    init: bool = False

    def is_isolated_from(self, host: "Process | None") -> bool:
        """Whether it runs as containers do: in namespaces of its own.

        A PID namespace of its own is enough. Without one, a mount namespace and one more
        kind must differ from the host's; a service with private mounts is no container.
        """
        if self.nested:
            return True
        if host is None:
            return False
        differs = {
            kind
            for kind, inode in self.namespaces.items()
            if host.namespaces.get(kind, inode) != inode
        }
        return "mnt" in differs and bool(differs - {"mnt", "time"})


def read_process(procfs: str, pid: int) -> Process | None:
    """Read one process; None when it has exited or is not visible."""
    # The descriptor stands for the process and not for its number: after its exit each
    # read says ESRCH or ENOENT, also when the PID was given to another.
    with kernel.directory(f"{procfs}/{pid}") as fd:
        if isinstance(fd, Missing):
            return None
        status = kernel.read_file(fd, "status", alive="stat")
        stat = kernel.read_file(fd, "stat", alive="stat")
        if isinstance(stat, Missing) or status is Missing.GONE:
            return None
        links = {kind: kernel.read_link(fd, f"ns/{kind}") for kind in KINDS}
        score = kernel.read_file(fd, "oom_score_adj", alive="stat")
    try:
        pids = () if isinstance(status, Missing) else parse_nested_pids(status)
        return Process(
            pid,
            started=parse_start_time(stat),
            nested=len(pids) > 1,
            init=len(pids) > 1 and pids[-1] == 1,
            namespaces={
                kind: parse_namespace_link(link)
                for kind, link in links.items()
                if not isinstance(link, Missing)
            },
            denied=Missing.DENIED in links.values(),
            oom_score_adj=None if isinstance(score, Missing) else parse_score(score),
        )
    except ParseError as exc:
        log.warning("process %d is left out: %s", pid, exc)
        return None


def _at_most(bound: int) -> Callable[[str, int], int]:
    """Visit so many cgroups in all."""

    def allow(_: str, children: int) -> int:
        nonlocal bound
        allowed = min(children, bound)
        bound -= allowed
        return allowed

    return allow


def first_process(
    hierarchies: Hierarchies, path: str, belongs: Callable[[str, str], bool] | None
) -> Process | None:
    """Read the process that joined a cgroup first.

    Args:
        hierarchies: of the host.
        path: of the cgroup.
        belongs: asked whether a cgroup below `path`, given second, is a part of it; a payload
            or init.scope then counts too. None: only `path` itself counts.

    Returns:
        None for no process, or none that is visible from this PID namespace.
    """
    for hierarchy in hierarchies.all:
        top = hierarchy.directory(path)
        for below, _, _ in kernel.Walker(top).walk(_at_most(_CGROUPS_BELOW if belongs else 0)):
            where = path if below == "/" else path + below
            if where != path and belongs is not None and not belongs(path, where):
                continue
            with kernel.directory(hierarchy.directory(where)) as fd:
                if isinstance(fd, Missing):
                    continue
                content = kernel.read_file(fd, "cgroup.procs")
            if isinstance(content, Missing):
                continue
            try:
                pids = parse_cgroup_procs(content)
            except ParseError as exc:
                log.warning("cgroup.procs of cgroup %r: %s", where, exc)
                continue
            if process := _first_of(hierarchies.procfs, pids):
                return process
    return None


def _first_of(procfs: str, pids: Sequence[int]) -> Process | None:
    """The init of a PID namespace, or else the process that started first.

    v2 lists processes in the order of joining, but v1 by PID, and after PIDs have wrapped a
    child may have a lower one than its parent.
    """
    readable = (process for pid in pids if (process := read_process(procfs, pid)))
    processes = list(itertools.islice(readable, _PROCESSES))
    return min(processes, key=lambda p: (not p.init, p.started, p.pid), default=None)
