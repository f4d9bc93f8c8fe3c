"""What all tests share."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent


def pytest_addoption(parser: pytest.Parser) -> None:
    """Flags that write expected files anew instead of comparing with them."""
    parser.addoption("--update-golden", action="store_true", help="write tests/golden anew")
    parser.addoption("--update-docs", action="store_true", help="write printed docs anew")


@pytest.fixture(scope="session")
def fixtures() -> Path:
    """The captured trees."""
    return TESTS / "fixtures"


@pytest.fixture(scope="session")
def repository() -> Path:
    """The checkout."""
    return TESTS.parent


@pytest.fixture(autouse=True)
def same_log_level() -> Iterator[None]:
    """What a test lets the program log is no other test's level."""
    root = logging.getLogger()
    level = root.level
    yield
    root.setLevel(level)
