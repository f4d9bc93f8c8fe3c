"""What the first process of a cgroup tells of it: its namespaces, and whether it is a sandbox.

Needs no privilege for `nested`, `net_dev`, ID maps and `oom_score_adj`; the inodes of
namespaces need ptrace access to the process (root with SYS_PTRACE, or its own user).
"""

import functools
import itertools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from cgexporter import kernel
from cgexporter.hierarchies import Hierarchies, Hierarchy
from cgexporter.kernel import Missing
from cgexporter.parse.core import parse_cgroup_procs
from cgexporter.parse.formats import ParseError
from cgexporter.parse.namespaces import Birth, IdRange, parse_birth, parse_id_map
from cgexporter.parse.proc import parse_namespace_link, parse_nested_pids, parse_score
from cgexporter.walker import Walker

log = logging.getLogger(__name__)

# namespaces(7); each is a link in /proc/PID/ns.
KINDS = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")
# In how many cgroups below a container's its first process is looked for: payload, init.scope.
_CGROUPS_BELOW = 32
# PID namespaces of a container that is in none, unless it shares the host's.
_LEVELS_OF_CONTAINER = 2
# Of how many processes the first is told.
_PROCESSES = 64


class Links(NamedTuple):
    """The namespaces of a process, as far as they may be read.

    Attributes:
        inodes: in the order of KINDS; None where the kind is not offered or not readable.
        net_dev: inode of its ``net/dev``, one per network namespace, which anyone may read.
        denied: the links exist and may not be read.
    """

    inodes: tuple[int | None, ...]
    net_dev: int | None
    denied: bool


_LINKS = tuple(f"ns/{kind}" for kind in KINDS)
_NO_LINKS = Links((None,) * len(KINDS), None, denied=False)


@dataclass(frozen=True, slots=True)
class Process:
    """One process at one moment.

    Attributes:
        pid: as the mounted procfs counts.
        started: clock ticks after boot; with the PID it is one process for ever.
        levels: how many PID namespaces it lives in, with that of the mounted procfs; 0 where
            the kernel does not say (before 4.1).
        namespaces: inode of each kind that may be read.
        denied: the kinds' links exist and may not be read.
        oom_score_adj: None where it could not be read.
        init: it is the first process of a nested PID namespace.
        links: what the above was made of, and `net_dev`.
        uid_map, gid_map: of its user namespace, as seen from that of the exporter.
    """

    pid: int
    started: int
    levels: int = 0
    namespaces: Mapping[str, int] = field(default_factory=dict)
    denied: bool = False
    oom_score_adj: int | None = None
    init: bool = False
    links: Links = _NO_LINKS
    uid_map: tuple[IdRange, ...] = ()
    gid_map: tuple[IdRange, ...] = ()

    @property
    def nested(self) -> bool:
        """It lives in a PID namespace below that of the mounted procfs."""
        return self.levels > 1

    @property
    def net_dev(self) -> int | None:
        """Inode of its ``net/dev``: see `Links`."""
        return self.links.net_dev

    def is_apart_from(self, outer: "Process | None") -> bool | None:
        """Whether it runs in a container inside another, whose own process is `outer`.

        Without a process of the outer one it has to be nested deeper than that one may be. None
        where the kernel does not say how deep.
        """
        if outer is not None:
            if self.net_dev and outer.net_dev and self.net_dev != outer.net_dev:
                return True
            # Who came from outside is less deep: nsenter, and runtimes before they fork.
            deep = not self.levels or self.levels >= outer.levels
            for kind in ("pid", "mnt", "net") if deep else ("mnt", "net"):
                mine, others = self.namespaces.get(kind), outer.namespaces.get(kind)
                if mine and others and mine != others:
                    return True
        around = outer.levels if outer is not None else _LEVELS_OF_CONTAINER
        return self.levels > around if self.levels and around else None

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


