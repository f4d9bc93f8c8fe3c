"""Kubernetes quantities."""

import pytest

from cgexporter.resources.quantity import quantity


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("100m", 0.1),
        ("1", 1),
        ("1.5", 1.5),
        (".5", 0.5),
        ("2.", 2),
        ("250u", 0.00025),
        ("100n", 1e-7),
        ("128Mi", 128 * 2**20),
        ("1.5Gi", 1.5 * 2**30),
        ("1Ei", 2**60),
        ("64Ki", 65536),
        ("1k", 1000),
        ("5M", 5_000_000),
        ("1e3", 1000),
        ("12E2", 1200),
        ("1E", 10**18),
        ("1e-3", 0.001),
        ("0", 0),
    ],
)
def test_quantities(text: str, value: float) -> None:
    """Each suffix means what Kubernetes says it means."""
    assert quantity(text) == value


@pytest.mark.parametrize(
    "text", ["", "m", "1 Gi", "1KI", "1mi", "NaN", "1e999999999", "1" * 65, "-"]
)
def test_no_quantity(text: str) -> None:
    """What is no quantity is nothing."""
    assert quantity(text) is None
