"""cgexporter in a guest, installed there from the wheel of this checkout, as a user would."""

import contextlib
import json
import shlex
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.integration import reading
from tests.integration.seen import Sample, samples
from tests.lab.machine import EXPORTER_PORT, PROGRAM_BYTES, PROGRAM_DEVICE, Guest, GuestError
from tests.tools.cache import ROOT, digest, forget_others, making

_ROOT = Path(__file__).resolve().parents[2]
_VENV = "/opt/cgexporter"
_PROGRAM = f"{_VENV}/bin/cgexporter"
_UNIT = "cgexporter"
NOBODY = ("-p", "User=65534", "-p", "Group=65534", "-p", "NoNewPrivileges=yes")
NO_CAPABILITY = ("-p", "CapabilityBoundingSet=", "-p", "AmbientCapabilities=")
_PATIENCE_SECONDS = 180.0  # a guest beside another may get little of a CPU


def disk(python: str) -> Path:
    """A file system of the wheel of this checkout and those that it needs, for a version of Python.

    Made once for each state of what goes into the wheel. Unpacked here, and a disk to the guest:
    its own pip takes half a minute for it, and even to copy all files there takes ten seconds.
    """
    target = ROOT / "disks" / f"program-{digest(Path(__file__), python, *_sources())}.img"
    with making(target) as place:
        if place is not None:
            with tempfile.TemporaryDirectory(prefix="cgexporter-lab-") as name:
                site = wheels(Path(name) / "wheels", python)
                with place.open("wb") as file:
                    file.truncate(PROGRAM_BYTES)
                options = ("-O", "^has_journal", "-m", "0", "-d", str(site), str(place))
                subprocess.run(["mke2fs", "-q", "-t", "ext4", *options], check=True)
    forget_others(target, "program-*.img")
    return target


def _sources() -> list[Path]:
    return [_ROOT / name for name in ("cgexporter", "pyproject.toml", "README.md", "LICENSE")]


def wheels(directory: Path, python: str) -> Path:
    """Build the wheel of this checkout and unpack it, with those that it needs, beside them."""
    site = directory.with_name("site-packages")
    _pip("wheel", "--no-deps", "--wheel-dir", str(directory), str(_ROOT))
    (own,) = directory.glob("*.whl")
    _pip("install", "--target", str(site), *_of(python), str(own))
    # Its first line names the Python that installed it.
    script = site / "bin/cgexporter"
    _, _, rest = script.read_text().partition("\n")
    script.write_text(f"#!{_VENV}/bin/python3\n{rest}")
    return site


def install(guest: Guest, unpacked: Path | None = None) -> None:
    """Have it in its place, from the guest's disk or unpacked wheels, and the independent reading.

    Args:
        guest: where.
        unpacked: for a guest without the disk; takes ten seconds.
    """
    site = f"{_VENV}/lib/python{guest.image.python}/site-packages"
    guest.put([Path(reading.__file__)], "/lab")
    if unpacked is None:
        guest.run(f"mount -o ro,noatime {PROGRAM_DEVICE} {site}")
    else:
        guest.put([unpacked], str(Path(site).parent))
    guest.run(f"ln -sf {site}/bin/cgexporter {_PROGRAM} && ln -sf {_PROGRAM} /usr/local/bin/")


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