_inode = functools.lru_cache(4096)(parse_namespace_link)


def read_links(fd: int, last: Links | None = None) -> Links | None:
    """Read the namespaces of an open /proc/PID.

    Args:
        fd: of the directory.
        last: what was read of the same process before.

    Returns:
        The same object where nothing changed; None when the process has exited.
    """
    inodes: list[int | None] = []
    denied = False
    if links := kernel.read_links(fd, _LINKS):
        inodes = list(map(_inode, links))
        # Its net/dev is of one of them.
        if last is not None and last.net_dev is not None and last.inodes == tuple(inodes):
            return last
    for kind in () if links else KINDS:
        link = kernel.read_link(fd, f"ns/{kind}")
        if link is Missing.GONE:
            return None
        if link is Missing.DENIED:
            denied = True
            inodes = [None] * len(KINDS)
            break
        inodes.append(None if isinstance(link, Missing) else _inode(link))
    net_dev = kernel.inode_below(fd, "net/dev")
    if net_dev is Missing.GONE:
        return None
    return Links(tuple(inodes), None if isinstance(net_dev, Missing) else net_dev, denied)


def read_birth(fd: int) -> Birth | None:
    """Read what tells an open /proc/PID from others; None when the process has exited."""
    content = kernel.read_file(fd, "stat", alive="stat")
    return None if isinstance(content, Missing) else parse_birth(content)


def nested_pids(fd: int) -> tuple[int, ...]:
    """The PIDs of a process in the PID namespaces from that of the mounted procfs inwards."""
    status = kernel.read_file(fd, "status", alive="stat")
    return () if isinstance(status, Missing) else parse_nested_pids(status)


def _id_map(fd: int, name: str) -> tuple[IdRange, ...]:
    content = kernel.read_of_task(fd, name)
    return () if isinstance(content, Missing) else parse_id_map(content)


def read_process(procfs: str, pid: int, last: Process | None = None) -> Process | None:
    """Read one process.

    Args:
        procfs: where procfs is mounted.
        pid: of the process.
        last: what was read before, of it or of another.

    Returns:
        The same object as before where nothing changed; None when the process has exited or is
        not visible.
    """
    # The descriptor stands for the process and not for its number: after its exit each
    # read says ESRCH or ENOENT, also when the PID was given to another.
    with kernel.directory(f"{procfs}/{pid}") as fd:
        if isinstance(fd, Missing):
            return None
        try:
            birth = read_birth(fd)
            if birth is None:
                return None
            if last is not None and (last.pid, last.started) != (pid, birth.started):
                last = None
            links = read_links(fd, last.links if last else None)
            return None if links is None else _described(fd, pid, birth.started, links, last)
        except ParseError as exc:
            log.warning("process %d is left out: %s", pid, exc)
            return None


def _described(fd: int, pid: int, started: int, links: Links, last: Process | None) -> Process:
    """What else there is to say of an open /proc/PID whose namespaces are known."""
    score = kernel.read_file(fd, "oom_score_adj", alive="stat")
    oom_score_adj = None if isinstance(score, Missing) else parse_score(score)
    # Its PIDs never change, nor do the maps of a user namespace that has some.
    if last is not None and last.links is links and last.uid_map and last.gid_map:
        if last.oom_score_adj == oom_score_adj:
            return last
        return replace(last, oom_score_adj=oom_score_adj)
    pids = nested_pids(fd)
    return Process(
        pid,
        started,
        levels=len(pids),
        namespaces={kind: inode for kind, inode in zip(KINDS, links.inodes, strict=True) if inode},
        denied=links.denied,
        oom_score_adj=oom_score_adj,
        init=len(pids) > 1 and pids[-1] == 1,
        links=links,
        uid_map=_id_map(fd, "uid_map"),
        gid_map=_id_map(fd, "gid_map"),
    )


