"""Which processes started a container's: shim, monitor, daemon. Source: proc_pid_stat(5)."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from cgexporter import kernel
from cgexporter.correlate.sweep import Seen
from cgexporter.kernel import Missing
from cgexporter.parse.formats import ParseError
from cgexporter.parse.namespaces import parse_birth
from cgexporter.parse.proc import parse_parent

# Engines by the name of their process, of which the kernel keeps 15 characters.
DAEMONS = frozenset({"dockerd", "containerd", "crio", "podman", "kubelet", "lxcfs", "k3s-server"})
_DEPTH = 32


class Ancestor(NamedTuple):
    """A process by its PID and name."""

    pid: int
    comm: str


def ancestry(procfs: str, pid: int) -> Sequence[Ancestor]:
    """A process, its parent and so on up to PID 1, as far as they may be read.

    A shim outlives what started it and is then a child of PID 1: the engine is not among them.
    """
    return list(itertools.islice(_upwards(procfs, pid), _DEPTH))


def _upwards(procfs: str, pid: int) -> Iterator[Ancestor]:
    while pid:
        with kernel.directory(f"{procfs}/{pid}") as fd:
            stat = fd if isinstance(fd, Missing) else kernel.read_file(fd, "stat", alive="stat")
        if isinstance(stat, Missing):
            return
        try:
            yield Ancestor(pid, parse_birth(stat).comm)
            pid = parse_parent(stat)
        except ParseError:
            return


def daemons(processes: Iterable[Seen]) -> Sequence[Ancestor]:
    """The engines that run on this host, in order of PID."""
    return sorted(Ancestor(seen.pid, seen.comm) for seen in processes if seen.comm in DAEMONS)
