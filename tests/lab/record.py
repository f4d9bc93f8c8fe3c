"""Recordings of the guests: the golden tests' inputs, and what shows that they show the same here.

python3 -m tests.lab.record
"""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.lab import exporter, workloads
from tests.lab.conftest import running
from tests.lab.image import image
from tests.lab.machine import Guest
from tests.lab.states import STATES

RECORDINGS = Path(__file__).resolve().parents[1] / "data/lab"
_MAX_BYTES = 300_000
# Where a guest's names are that no file tells.
_NAMES: dict[str, Sequence[str]] = {"kubelet": ("--identity.kubelet", "http://127.0.0.1:10255")}
_SHOWN = (
    ("--once", "--format", "json"),
    ("--once", "--format", "json", "--interval", "1s"),
    ("doctor", "--format", "json"),
    ("namespaces", "--format", "json"),
)


def record(guest: Guest, name: str, directory: Path) -> Path:
    """Record a guest of some name into a directory here, and leave the recording there too."""
    file = directory / f"{name}.tar.xz"
    guest.run(f"cgexporter record /lab/{file.name} --scans 2 {' '.join(_NAMES.get(name, ()))}")
    guest.get(f"/lab/{file.name}", directory)
    return file


def shown_there(guest: Guest, recording: Path) -> dict[str, bytes]:
    """What each command makes of a recording in the guest, by its words."""
    found = {}
    for words in map(" ".join, _SHOWN):
        # The point keeps the last newline, which `run` would take.
        said = guest.run(f"cgexporter {words} --from /lab/{recording.name} && echo .")
        found[words] = said.removesuffix(".").encode(errors="surrogateescape")
    return found


def shown_here(recording: Path) -> dict[str, bytes]:
    """What each command makes of a recording here, by its words."""
    return {
        " ".join(words): subprocess.run(
            [sys.executable, "-m", "cgexporter", *words, "--from", recording],
            capture_output=True,
            check=True,
        ).stdout
        for words in _SHOWN
    }


def main() -> None:
    """Record each guest for the golden tests."""
    RECORDINGS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="cgexporter-lab-") as name:
        wheels = exporter.wheels(Path(name) / "wheels", image().python)
        for state in STATES:
            with running(state, Path(name) / state, wheels) as guest:
                if state != "kubelet":
                    workloads.find(guest)  # all of them run
                file = record(guest, state, RECORDINGS)
            if file.stat().st_size > _MAX_BYTES:
                sys.exit(f"{file} is larger than {_MAX_BYTES} bytes: what is in it?")
            print(f"{file.name}: {file.stat().st_size} bytes", flush=True)


if __name__ == "__main__":
    main()
