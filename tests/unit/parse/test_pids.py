"""pids controller files, of v1 and v2."""

import math
from collections.abc import Callable

import pytest

from cgexporter.parse.formats import ParseError, single_limit, single_value
from cgexporter.parse.pids import parse_pids_events

Fixture = Callable[[str], bytes]

V2 = "v2-6.1-systemd/sys/fs/cgroup/system.slice"
V1 = "v1-6.1-docker/sys/fs/cgroup/pids/system.slice"
D_CPU_V2 = f"{V2}/docker-8714cc23d00282e75e1f1210381f4a61db12858c635d7dd64f30d314b7c4e6ed.scope"
D_CPU_V1 = f"{V1}/docker-cf9c2ba28ed68940aa6075317dc8e31d2b9f75c08a89084cfa987cf6c71739f7.scope"


@pytest.mark.parametrize("cgroup", [D_CPU_V2, D_CPU_V1])
def test_container(fixture: Fixture, cgroup: str) -> None:
    """The files are the same on v1 and v2."""
    assert single_value(fixture(f"{cgroup}/pids.current")) == 1
    assert single_value(fixture(f"{cgroup}/pids.peak")) == 6
    assert single_limit(fixture(f"{cgroup}/pids.max")) == 50
    assert parse_pids_events(fixture(f"{cgroup}/pids.events")) == 0


def test_unlimited(fixture: Fixture) -> None:
    """A slice without a limit says `max`."""
    assert single_limit(fixture("v2-6.1-systemd/sys/fs/cgroup/lab.slice/pids.max")) == math.inf


def test_events() -> None:
    """How often the limit refused a fork; absent in an empty file, other keys ignored."""
    assert parse_pids_events(b"max 12\n") == 12
    assert parse_pids_events(b"max.local 3\nmax 12\n") == 12
    assert parse_pids_events(b"") is None


@pytest.mark.parametrize("data", [b"max\n", b"max x\n", b"max max\n", b"max 1 2\n"])
def test_malformed_events(data: bytes) -> None:
    """A line that is not KEY VAL is refused, and named."""
    with pytest.raises(ParseError, match="line 1"):
        parse_pids_events(data)
