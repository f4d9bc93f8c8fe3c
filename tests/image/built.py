"""The image, built by Podman as docs/IMAGE.md says, over bases made here, without any network."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.tools import bases
from tests.tools.bases import build_base, final_base
from tests.tools.cache import digest, forget_others, making
from tests.tools.toolbox import TOOLBOX, done

REPOSITORY = Path(__file__).resolve().parents[2]
LOCKS = tuple(REPOSITORY / "image" / name for name in ("build.lock", "requirements.lock"))
NAME = "localhost/cgexporter:latest"
# What the chart's pod and docs/IMAGE.md run it with.
HARDENED = (
    *("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
    *("--user", "65534"),
)
# Of the checkout, what the image is made of.
SOURCES = ("Dockerfile", ".dockerignore", "pyproject.toml", "README.md", "LICENSE", "cgexporter")
# Where nobody may raise limits, Podman's own ulimits fail.
_SETTINGS = '[containers]\ndefault_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]\n'


def base_names() -> dict[str, str]:
    """The names of the bases by build argument, as the Dockerfile has them."""
    lines = (REPOSITORY / "Dockerfile").read_text().splitlines()
    words = [line.removeprefix("ARG ").split("=") for line in lines if line.startswith("ARG ")]
    return {pair[0]: pair[1] for pair in words if pair[0].endswith("_IMAGE")}


def walk(name: str) -> list[str]:
    """The commands of a block of docs/IMAGE.md that is marked as walked."""
    text = (REPOSITORY / "docs/IMAGE.md").read_text()
    blocks = dict(re.findall(r"<!-- walk: (\w+) -->\n```sh\n(.*?)\n```", text, re.DOTALL))
    return re.split(r"(?<!\\)\n", blocks[name])


def wheels() -> Path:
    """The locked wheels, fetched as documented; once for each state of the locks."""
    download, _ = walk("offline")
    target = TOOLBOX / f"wheels-{digest(download, *LOCKS)}"
    with making(target) as place:
        if place is not None:
            (place / "image").mkdir(parents=True)
            for lock in LOCKS:
                shutil.copy(lock, place / "image")
            pip = f"{sys.executable} -m pip --quiet --disable-pip-version-check"
            done("bash", "-euc", f'pip() {{ {pip} "$@"; }}\n{download}', cwd=place)
    return target / "image/wheels"


def archive(name: str) -> Path:
    """The image under some name, as `docker save` writes it; once for each state of its sources."""
    sources = [REPOSITORY / path for path in (*SOURCES, "image", "docs/IMAGE.md")]
    target = TOOLBOX / f"image-{digest(name, *sources, Path(bases.__file__))}.tar"
    with making(target) as place:
        # Podman's run directory may have no more than 50 characters.
        if place is not None:
            with tempfile.TemporaryDirectory(prefix="cgx-", dir="/tmp") as home:
                podman = Podman(Path(home))
                try:
                    podman.build()
                    podman("tag", NAME, name)
                    podman("save", "--quiet", "--output", place, name)
                finally:
                    podman.close()
    forget_others(target, "image-*.tar")
    return target


class Podman:
    """Podman with storage of its own, which is called docker where commands are walked."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.context = home / "context"
        self._command: tuple[str | Path, ...] = (
            *("podman", "--root", home / "storage", "--runroot", home / "r"),
            *("--cgroup-manager=cgroupfs", "--runtime=runc", "--events-backend=none"),
        )
        settings = home / "containers.conf"
        settings.write_text(_SETTINGS)
        self._environment = os.environ | {"CONTAINERS_CONF": str(settings)}

    def __call__(self, *words: str | Path) -> str:
        """Run it."""
        return self._done(*self._command, *words)

    def shell(self, command: str) -> str:
        """Run a command line with `docker` in it, where the Dockerfile is."""
        docker = " ".join(str(word) for word in self._command)
        return self._done("bash", "-euc", f'docker() {{ {docker} "$@"; }}\n{command}')

    def _done(self, *command: str | Path) -> str:
        result = self._run(*command)
        assert result.returncode == 0, f"{command[-1]}\n{result.stdout}{result.stderr}"
        return result.stdout

    def fails(self, *words: str | Path) -> str:
        """Run what must fail; what it says."""
        result = self._run(*self._command, *words)
        assert result.returncode
        return result.stderr

    def _run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(word) for word in command],
            cwd=self.context if self.context.exists() else None,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )

    def build(self) -> None:
        """Build the image as docs/IMAGE.md says for a machine without network."""
        for argument, tar in (("BUILD_IMAGE", build_base()), ("BASE_IMAGE", final_base())):
            self("import", "--quiet", tar, base_names()[argument])
        shutil.copytree(REPOSITORY / "image", self.context / "image")
        shutil.copytree(wheels(), self.context / "image/wheels", dirs_exist_ok=True)
        for name in SOURCES:
            source, target = REPOSITORY / name, self.context / name
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copyfile(source, target)
        _, build = walk("offline")
        self.shell(build)

    def start(self, *words: str | Path) -> str:
        """Start a hardened container on the host's network; returns its ID."""
        output = self("run", "--detach", "--network=host", *HARDENED, *words)
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
            *("run", "--rm", "--network=none", *HARDENED),
            *("--entrypoint", "/usr/bin/python3", NAME, "-c", code),
        )

    def close(self) -> None:
        """Remove all that it has."""
        self("rm", "--all", "--force", "--time=0")
        self("rmi", "--all", "--force")
