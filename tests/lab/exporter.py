"""cgexporter in a guest, installed there from the wheel of this checkout, as a user would."""

import contextlib
import json
import shlex
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.integration import reading
from tests.integration.seen import Sample, samples
from tests.lab.machine import EXPORTER_PORT, Guest, GuestError

_ROOT = Path(__file__).resolve().parents[2]
_PROGRAM = "/opt/cgexporter/bin/cgexporter"
_UNIT = "cgexporter"
NOBODY = ("-p", "User=65534", "-p", "Group=65534", "-p", "NoNewPrivileges=yes")
NO_CAPABILITY = ("-p", "CapabilityBoundingSet=", "-p", "AmbientCapabilities=")
_PATIENCE_SECONDS = 60.0


def wheels(directory: Path, python: str) -> Path:
    """Build the wheel of this checkout and get those that it needs, for a version of Python."""
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--wheel-dir", str(directory), str(_ROOT)], check=True
    )
    (own,) = directory.glob("*.whl")
    subprocess.run(
        [
            *(*pip, "download", "--dest", str(directory), "--only-binary=:all:"),
            *("--python-version", python, "--platform", "manylinux2014_x86_64", str(own)),
        ],
        check=True,
    )
    return directory


def install(guest: Guest, wheels_: Path) -> None:
    """Install it, and what the independent reading needs."""
    guest.put([wheels_, Path(reading.__file__)], "/lab")
    guest.run(
        "/opt/cgexporter/bin/pip install --quiet --no-index --no-compile "
        f"--find-links /lab/{wheels_.name} cgexporter && ln -sf {_PROGRAM} /usr/local/bin/"
    )


@contextlib.contextmanager
def served(guest: Guest, *flags: str, properties: Sequence[str] = ()) -> Iterator[None]:
    """Serve from a systemd service for the time of a `with` block.

    Args:
        guest: where it is installed.
        flags: of cgexporter.
        properties: of systemd-run, such as ``-p User=65534``.
    """
    words = (_PROGRAM, "--web.listen-address", f":{EXPORTER_PORT}", *flags)
    guest.run(f"systemd-run -q --collect --unit {_UNIT} {shlex.join((*properties, *words))}")
    try:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                page(guest, "/-/healthy")
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise GuestError(log(guest)) from None
                time.sleep(0.2)
        yield
    finally:
        guest.run(f"systemctl stop {_UNIT}")


def log(guest: Guest) -> str:
    """What the service has logged."""
    return guest.run(f"journalctl -q -o cat -u {_UNIT}")


def page(guest: Guest, path: str = "/metrics") -> str:
    """Scrape the service, over the forwarded port."""
    patience = {"X-Prometheus-Scrape-Timeout-Seconds": f"{_PATIENCE_SECONDS}"}
    asked = urllib.request.Request(f"{guest.url}{path}", headers=patience)
    with urllib.request.urlopen(asked, timeout=2 * _PATIENCE_SECONDS) as response:
        text: str = response.read().decode()
    return text


def once(guest: Guest, *flags: str, prefix: str = "") -> str:
    """Run it once in the guest; what it prints."""
    return guest.run(f"{prefix} {_PROGRAM} --once {shlex.join(flags)}")


def document(guest: Guest, *flags: str) -> Any:
    """Run it once; its JSON."""
    return json.loads(once(guest, "--format", "json", *flags))


def by_family(text: str) -> dict[str, list[Sample]]:
    """Samples of a page by name."""
    found: dict[str, list[Sample]] = {}
    for sample in samples(text):
        found.setdefault(sample.name, []).append(sample)
    return found
