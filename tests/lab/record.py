"""Recordings of the guests: the golden tests' inputs, and what shows that they show the same here.

python3 -m tests.lab.record
"""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.lab import exporter
from tests.lab.conftest import running
from tests.lab.image import image
from tests.lab.machine import Guest
from tests.lab.pods import KUBELET
from tests.lab.states import RECORDED

RECORDINGS = Path(__file__).resolve().parents[1] / "data/lab"
# Where a guest's names are that no file tells.
_NAMES: dict[str, Sequence[str]] = {"kubelet": ("--identity.kubelet", KUBELET)}
_SHOWN = ("--once", "--format", "json", "--from")


def record(guest: Guest, name: str, directory: Path) -> Path:
    """Record a guest of some name into a directory here, and leave the recording there too."""
    file = directory / f"{name}.tar.xz"
    names = " ".join(_NAMES.get(name, ()))
    guest.run(f"cgexporter record /lab/{file.name} --scans 2 {names}")
    guest.get(f"/lab/{file.name}", directory)
    return file


def shown_there(guest: Guest, recording: Path) -> bytes:
    """The containers of a recording as they are printed in the guest."""
    # The point keeps the last newline, which `run` would take.
    said = guest.run(f"cgexporter {' '.join(_SHOWN)} /lab/{recording.name} && echo .")
    return said.removesuffix(".").encode(errors="surrogateescape")


def shown_here(recording: Path) -> bytes:
    """The containers of a recording as they are printed here."""
    words = [sys.executable, "-m", "cgexporter", *_SHOWN, str(recording)]
    return subprocess.run(words, capture_output=True, check=True).stdout


def main() -> None:
    """Record each guest for the golden tests."""
    RECORDINGS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="cgexporter-lab-") as name:
        program = exporter.disk(image().python)
        for state in RECORDED:
            with running(state, Path(name) / state, program) as guest:
                file = record(guest, state, RECORDINGS)
            print(f"{file.name}: {file.stat().st_size} bytes", flush=True)


if __name__ == "__main__":
    main()
