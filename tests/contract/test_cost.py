"""A scrape costs no more instructions than it did: counted, so that a busy machine is no excuse."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# Scrapes of a captured host, in loops of plain Python: what bench/instructions.py printed when
# this was written, on CPython 3.11. Other versions differ by some percent.
RECORDED = 1.23
TOLERANCE = 1.3


@pytest.mark.timeout(900)
def test_instructions(repository: Path) -> None:
    """No large regression: `python3 bench/instructions.py COMMIT` finds where one came from."""
    if shutil.which("valgrind") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("valgrind is missing: python3 dev.py tools")
        pytest.skip("valgrind is missing: python3 dev.py tools")
    done = subprocess.run(
        [sys.executable, repository / "bench/instructions.py"],
        capture_output=True,
        text=True,
        check=True,
    )
    loops = float(done.stdout.split()[3])
    assert 0.3 * RECORDED < loops < TOLERANCE * RECORDED, done.stdout
