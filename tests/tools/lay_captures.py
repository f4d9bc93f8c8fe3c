"""Lay the captures of single containers over each other into host trees.

    lay_captures.py CAPTURES_DIR OUT_DIR

A capture is one folder per container: ``cgroup/`` (its cgroup and those below),
``ancestors/``, ``proc/`` (its first process) and ``host/`` (host facts of that moment).
A tree looks like a host's root. ``tests/fixtures/captures.toml`` says which captures make
which tree. Files are copied byte for byte; running twice gives the same trees.
"""

import shutil
import sys
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

RECIPES = tomllib.loads((Path(__file__).parents[1] / "fixtures/captures.toml").read_text())
KEEP: dict[str, list[str]] = RECIPES["keep"]
DROP: dict[str, list[str]] = RECIPES["drop"]
STARTED: dict[str, str] = RECIPES["started"]
NOTE: dict[str, str] = RECIPES["note"]

# Fixed inode numbers of the initial namespaces: include/linux/proc_ns.h, PROC_*_INIT_INO.
INITIAL_NAMESPACES = (
    *("time:[4026531834]", "cgroup:[4026531835]", "pid:[4026531836]"),
    *("user:[4026531837]", "uts:[4026531838]", "ipc:[4026531839]"),
)
# What /proc/mounts shows of the mount, before the options of its superblock.
MOUNT_OPTIONS = ("ro", "rw", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "relatime")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """One ``[[tree]]`` of captures.toml, which explains the fields."""

    name: str
    host: str
    captures: list[str]
    system: str
    runtimes: str
    service: str | None = None
    remarks: Iterable[str] = ()


@dataclass(frozen=True, slots=True)
class Mount:
    """One cgroup mount of the host."""

    source: str
    point: str
    fstype: str
    options: list[str]


@dataclass(frozen=True, slots=True)
class Capture:
    """What was captured of one container."""

    name: str
    path: Path

    def text(self, file: str) -> str:
        """Return a captured file's text."""
        return (self.path / file).read_text()

    @property
    def uptime_seconds(self) -> float:
        """Host uptime when captured."""
        return float(self.text("host/uptime").split()[0])

    @property
    def pid(self) -> int:
        """PID of the captured process, as the host numbers it."""
        return int(self.text("proc/stat").split()[0])

    @property
    def namespaces(self) -> dict[str, str]:
        """Namespace kind → link text, such as ``pid:[4026531836]``."""
        lines = (line.split() for line in self.text("proc/ns").splitlines())
        return {kind: target for kind, target in lines if kind in KEEP["namespaces"]}

    @property
    def cgroup(self) -> str:
        """The v2 path (on pure v1 that of memory), then the laid hierarchies that differ."""
        lines = [line.split(":", 2)[1:] for line in self.text("proc/cgroup").splitlines()]
        laid = {names: path for names, path in lines if not names or is_laid(names.split(","))}
        path = laid.get("") or laid["memory"]
        strays = [f", {names} `{other}`" for names, other in laid.items() if other != path]
        return f"`{path}`" + "".join(strays)

    def cgroup_mounts(self) -> Iterator[Mount]:
        """Yield the host's cgroup mounts, of all hierarchies."""
        for line in self.text("host/mounts").splitlines():
            source, point, fstype, options, *_ = line.split(" ")
            if fstype in ("cgroup", "cgroup2"):
                yield Mount(source, point, fstype, options.split(","))


def is_laid(controllers: Iterable[str]) -> bool:
    """Whether a v1 hierarchy of these controllers belongs in a tree."""
    return not set(KEEP["controllers"]).isdisjoint(controllers)


