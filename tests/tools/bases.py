"""Base images, made of Debian packages where no registry of images can be reached.

The final image's base has the packages of distroless' python3-debian13 and is unpacked the same
way: https://github.com/GoogleContainerTools/distroless, private/repos/deb and */config.bzl.
"""

import os
import shutil
import subprocess
from pathlib import Path

from tests.tools.toolbox import TOOLBOX, done, key, unavailable

SUITE = "trixie"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
PACKAGES = (
    *("base-files", "ca-certificates", "media-types", "netbase", "tzdata"),  # static
    *("libc6", "libssl3t64", "libzstd1", "zlib1g"),  # base
    *("gcc-14-base", "libgcc-s1", "libgomp1", "libstdc++6"),  # cc
    *("libbz2-1.0", "libdb5.3t64", "libexpat1", "liblzma5", "libsqlite3-0", "libuuid1"),
    *("libncursesw6", "libtinfo6", "libcom-err2", "libcrypt1", "libc-bin", "libgssapi-krb5-2"),
    *("libk5crypto3", "libkeyutils1", "libkrb5-3", "libkrb5support0", "libnsl2"),
    *("libreadline8t64", "libtirpc3t64", "libffi8", "libpython3.13-minimal"),
    *("libpython3.13-stdlib", "python3.13-minimal", "python3.13-venv"),
)


def missing() -> list[str]:
    """Programs that are not on this machine."""
    return [name for name in ("mmdebstrap", "dpkg-deb", "podman") if shutil.which(name) is None]


def mirror() -> str:
    """Where this machine has its Debian packages from."""
    uris = done("apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages")
    plain = [line for line in uris.splitlines() if line.rstrip("/").endswith("/debian")]
    if not plain:
        unavailable("apt knows no Debian mirror")
    return plain[0]


def build_base() -> Path:
    """A root file system, as tar, with Python and pip, such as python:3.13-slim-trixie has."""
    tar = TOOLBOX / f"base-build-{key(Path(__file__))}.tar"
    if not tar.exists():
        tar.parent.mkdir(parents=True, exist_ok=True)
        made = tar.with_name(f".{os.getpid()}-{tar.name}")
        done(
            *("mmdebstrap", "--variant=minbase", "--include=python3-pip,python3-venv"),
            *("--dpkgopt=path-exclude=/usr/share/doc/*", "--format=tar"),
            *(f"--keyring={KEYRING}", SUITE, made, mirror()),
        )
        made.rename(tar)
    return tar


def final_base() -> Path:
    """A root file system, as tar, such as distroless' python3-debian13 is: no shell, no dpkg."""
    tar = TOOLBOX / f"base-final-{key(Path(__file__))}.tar"
    if not tar.exists():
        tar.parent.mkdir(parents=True, exist_ok=True)
        home = tar.with_suffix(f".{os.getpid()}")
        shutil.rmtree(home, ignore_errors=True)
        try:
            _unpack(home, home / "root")
            made = home / "made.tar"
            done("tar", "--sort=name", "-C", home / "root", "-cf", made, ".")
            made.rename(tar)
        finally:
            shutil.rmtree(home, ignore_errors=True)
    return tar


def _unpack(home: Path, root: Path) -> None:
    for folder in ("lists/partial", "archives/partial", "debs", "root/var/lib/dpkg/status.d"):
        (home / folder).mkdir(parents=True)
    (home / "sources.list").write_text(f"deb [signed-by={KEYRING}] {mirror()} {SUITE} main\n")
    (home / "status").touch()
    apt = (
        *("apt-get", "--quiet=2", "-o", f"Dir::Etc::sourcelist={home}/sources.list"),
        *("-o", "Dir::Etc::sourceparts=-", "-o", f"Dir::State::lists={home}/lists"),
        *("-o", f"Dir::Cache={home}", "-o", f"Dir::State::status={home}/status"),
        *("-o", "APT::Sandbox::User=root"),
    )
    done(*apt, "update")
    done(*apt, "download", *PACKAGES, cwd=home / "debs")
    for folder in ("bin", "sbin", "lib", "lib64"):
        (root / f"usr/{folder}").mkdir(parents=True)
        (root / folder).symlink_to(f"usr/{folder}")
    for deb in sorted((home / "debs").iterdir()):
        subprocess.run(["dpkg-deb", "--extract", deb, root], check=True)
        control = done("dpkg-deb", "--field", deb)
        name = done("dpkg-deb", "--field", deb, "Package").strip()
        (root / f"var/lib/dpkg/status.d/{name}").write_text(control)
    # As distroless does: names of Python, and the certificates as one file.
    for name in ("python", "python3"):
        (root / f"usr/bin/{name}").symlink_to("/usr/bin/python3.13")
    bundle = sorted((root / "usr/share/ca-certificates/mozilla").glob("*.crt"))
    (root / "etc/ssl/certs").mkdir(parents=True, exist_ok=True)
    (root / "etc/ssl/certs/ca-certificates.crt").write_text(
        "".join(file.read_text() for file in bundle)
    )
    (root / "tmp").chmod(0o1777)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/sbin/nologin\n")
    (root / "etc/group").write_text("root:x:0:\n")
