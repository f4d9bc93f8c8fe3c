"""Fixtures: guests that run, one at a time, with the exporter in them."""

import os
import shutil
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.lab import build, exporter
from tests.lab.image import image
from tests.lab.machine import Guest
from tests.lab.observed import Observation
from tests.lab.states import STATES, STOP_LOADS

_IS_WANTED = os.environ.get("CGEXPORTER_LAB", "") not in ("", "0")
# Modules, each of which goes to one worker: what takes longest first, so that none has it left over
# at the end. Each of two begins with two: the third and the fourth want no guest.
_ORDER = ("chart", "hosts", "explain", "documents", "doctor", "kubelet", "unit", "provoked")
_GUESTS = pytest.StashKey["Guests"]()


def _wanted(item: pytest.Item) -> str:
    """Its guest: by a parameter that names a state, or else by the mark `guest`."""
    params = (
        item.callspec.params.values()
        if isinstance(item, pytest.Function) and hasattr(item, "callspec")
        else ()
    )
    names = [value for value in params if value in STATES]
    mark = item.get_closest_marker("guest")
    return str(names[0] if names else mark.args[0] if mark else "")


def _late(item: pytest.Item) -> int:
    """How much a test changes the guest for those behind it: the mark `last`."""
    mark = item.get_closest_marker("last")
    return 0 if mark is None else mark.kwargs.get("of_all", False) + 1


def _place(item: pytest.Item) -> tuple[int, int, int]:
    """Where among the others it runs: what others must not see changed before what changes it."""
    guests = ("", "cluster", *STATES)
    module = item.path.stem.removeprefix("test_")
    place = _ORDER.index(module) if module in _ORDER else len(_ORDER)
    return place, guests.index(_wanted(item)), _late(item)


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Generator[None, None, None]:
    """Guests take their time, and a process has one at a time: tests of one go together."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.timeout(900))
    yield  # pytest deselects, and has its own order
    mine = [item for item in items if item.path.is_relative_to(here)]
    mine.sort(key=_place)
    items[:] = [item for item in items if item not in mine] + mine


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """A guest that tests have changed is not for those of another module."""
    made = item.config.stash.get(_GUESTS, None)
    if made and _late(item) and (nextitem is None or nextitem.path != item.path):
        made.stop()


def _unavailable() -> str | None:
    """Why no guest can run here now."""
    if not _IS_WANTED:
        return "`python3 dev.py lab` runs the tests of the laboratory"
    if absent := [program for program in build.TOOLS if shutil.which(program) is None]:
        packages = sorted({build.TOOLS[program] for program in absent})
        return f"{', '.join(absent)} not installed (Debian packages {', '.join(packages)})"
    if not image().home.exists():
        return "no image is built: python3 dev.py lab-build"
    return None


def _skip(reason: str) -> None:
    """Say why guests cannot be had; in CI that is a failure."""
    if _IS_WANTED and os.environ.get("CI") == "true":
        pytest.fail(f"CI must have it: {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def lab() -> None:
    """What the laboratory is made of; skips where it is not asked for or not there."""
    if reason := _unavailable():
        _skip(reason)


@pytest.fixture(scope="session")
def program(lab: None) -> Path:
    """A disk with the wheel of this checkout and those that it needs."""
    return exporter.disk(image().python)


def observation(wanted: Observation) -> Any:
    """What was seen in a guest when the laboratory was built."""
    if not wanted.file.exists():
        _skip(f"{wanted.name} are not built: python3 dev.py lab-build")
    return wanted.read()


@contextmanager
def running(name: str, home: Path, program: Path) -> Iterator[Guest]:
    """A guest that goes on from a saved state, with the exporter installed."""
    state = STATES[name]
    if not state.home.exists():
        _skip(f"state {name} is not built: python3 dev.py lab-build")
    guest = state.guest(home, program)
    guest.niceness = state.niceness
    try:
        guest.start(state.home)
        if state.has_kubelet:
            guest.run(STOP_LOADS)
        exporter.install(guest)
        yield guest
    finally:
        guest.stop()


class Guests:
    """Guests by the name of their state. One runs, for all tests that want it in a row."""

    def __init__(self, tmp_path_factory: pytest.TempPathFactory, program: Path) -> None:
        self._homes = tmp_path_factory
        self._program = program
        self._now: tuple[str, Guest] | None = None
        self._stack = ExitStack()

    def get(self, name: str) -> Guest:
        """The one of a name; any other ends."""
        if self._now is None or self._now[0] != name:
            self.stop()
            home = self._homes.mktemp(name)
            self._now = name, self._stack.enter_context(running(name, home, self._program))
        return self._now[1]

    def stop(self) -> None:
        """End the one that runs."""
        self._now = None
        self._stack.close()


@pytest.fixture(scope="session")
def guests(
    program: Path, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[Guests]:
    """All guests that can be had."""
    made = pytestconfig.stash[_GUESTS] = Guests(tmp_path_factory, program)
    yield made
    made.stop()
