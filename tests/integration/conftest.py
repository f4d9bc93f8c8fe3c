"""Fixtures: real containers, and cgexporter as a real server."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from tests.integration.cgroups import Cgroups
from tests.integration.processes import Server
from tests.integration.runc import Runc
from tests.integration.support import need_root, program


class Serve(Protocol):
    """Starts a server of its own."""

    def __call__(self, *flags: str) -> Server:
        """Start one, with more flags if wanted, and wait until it listens."""


@pytest.fixture(scope="module")
def runc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runc]:
    """Starts containers; removes them when the module's tests are done, or failed."""
    need_root()
    runc = Runc(
        program("runc", "runc"),
        program("busybox", "busybox-static"),
        tmp_path_factory.mktemp("runc"),
    )
    yield runc
    runc.close()


@contextlib.contextmanager
def _servers(directory: Path) -> Iterator[Serve]:
    servers: list[Server] = []

    def start(*flags: str) -> Server:
        server = Server(directory / f"server-{len(servers)}.log", *flags)
        servers.append(server)
        server.wait_until_listening()
        return server

    try:
        yield start
        for server in servers:
            server.assert_stops()
    finally:
        for server in servers:
            server.kill()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts servers, with more flags if wanted; each must stop well when the test is done."""
    with _servers(tmp_path) as start:
        yield start


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server of this host for all tests of a module; it must stop well after them."""
    with _servers(tmp_path_factory.mktemp("server")) as start:
        yield start()


@pytest.fixture
def cgroups() -> Iterator[Cgroups]:
    """Makes cgroups; removes them when the test is done, or failed."""
    need_root()
    made = Cgroups()
    yield made
    made.close()
