"""cgroup core files."""

from collections.abc import Callable

import pytest

from cgexporter.parse.core import (
    CgroupEvents,
    CgroupStat,
    parse_cgroup_events,
    parse_cgroup_procs,
    parse_cgroup_stat,
)
from cgexporter.parse.formats import ParseError

Fixture = Callable[[str], bytes]

V2 = "v2-6.1-systemd/sys/fs/cgroup"
D_CPU = f"{V2}/system.slice/docker-8714cc23d00282e75e1f1210381f4a61db12858c635d7dd64f30d314b7c4e6ed"


def test_container(fixture: Fixture) -> None:
    """A running container is populated, not frozen, and has no cgroup below."""
    assert parse_cgroup_events(fixture(f"{D_CPU}.scope/cgroup.events")) == CgroupEvents(1, 0)
    assert parse_cgroup_stat(fixture(f"{D_CPU}.scope/cgroup.stat")) == CgroupStat(0, 0)


def test_root(fixture: Fixture) -> None:
    """The root counts every cgroup, and the dying ones apart."""
    assert parse_cgroup_stat(fixture(f"{V2}/cgroup.stat")) == CgroupStat(
        nr_descendants=47, nr_dying_descendants=33
    )


def test_newer_and_older_kernels() -> None:
    """A key that is new is ignored; before Linux 5.2 cgroup.events has no `frozen`."""
    data = b"nr_descendants 3\nnr_subsys_cpu 4\nnr_dying_descendants 1\nnr_dying_subsys_cpu 2\n"
    assert parse_cgroup_stat(data) == CgroupStat(3, 1)
    assert parse_cgroup_events(b"populated 1\n") == CgroupEvents(populated=1)


def test_captured_newer_kernel(fixture: Fixture) -> None:
    """cgroup.stat of Linux 6.18 has a line for each controller."""
    data = fixture("hybrid-6.18-docker-cgroupfs/sys/fs/cgroup/unified/cgx-lab-docker/cgroup.stat")
    assert data.count(b"\n") > 2
    assert parse_cgroup_stat(data) == CgroupStat(2, 0)


def test_processes(fixture: Fixture) -> None:
    """PIDs, in the order in which they joined."""
    assert parse_cgroup_procs(fixture(f"{D_CPU}.scope/cgroup.procs")) == [621]
    assert parse_cgroup_procs(b"20\n3\n100\n") == [20, 3, 100]
    assert parse_cgroup_procs(b"") == []


def test_processes_of_another_namespace() -> None:
    """Across a PID namespace the kernel prints 0, which is no process."""
    assert parse_cgroup_procs(b"0\n0\n17\n0\n") == [17]


@pytest.mark.parametrize("line", ["populated", "populated x", "populated 1 2", "populated -1"])
def test_malformed_line(line: str) -> None:
    """A line that is not KEY VAL is refused, and named."""
    with pytest.raises(ParseError, match="line 2"):
        parse_cgroup_events(f"frozen 0\n{line}\n".encode())
    with pytest.raises(ParseError, match="line 2"):
        parse_cgroup_stat(f"nr_descendants 0\n{line}\n".encode())


@pytest.mark.parametrize("data", [b"x\n", b"-1\n", b"1 2\n", b"1\n\n2\n"])
def test_malformed_processes(data: bytes) -> None:
    """A line that is no PID is refused."""
    with pytest.raises(ParseError):
        parse_cgroup_procs(data)
