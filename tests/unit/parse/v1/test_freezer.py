"""The freezer controller of cgroup v1."""

from collections.abc import Callable

import pytest

from cgexporter.parse.formats import ParseError
from cgexporter.parse.v1.freezer import parse_frozen

Fixture = Callable[[str], bytes]

D_CPU = (
    "v1-6.1-docker/sys/fs/cgroup/freezer/system.slice"
    "/docker-cf9c2ba28ed68940aa6075317dc8e31d2b9f75c08a89084cfa987cf6c71739f7.scope"
)


def test_running_container(fixture: Fixture) -> None:
    """A running container is not frozen."""
    assert parse_frozen(fixture(f"{D_CPU}/freezer.state")) == 0


@pytest.mark.parametrize(
    ("data", "frozen"), [(b"FROZEN\n", 1), (b"FREEZING\n", 0), (b"THAWED\n", 0), (b"FROZEN", 1)]
)
def test_states(data: bytes, frozen: int) -> None:
    """A cgroup that is still freezing has tasks that run, as v2's `frozen` counts it."""
    assert parse_frozen(data) == frozen


@pytest.mark.parametrize("data", [b"", b"\n", b"frozen\n", b"FROZEN THAWED\n", b"1\n", b"\xff"])
def test_malformed(data: bytes) -> None:
    """Any other word is refused."""
    with pytest.raises(ParseError, match="line 1: expected a freezer state"):
        parse_frozen(data)