def copy(source: Path, target: Path) -> None:
    """Copy a file's bytes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(source.read_bytes())


def lay_cgroups(capture: Capture, root: Path) -> None:
    """Copy the files of the container's cgroup, of those below and of all ancestors."""
    for mount in capture.cgroup_mounts():
        if mount.fstype == "cgroup2" or is_laid(mount.options):
            for part in (capture.path / "ancestors", capture.path / "cgroup"):
                for file in (part / mount.point.lstrip("/")).rglob("*"):
                    if file.is_file() and file.name not in DROP["cgroup_files"]:
                        copy(file, root / file.relative_to(part))


def lay_namespaces(namespaces: dict[str, str], process: Path) -> None:
    """Make the links of ``/proc/PID/ns``; as in the kernel, they lead nowhere."""
    (process / "ns").mkdir(parents=True)
    for kind, target in namespaces.items():
        (process / "ns" / kind).symlink_to(target)


def host_mounts(service: Capture) -> Iterator[str]:
    """Yield lines of a service's mountinfo; refuse one that is not the host's view."""
    for line in service.text("proc/mountinfo").splitlines():
        top, point = line.split()[3:5]
        is_cgroup = line.split(" - ")[1].startswith("cgroup")
        if is_cgroup and top != "/":
            raise SystemExit(f"{service.name}: {point} shows {top}, not the host's root")
        if is_cgroup or point in ("/", "/proc", "/sys", "/sys/fs/cgroup"):
            yield line


def made_mounts(capture: Capture) -> Iterator[str]:
    """Yield mountinfo lines made from the host's ``/proc/mounts``."""
    for number, mount in enumerate(capture.cgroup_mounts(), start=24):
        options = ",".join(o for o in mount.options if o in MOUNT_OPTIONS)
        superblock = ",".join(["rw", *(o for o in mount.options if o not in MOUNT_OPTIONS)])
        place = f"{number} 23 0:{number} / {mount.point}"
        yield f"{place} {options} - {mount.fstype} {mount.source} {superblock}"


def lay_tree(tree: Tree, host: Path, root: Path) -> None:
    """Make one tree anew."""
    shutil.rmtree(root, ignore_errors=True)
    captures = [Capture(name, host / name) for name in tree.captures]
    captures.sort(key=lambda capture: capture.uptime_seconds)
    for capture in captures:
        lay_cgroups(capture, root)
        process = root / "proc" / str(capture.pid)
        for name in KEEP["process_files"]:
            copy(capture.path / "proc" / name, process / name)
        lay_namespaces(capture.namespaces, process)
    latest = captures[-1]
    for name in KEEP["host_files"]:
        copy(latest.path / "host" / name.replace("/", "_"), root / "proc" / name)
    if tree.service:
        service = Capture(tree.service, host / tree.service)
        namespaces, mounts = service.namespaces, host_mounts(service)
        view = NOTE["with_service"].format(service=service.name)
    else:
        own = latest.namespaces.items()
        namespaces = {kind: target for kind, target in own if target in INITIAL_NAMESPACES}
        mounts, view = made_mounts(latest), NOTE["without_service"]
    lay_namespaces(namespaces, root / "proc/1")
    (root / "proc/1/mountinfo").write_text("".join(f"{line}\n" for line in mounts))
    note = NOTE["text"].format(
        tree=tree,
        kernel=latest.text("host/version").split()[2],
        rows="\n".join(
            f"| {c.name} | {c.uptime_seconds:.2f} | {c.pid} | `{STARTED[c.name]}` | {c.cgroup} |"
            for c in captures
        ),
        dropped=", ".join(DROP["cgroup_files"]),
        kept=", ".join(KEEP["process_files"]),
        remarks="\n".join(f"- {remark}" for remark in (view, *tree.remarks)),
    )
    (root / "NOTE.md").write_text(note)


def main() -> None:
    """Lay every tree of captures.toml."""
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    captures_dir, out_dir = map(Path, sys.argv[1:])
    for table in RECIPES["tree"]:
        tree = Tree(**table)
        lay_tree(tree, captures_dir / tree.host, out_dir / tree.name)


if __name__ == "__main__":
    main()
