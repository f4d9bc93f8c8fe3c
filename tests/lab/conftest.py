"""Fixtures: guests that run, one at a time, with the exporter in them."""

import os
import shutil
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.lab import build, exporter
from tests.lab.image import image
from tests.lab.machine import Guest
from tests.lab.states import STATES

# What was to be counted was counted before the state was saved; from then on it takes a guest's CPU
# from the tests. The brackets keep the pattern from finding itself.
_STOP_LOADS = "pkill -STOP -f 'while [:]; do|^stress-n[g]'; true"
_IS_WANTED = os.environ.get("CGEXPORTER_LAB", "") not in ("", "0")
# Which guest a test wants, in the order that they run: what wants none, and then, so that no worker
# has it left over at the end, what takes longest.
_ORDER = ("", "cluster", *STATES, "unit")
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


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Generator[None, None, None]:
    """Guests take their time, and a process has one at a time: tests of one go together."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.timeout(900))
    yield  # pytest deselects, and has its own order
    mine = [item for item in items if item.path.is_relative_to(here)]
    # What others must not see changed comes before what changes it.
    mine.sort(key=lambda item: (_ORDER.index(_wanted(item)), _late(item)))
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
def wheels(lab: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout and those that it needs."""
    return exporter.wheels(tmp_path_factory.mktemp("wheels"), image().python)


@contextmanager
def running(name: str, home: Path, wheels: Path) -> Iterator[Guest]:
    """A guest that goes on from a saved state, with the exporter installed."""
    state = STATES[name]
    if not state.home.exists():
        _skip(f"state {name} is not built: python3 dev.py lab-build")
    guest = state.guest(home)
    try:
        guest.start(state.home)
        guest.run(_STOP_LOADS)
        exporter.install(guest, wheels)
        yield guest
    finally:
        guest.stop()


class Guests:
    """Guests by the name of their state. One runs, for all tests that want it in a row."""

    def __init__(self, tmp_path_factory: pytest.TempPathFactory, wheels: Path) -> None:
        self._homes = tmp_path_factory
        self._wheels = wheels
        self._now: tuple[str, Guest] | None = None
        self._stack = ExitStack()

    def get(self, name: str) -> Guest:
        """The one of a name; any other ends."""
        if self._now is None or self._now[0] != name:
            self.stop()
            home = self._homes.mktemp(name)
            self._now = name, self._stack.enter_context(running(name, home, self._wheels))
        return self._now[1]

    def stop(self) -> None:
        """End the one that runs."""
        self._now = None
        self._stack.close()


@pytest.fixture(scope="session")
def guests(
    wheels: Path, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[Guests]:
    """All guests that can be had."""
    made = pytestconfig.stash[_GUESTS] = Guests(tmp_path_factory, wheels)
    yield made
    made.stop()