def read_init(procfs: str) -> Process | None:
    """Read PID 1, whose namespaces are the host's.

    A security module may hide them even from root. Then kthreadd tells: kernel threads are
    started in the same first namespaces, and its ``net/dev`` must be the same as well.
    """
    init = read_process(procfs, 1)
    if init is None:
        return _captured_init(procfs)
    if not init.denied:
        return init
    with kernel.directory(f"{procfs}/2") as fd:
        birth = None if isinstance(fd, Missing) else read_birth(fd)
    kthreadd = read_process(procfs, 2)
    if birth is None or not birth.kernel_thread or kthreadd is None:
        return init
    if kthreadd.denied or kthreadd.net_dev != init.net_dev:
        return init
    return replace(init, namespaces=kthreadd.namespaces, denied=False, links=kthreadd.links)


def _at_most(bound: int) -> Callable[[str, int], int]:
    """Visit so many cgroups in all."""

    def allow(_: str, children: int) -> int:
        nonlocal bound
        allowed = min(children, bound)
        bound -= allowed
        return allowed

    return allow


def _captured_init(procfs: str) -> Process | None:
    """PID 1 of a captured tree, of which its namespaces may be all that was kept."""
    with kernel.directory(f"{procfs}/1") as fd:
        if isinstance(fd, Missing):
            return None
        links = {kind: kernel.read_link(fd, f"ns/{kind}") for kind in KINDS}
    namespaces = {k: _inode(link) for k, link in links.items() if not isinstance(link, Missing)}
    if not namespaces:
        return None
    inodes = tuple(namespaces.get(kind) for kind in KINDS)
    return Process(1, 0, namespaces=namespaces, links=Links(inodes, None, False))


def first_process(
    hierarchies: Hierarchies,
    path: str,
    belongs: Callable[[str, str], bool] | None,
    members: Callable[[str], Sequence[int]] | None = None,
    last: Process | None = None,
) -> Process | None:
    """Read the process that joined a cgroup first.

    Args:
        hierarchies: of the host.
        path: of the cgroup.
        belongs: asked whether a cgroup below `path`, given second, is a part of it; a payload
            or init.scope then counts too. None: only `path` itself counts.
        members: the PIDs of a cgroup as procfs counts them, where ``cgroup.procs`` does not: it
            counts as the PID namespace of its reader does, with 0 or nothing for others.
        last: who it was before.

    Returns:
        None for no process, or none that is visible.
    """
    for hierarchy in hierarchies.all:
        for where in (path,) if belongs is None else _parts(hierarchy, path, belongs):
            directory = hierarchy.directory(where)
            pids = members(where) if members else _listed(directory, where)
            if process := _first_of(hierarchies.procfs, pids, last):
                return process
    return None


def _parts(hierarchy: Hierarchy, path: str, belongs: Callable[[str, str], bool]) -> Iterator[str]:
    for below, _, _ in Walker(hierarchy.directory(path)).walk(_at_most(_CGROUPS_BELOW)):
        where = path if below == "/" else path + below
        if where == path or belongs(path, where):
            yield where


def _listed(directory: str, path: str) -> Sequence[int]:
    content = kernel.read_path(f"{directory}/cgroup.procs")
    if isinstance(content, Missing):
        return ()
    try:
        return parse_cgroup_procs(content)
    except ParseError as exc:
        log.warning("cgroup.procs of cgroup %r: %s", path, exc)
        return ()


def _first_of(procfs: str, pids: Sequence[int], last: Process | None) -> Process | None:
    """The init of a PID namespace, or else the process that started first.

    v2 lists processes in the order of joining, but v1 by PID, and after PIDs have wrapped a
    child may have a lower one than its parent.
    """
    readable = (process for pid in pids if (process := read_process(procfs, pid, last)))
    processes = []
    for process in itertools.islice(readable, _PROCESSES):
        if process.init:
            return process
        processes.append(process)
    return min(processes, key=lambda p: (p.started, p.pid), default=None)
