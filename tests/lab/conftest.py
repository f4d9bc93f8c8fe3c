"""Fixtures: guests that run, one at a time, with the exporter in them."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import build, exporter
from tests.lab.image import image
from tests.lab.machine import Guest
from tests.lab.states import STATES

# Guests are twelve times slower than their host, and an hour may not be enough to build them.
pytestmark = pytest.mark.timeout(900)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Guests take their time, and there is one at a time: tests of one go together."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.timeout(900))


def _unavailable() -> str | None:
    """Why no guest can run here now."""
    if "CGEXPORTER_LAB" not in os.environ:
        return "`python3 dev.py lab` runs the tests of the laboratory"
    if absent := [program for program in build.TOOLS if shutil.which(program) is None]:
        packages = sorted({build.TOOLS[program] for program in absent})
        return f"{', '.join(absent)} not installed (Debian packages {', '.join(packages)})"
    if not image().home.exists():
        return "no image is built: python3 dev.py lab-build"
    return None


def _skip(reason: str) -> None:
    """Say why guests cannot be had; in CI that is a failure."""
    if "CGEXPORTER_LAB" in os.environ and os.environ.get("CI") == "true":
        pytest.fail(f"CI must have it: {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def lab() -> None:
    """What the laboratory is made of; skips where it is not asked for or not there."""
    if reason := _unavailable():
        _skip(reason)


@pytest.fixture(scope="session")
def wheels(lab: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout and those that it needs."""
    return exporter.wheels(tmp_path_factory.mktemp("wheels"), image().python)


def start(name: str, home: Path, wheels: Path) -> Iterator[Guest]:
    """A guest that goes on from a saved state, with the exporter installed."""
    state = STATES[name]
    if not state.home.exists():
        _skip(f"state {name} is not built: python3 dev.py lab-build")
    guest = state.guest(home)
    try:
        guest.start(state.home)
        exporter.install(guest, wheels)
        yield guest
    finally:
        guest.stop()
