"""Where a host's cgroup hierarchies are: from mountinfo, or else from what the trees hold."""

import os.path
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cgexporter import kernel
from cgexporter.kernel import Missing
from cgexporter.model import Mode
from cgexporter.parse.formats import ParseError
from cgexporter.parse.proc import Mount, parse_cgroup_mounts

_KERNEL_PLACE = "/sys/fs/cgroup"
# Controllers whose files are read. A hierarchy that has none of them is not looked at.
_CONTROLLERS = frozenset(
    {
        *("cpu", "cpuacct", "cpuset", "memory", "blkio", "pids", "freezer"),
        *("hugetlb", "rdma", "misc"),
    }
)


class NoHierarchyError(Exception):
    """There is no cgroup hierarchy where it was looked for; the message says where."""


@dataclass(frozen=True, slots=True, eq=False)
class Hierarchy:
    """One mounted tree. `root` is the part of it that is mounted, "/" for all of it."""

    mount_point: str
    root: str
    controllers: frozenset[str]
    unified: bool

    def path(self, below: str) -> str:
        """Path of a cgroup as /proc/PID/cgroup has it, from the path below the mount."""
        return below if self.root == "/" else self.root + ("" if below == "/" else below)

    def below(self, path: str) -> str:
        """Where the cgroup with this path is below the mount point; empty for the root's."""
        return (path if self.root == "/" else path.removeprefix(self.root)).strip("/")

    def directory(self, path: str) -> str:
        """Directory of the cgroup with this path."""
        below = self.below(path)
        return f"{self.mount_point}/{below}" if below else self.mount_point


@dataclass(frozen=True, slots=True)
class Hierarchies:
    """All hierarchies of a host that are worth reading.

    Attributes:
        unified: the v2 tree, also where it has no controller (hybrid hosts).
        legacy: v1 trees by controller; co-mounted controllers share one.
        procfs: the host's procfs.
    """

    unified: Hierarchy | None
    legacy: Mapping[str, Hierarchy]
    procfs: str

    @property
    def mode(self) -> Mode:
        """How the host mounts them."""
        if not self.legacy:
            return Mode.UNIFIED
        return Mode.HYBRID if self.unified else Mode.LEGACY

    @property
    def all(self) -> Sequence[Hierarchy]:
        """Each tree once."""
        trees = dict.fromkeys(self.legacy.values())
        return [*trees, self.unified] if self.unified else [*trees]


def find(cgroupfs: str, procfs: str) -> Hierarchies:
    """Find the hierarchies mounted at or below `cgroupfs`.

    Our own mountinfo says where they are seen from here. In a captured tree, or where the
    host's trees are mounted elsewhere, mount points are taken relative to /sys/fs/cgroup.
    A tree without the mountinfo that belongs to it is told by its files.

    Args:
        cgroupfs: where the host's /sys/fs/cgroup is (``--path.cgroupfs``).
        procfs: where the host's /proc is (``--path.procfs``).

    Raises:
        NoHierarchyError: nothing was found; the message says what to do.
    """
    cgroupfs = os.path.normpath(cgroupfs)
    if not kernel.is_directory(procfs):
        raise NoHierarchyError(f"{procfs} is no directory: give the host's /proc as --path.procfs")
    if not kernel.is_directory(cgroupfs):
        raise NoHierarchyError(
            f"{cgroupfs} is no directory: give the host's /sys/fs/cgroup as --path.cgroupfs"
        )
    tried = []
    for process in ("self", "1"):
        mountinfo = f"{procfs}/{process}/mountinfo"
        content = kernel.read_path(mountinfo)
        if isinstance(content, Missing):
            tried.append(f"{mountinfo} is {content.value}")
            continue
        try:
            mounts = parse_cgroup_mounts(content)
        except ParseError as exc:
            tried.append(f"{mountinfo}: {exc}")
            continue
        for place in (cgroupfs, _KERNEL_PLACE):
            found = _below(mounts, place, cgroupfs, procfs)
            if found.all:
                return found
        tried.append(f"{mountinfo} has no cgroup mount that is seen below {cgroupfs}")
    found = _by_files(cgroupfs, procfs)
    if found.all:
        return found
    raise NoHierarchyError(
        f"no cgroup hierarchy at {cgroupfs}: {'; '.join(tried)}. Give --path.cgroupfs and "
        "--path.procfs of the same host"
    )


def _below(mounts: Sequence[Mount], place: str, cgroupfs: str, procfs: str) -> Hierarchies:
    unified = None
    legacy: dict[str, Hierarchy] = {}
    seen: set[str] = set()
    for mount in mounts:
        inside = mount.mount_point == place or mount.mount_point.startswith(place + "/")
        if not inside or mount.device in seen:
            continue
        where = cgroupfs + mount.mount_point[len(place) :]
        if not kernel.exists(f"{where}/cgroup.procs"):
            continue
        root = mount.root if ".." not in mount.root.split("/") else "/"
        if mount.fstype == "cgroup2":
            seen.add(mount.device)
            unified = Hierarchy(where, root, frozenset(), unified=True)
        elif controllers := mount.options & _CONTROLLERS:
            seen.add(mount.device)
            tree = Hierarchy(where, root, controllers, unified=False)
            legacy.update(dict.fromkeys(controllers, tree))
    return Hierarchies(unified, legacy, procfs)


def _by_files(cgroupfs: str, procfs: str) -> Hierarchies:
    """Tell trees by their files: every v2 cgroup has cgroup.controllers, no v1 one does."""
    unified = None
    legacy: dict[str, Hierarchy] = {}
    for where in (cgroupfs, *kernel.directories(cgroupfs)):
        if kernel.exists(f"{where}/cgroup.controllers"):
            unified = Hierarchy(where, "/", frozenset(), unified=True)
            if where == cgroupfs:
                break  # the others are its cgroups
        elif kernel.exists(f"{where}/cgroup.procs"):
            controllers = _CONTROLLERS & set(os.path.basename(where).split(","))
            tree = Hierarchy(where, "/", controllers, unified=False)
            legacy.update(dict.fromkeys(controllers, tree))
    return Hierarchies(unified, legacy, procfs)
