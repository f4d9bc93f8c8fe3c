"""Linters and clients of the chart, image and workflows: built or installed once into a cache.

Go programs are pinned by ``go/NAME/go.mod``, Python's by ``linters.txt``. The first time takes
about ten minutes on two CPUs, helm three of them; then nothing.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.tools.cache import ROOT, making

RECIPES = Path(__file__).parent / "go"
LINTERS = Path(__file__).parent / "linters.txt"
TOOLBOX = ROOT / "toolbox"


def key(*files: Path) -> str:
    """Twelve digits for the contents of files: other contents, other digits."""
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()[:12]


def unavailable(reason: str) -> None:
    """Skip a test for want of a tool; in CI that is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must have it: {reason}")
    pytest.skip(reason)


def go_program(name: str) -> Path:
    """A program that ``go/NAME/go.mod`` names as its tool, built if it is not there yet."""
    recipe = RECIPES / name
    program = TOOLBOX / f"{name}-{key(recipe / 'go.mod', recipe / 'go.sum')}"
    if program.exists():
        return program
    if shutil.which("go") is None:
        unavailable(f"{name} is not built and go is not installed")
    package = subprocess.run(
        ["go", "list", "-f", "{{.ImportPath}}", "tool"],
        cwd=recipe,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()[0]
    with making(program) as place:
        if place is not None:
            subprocess.run(
                ["go", "build", "-trimpath", "-ldflags", "-s -w", "-o", str(place), package],
                cwd=recipe,
                env=os.environ | {"CGO_ENABLED": "0"},
                check=True,
            )
    return program


def linters() -> Path:
    """A folder with the programs of ``linters.txt``, installed if it is not there yet."""
    home = TOOLBOX / f"linters-{key(LINTERS)}-{sys.version_info.major}{sys.version_info.minor}"
    stamp = home / "complete"
    if not stamp.exists():
        shutil.rmtree(home, ignore_errors=True)
        venv.create(home, with_pip=True)
        subprocess.run(
            [home / "bin/pip", "install", "--quiet", "--requirement", LINTERS], check=True
        )
        stamp.touch()
    return home / "bin"


def run(
    *command: str | Path, cwd: Path | None = None, text: str | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command, whatever it ends with; nothing is asked of the network but the tool's own."""
    return subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env=os.environ | environment,
    )


def done(*command: str | Path, cwd: Path | None = None, text: str | None = None) -> str:
    """What a command prints; it must end well."""
    result = run(*command, cwd=cwd, text=text)
    words = " ".join(str(word) for word in command)
    assert result.returncode == 0, f"{words[:300]}\n{result.stdout}{result.stderr}"
    return result.stdout
