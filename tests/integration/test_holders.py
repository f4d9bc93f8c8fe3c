"""A container that calls its cgroups like containers, and one that really has others in it."""

import contextlib
import json
import os
import secrets
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.integration.cgroups import give_cpus, remove_empty
from tests.integration.processes import output
from tests.integration.reading import hierarchies
from tests.integration.runc import Container, Runc
from tests.integration.support import eventually, program

# uid 0 that may look into no process and pass over no file mode.
PREFIXES = [(), ("setpriv", "--bounding-set=-all", "--inh-caps=-all")]


@contextlib.contextmanager
def cgroup(path: str) -> Iterator[list[Path]]:
    """A cgroup in every hierarchy, as whoever is root in a privileged container may make it."""
    directories = [tree.mount_point / path.lstrip("/") for tree in hierarchies()]
    made = []
    for directory in directories:
        for new in (directory.parent, directory):
            if not new.exists():
                new.mkdir()
                give_cpus(new)
                made.append(new)
    try:
        yield directories
    finally:
        for directory in made[::-1]:
            remove_empty(directory)


def last_of(pid: int) -> int:
    """The process that a chain of programs has come to: sleep."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    if children:
        return last_of(int(children[0]))
    return pid if Path(f"/proc/{pid}/comm").read_text() == "sleep\n" else 0


@contextlib.contextmanager
def running(command: Sequence[str], cgroups: Sequence[Path]) -> Iterator[None]:
    """The last process of a command is in these cgroups."""
    process = subprocess.Popen(command)
    last = 0
    try:
        last = eventually(lambda: last_of(process.pid), "the process")
        for path in cgroups:
            (path / "cgroup.procs").write_text(str(last))
        yield
    finally:
        if last:
            os.kill(last, signal.SIGKILL)
        process.kill()
        process.wait()


def seen(prefix: Sequence[str], around: str) -> tuple[set[str], set[str]]:
    """Paths of containers and of holders on this host, of those at and below a cgroup."""
    document = json.loads(output("--once", "--format", "json", prefix=prefix))
    containers = {each["cgroup"] for each in document["containers"]}
    holders = {each["cgroup"] for each in document["cgroups"] if each["level"] == "holder"}
    return (
        {path for path in containers if (path + "/").startswith(around + "/")},
        {path for path in holders if (path + "/").startswith(around + "/")},
    )


@pytest.fixture
def outer(runc: Runc) -> tuple[Container, str]:
    """A container of runc where Docker has its own."""
    path = f"/docker/{secrets.token_hex(32)}"
    return runc.run(f"o{path[-4:]}", "sleep 3600", resources={}, cgroups_path=path), path


@pytest.mark.parametrize("prefix", PREFIXES, ids=["root", "no capability"])
def test_forged(outer: tuple[Container, str], prefix: Sequence[str]) -> None:
    """Cgroups of any name, empty or with its own processes, leave a container what it is."""
    program("setpriv", "util-linux")
    container, path = outer
    # One more process of the container: in its namespaces, all of them.
    inside = ["nsenter", "-t", str(container.pid), "-a", "/bin/sleep", "3600"]
    with (
        cgroup(f"{path}/docker-{secrets.token_hex(32)}.scope"),
        cgroup(f"{path}/docker-{secrets.token_hex(32)}.scope") as forged,
        running(inside, forged),
    ):
        assert seen(prefix, path) == ({path}, set())


@pytest.mark.parametrize("prefix", PREFIXES, ids=["root", "no capability"])
@pytest.mark.parametrize("way", ["pid", "net"])
def test_held(outer: tuple[Container, str], prefix: Sequence[str], way: str) -> None:
    """A process deeper in PID namespaces, or on a network of its own, is a container's."""
    program("setpriv", "util-linux")
    container, path = outer
    inner = f"{path}/docker-{secrets.token_hex(32)}.scope"
    enter = ["nsenter", "-t", str(container.pid), "-p", "-n"]
    unshare = ["--pid", "--fork"] if way == "pid" else ["--net"]
    with cgroup(inner) as real, running([*enter, "unshare", *unshare, "sleep", "3600"], real):
        eventually(lambda: seen(prefix, path) == ({inner}, {path}), "a container in a container")
