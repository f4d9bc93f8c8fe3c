"""What naming costs in memory stays small."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def test_identity_memory(repository: Path) -> None:
    """250 containers with all steps cost at most 6 MiB more than with none."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    done = subprocess.run(
        [sys.executable, repository / "bench/identity_memory.py", "--limit", "6"],
        capture_output=True,
        text=True,
        check=False,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
