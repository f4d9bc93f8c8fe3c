"""Held files of real cgroups, read ahead by io_submit and one by one."""

from collections.abc import Iterator

import pytest

from cgexporter.hierarchies import find
from cgexporter.scan import Scanner
from tests.integration.cgroups import Cgroups


@pytest.fixture
def scanners() -> Iterator[list[Scanner]]:
    """One that reads ahead, and one that does not."""
    made = [Scanner(find("/sys/fs/cgroup", "/proc"), max_open_files=500) for _ in range(2)]
    made[0].read_ahead()
    yield made
    for scanner in made:
        scanner.close()


def test_same_samples(scanners: list[Scanner], cgroups: Cgroups) -> None:
    """In each scan both see the same of cgroups that come, change, and go."""
    ids = [cgroups.new_id() for _ in range(60)]
    for count in range(6):
        for each in ids[count * 10 : count * 10 + 10]:
            cgroups.make(each, {"pids.max": f"{100 + count}", "memory.limit_in_bytes": "33554432"})
        for each in ids[max(0, count - 3) * 10 : max(0, count - 3) * 10 + 10]:
            for directory in cgroups.directories(each):
                for name in ("pids.max", "cpu.shares", "cpu.weight"):
                    if (directory / name).exists():
                        (directory / name).write_text(f"{500 + count}")
        ours, others = (
            {path: c for path, c in scanner.scan().cgroups.items() if cgroups.run in path}
            for scanner in scanners
        )
        assert len(ours) == 10 * count + 10
        assert ours == others
    for each in ids[::2]:
        cgroups.remove(each)
    ours, others = (
        {path: c for path, c in scanner.scan().cgroups.items() if cgroups.run in path}
        for scanner in scanners
    )
    assert len(ours) == 30
    assert ours == others
    assert scanners[0].descriptors.held > 30
