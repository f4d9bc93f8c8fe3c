"""The image, built from the Dockerfile by Podman over bases made here, without any network."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.tools.bases import build_base, final_base
from tests.tools.toolbox import TOOLBOX, done, key

REPOSITORY = Path(__file__).resolve().parents[2]
LOCKS = tuple(REPOSITORY / "image" / name for name in ("build.lock", "requirements.lock"))
NAME = "localhost/cgexporter:test"
# What the chart's pod and docs/IMAGE.md run it with.
HARDENED = (
    *("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
    *("--user", "65534"),
)
# Where nobody may raise limits, Podman's own ulimits fail.
ULIMITS = ("--ulimit", "nofile=4096:4096", "--ulimit", "nproc=4096:4096")


def base_names() -> dict[str, str]:
    """The names of the bases by build argument, as the Dockerfile has them."""
    lines = (REPOSITORY / "Dockerfile").read_text().splitlines()
    words = [line.removeprefix("ARG ").split("=") for line in lines if line.startswith("ARG ")]
    return {pair[0]: pair[1] for pair in words if pair[0].endswith("_IMAGE")}


def wheels() -> Path:
    """The locked wheels, for the Python of the image; fetched once for each state of the locks."""
    home = TOOLBOX / f"wheels-{key(*LOCKS)}"
    if not home.exists():
        made = home.with_name(f".{home.name}")
        shutil.rmtree(made, ignore_errors=True)
        done(
            *(sys.executable, "-m", "pip", "download", "--quiet", "--require-hashes", "--no-deps"),
            *("--only-binary=:all:", "--python-version=3.13", "--platform=manylinux2014_x86_64"),
            *("--platform=manylinux_2_28_x86_64", "--dest", made),
            *(word for lock in LOCKS for word in ("--requirement", lock)),
        )
        made.rename(home)
    return home


class Podman:
    """Podman with storage of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._command: tuple[str | Path, ...] = (
            *("podman", "--root", home / "storage", "--runroot", home / "r"),
            *("--cgroup-manager=cgroupfs", "--runtime=runc", "--events-backend=none"),
        )

    def __call__(self, *words: str | Path) -> str:
        """Run it."""
        return done(*self._command, *words)

    def fails(self, *words: str | Path) -> str:
        """Run what must fail; what it says."""
        result = subprocess.run(
            [str(word) for word in (*self._command, *words)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert result.returncode
        return result.stderr

    def build(self) -> None:
        """Build the image as docs/IMAGE.md says for a machine without network."""
        for argument, tar in (("BUILD_IMAGE", build_base()), ("BASE_IMAGE", final_base())):
            self("import", "--quiet", tar, base_names()[argument])
        context = self.home / "context"
        shutil.copytree(REPOSITORY / "image", context / "image", dirs_exist_ok=True)
        shutil.copytree(wheels(), context / "image/wheels", dirs_exist_ok=True)
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / "cgexporter", context / "cgexporter", ignore=ignore)
        for name in ("Dockerfile", ".dockerignore", "pyproject.toml", "README.md", "LICENSE"):
            shutil.copyfile(REPOSITORY / name, context / name)
        self(
            *("build", "--quiet", "--pull=never", "--network=none", *ULIMITS),
            *("--build-arg", "PIP_NO_INDEX=1", "--build-arg", "REVISION=abc", "--tag", NAME),
            context,
        )

    def start(self, *words: str | Path) -> str:
        """Start a hardened container on the host's network; returns its ID."""
        output = self("run", "--detach", "--network=host", *HARDENED, *ULIMITS, *words)
        return output.splitlines()[-1]

    def inspect(self, name: str) -> dict[str, Any]:
        """What is known of a container or image."""
        found: list[dict[str, Any]] = json.loads(self("inspect", name))
        return found[0]

    def files(self) -> list[str]:
        """All paths in the image."""
        container = self("create", NAME).strip()
        tar = self.home / "export.tar"
        self("export", "--output", tar, container)
        self("rm", container)
        listed = done("tar", "--list", "--file", tar).splitlines()
        tar.unlink()
        return ["/" + line.removeprefix("./").rstrip("/") for line in listed]

    def read(self, code: str) -> str:
        """What Python code prints in the image."""
        return self(
            *("run", "--rm", "--network=none", *HARDENED, *ULIMITS),
            *("--entrypoint", "/usr/bin/python3", NAME, "-c", code),
        )

    def close(self) -> None:
        """Remove all that it has."""
        self("rm", "--all", "--force", "--time=0")
        self("rmi", "--all", "--force")
