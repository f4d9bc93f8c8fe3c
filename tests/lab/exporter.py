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
_VENV = "/opt/cgexporter"
_PROGRAM = f"{_VENV}/bin/cgexporter"
_UNIT = "cgexporter"
NOBODY = ("-p", "User=65534", "-p", "Group=65534", "-p", "NoNewPrivileges=yes")
NO_CAPABILITY = ("-p", "CapabilityBoundingSet=", "-p", "AmbientCapabilities=")
_PATIENCE_SECONDS = 60.0


def wheels(directory: Path, python: str) -> Path:
    """Build the wheel of this checkout and get those that it needs, for a version of Python."""
    _pip("wheel", "--no-deps", "--wheel-dir", str(directory), str(_ROOT))
    (own,) = directory.glob("*.whl")
    _pip("download", "--dest", str(directory), *_of(python), str(own))
    return directory


def install(guest: Guest, wheels_: Path) -> None:
    """Install the wheels, and what the independent reading needs.

    This machine's pip unpacks them: the guest's own takes half a minute for it.
    """
    python = guest.image.python
    site = wheels_.with_name("site-packages")
    if not site.exists():
        found = ("--no-index", "--find-links", str(wheels_))
        _pip("install", *found, "--target", str(site), *_of(python), "cgexporter")
    guest.put([Path(reading.__file__)], "/lab")
    guest.put([site], f"{_VENV}/lib/python{python}")
    # Its first line names the Python that installed it.
    script = f"{_VENV}/lib/python{python}/site-packages/bin/cgexporter"
    guest.run(
        f"sed '1s,.*,#!{_VENV}/bin/python3,' {script} >{_PROGRAM} && chmod 755 {_PROGRAM} "
        f"&& ln -sf {_PROGRAM} /usr/local/bin/"
    )


def _of(python: str) -> Sequence[str]:
    return (
        *("--only-binary=:all:", "--python-version", python),
        *("--platform", "manylinux2014_x86_64"),
    )


def _pip(*words: str) -> None:
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    subprocess.run([*pip, *words], check=True)


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


def named_page(guest: Guest) -> list[Sample]:
    """Scrape the service until every container has its name: they are told behind the first scan.

    Raises:
        GuestError: some have none; with their labels.
    """
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        lines = samples(page(guest))
        (unresolved,) = (s.value for s in lines if s.name == "cgexporter_identity_unresolved")
        if not unresolved:
            return lines
        if time.monotonic() > deadline:
            raise GuestError("\n".join(f"{s.labels}" for s in lines if s.name.endswith("r_info")))
        time.sleep(0.5)


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
