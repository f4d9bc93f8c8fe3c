"""What unit tests share: captured files, trees laid in a temporary directory."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import settings

from cgexporter import host

_FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"

# A busy machine is no failure; the whole test still has the time limit of pyproject.toml.
# In CI the examples are the same each time, so that a run says something of the change alone.
settings.register_profile("unit", deadline=None, derandomize=os.environ.get("CI") == "true")
settings.load_profile("unit")


@pytest.fixture(scope="session")
def fixture() -> Callable[[str], bytes]:
    """Read one file of the captured trees, by its path below tests/fixtures."""
    return lambda path: (_FIXTURES / path).read_bytes()


@pytest.fixture
def lay(tmp_path: Path) -> Callable[[Mapping[str, str]], Path]:
    """Write files, by path below the temporary directory, and return that directory.

    A path that ends with "/" is a directory; a content that begins with "->" is a link.
    """

    def lay_files(files: Mapping[str, str]) -> Path:
        for name, content in files.items():
            place = tmp_path / name
            if name.endswith("/"):
                place.mkdir(parents=True, exist_ok=True)
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            if content.startswith("->"):
                place.unlink(missing_ok=True)
                place.symlink_to(content.removeprefix("->"))
            else:
                place.write_text(content)
        return tmp_path

    return lay_files


@pytest.fixture(scope="session")
def count_descriptors() -> Callable[[], int]:
    """Count this process' open descriptors, without the one that counting takes."""
    return lambda: len(os.listdir("/proc/self/fd")) - 1


@pytest.fixture
def replace_calls(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Give `cgexporter.kernel`, and nobody else, other functions for some of `os`."""
    calls = dict(vars(os))

    def replace(**functions: object) -> None:
        calls.update(functions)
        monkeypatch.setattr(host, "os", SimpleNamespace(**calls))

    return replace
