#!/usr/bin/env python3
"""Set up and run cgexporter from a checkout, with nothing but Python 3.11 and pip.

python3 dev.py once [FLAGS]   the containers of this host, now
python3 dev.py test [ARGS]    linters, types and all tests that this machine allows
python3 dev.py lab [ARGS]     tests in virtual hosts of each kind, built first if need be
python3 dev.py lab-build      build those hosts into ~/.cache/cgexporter (as root)
python3 dev.py tools          Debian packages that some tests need (as root)
python3 dev.py golden         write tests/golden anew
python3 dev.py docs           write the printed parts of docs/ anew
"""

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BIN = VENV / "bin"

# Program that some test starts → Debian package that has it.
TOOLS = {
    "runc": "runc",
    "crun": "crun",
    "busybox": "busybox-static",
    "prometheus": "prometheus",
    "valgrind": "valgrind",
    "dockerd": "docker.io",
    "containerd": "containerd",
    "podman": "podman",
    "etcd": "etcd-server",
    "openssl": "openssl",
    "ip": "iproute2",
    "iptables": "iptables",
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "mmdebstrap": "mmdebstrap",
    "mke2fs": "e2fsprogs",
    "cpio": "cpio",
    "modprobe": "kmod",
    "ssh": "openssh-client",
}


def run(*command: str | Path, **environment: str) -> None:
    """Run a command in the checkout; end with its exit status when it fails."""
    words = [str(word) for word in command]
    print("+", " ".join(words), flush=True)
    status = subprocess.run(words, cwd=ROOT, env=os.environ | environment, check=False).returncode
    if status:
        sys.exit(status)


def install(extra: str = "") -> None:
    """Put the checkout into .venv, once for each state of pyproject.toml."""
    stamp = VENV / f"installed{extra}"
    wanted = (ROOT / "pyproject.toml").read_text()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    try:
        venv.create(VENV, with_pip=True)
    except subprocess.CalledProcessError:
        sys.exit("python3 has no ensurepip here: apt-get install python3-venv")
    run(BIN / "pip", "install", "--quiet", "--editable", f".{extra}")
    stamp.write_text(wanted)


def missing_tools() -> list[str]:
    """Debian packages of the programs that are not on this machine."""
    return [package for program, package in TOOLS.items() if shutil.which(program) is None]


def tools() -> None:
    """Install the missing Debian packages, without starting the services they bring."""
    packages = missing_tools()
    if not packages:
        return
    policy = Path("/usr/sbin/policy-rc.d")
    made = not policy.exists()
    if made:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        run("apt-get", "update", "--quiet=2")
        run(
            *("apt-get", "install", "--yes", "--quiet=2", "--no-install-recommends"),
            *packages,
            DEBIAN_FRONTEND="noninteractive",
        )
    finally:
        if made:
            policy.unlink()


def test(arguments: list[str]) -> None:
    """Check everything; in CI nothing may be skipped that could run."""
    if os.environ.get("CI") == "true":
        tools()
    elif packages := missing_tools():
        print(f"some tests will be skipped; for {', '.join(packages)}: sudo python3 dev.py tools")
    install("[dev]")
    run(BIN / "ruff", "check", ".")
    run(BIN / "ruff", "format", "--check", ".")
    run(BIN / "mypy")
    run(BIN / "pytest", *arguments)


def lab_build() -> None:
    """Build the virtual hosts of tests/lab: half an hour the first time, seconds afterwards."""
    install("[dev]")
    run(BIN / "python", "-m", "tests.lab.build")


def lab(arguments: list[str]) -> None:
    """Run the tests that need virtual hosts."""
    lab_build()
    run(BIN / "pytest", "tests/lab", *arguments, CGEXPORTER_LAB="1")


def main() -> None:
    """Run one of the commands above."""
    match sys.argv[1:]:
        case ["once", *flags]:
            install()
            run(BIN / "cgexporter", "--once", *flags)
        case ["test", *arguments]:
            test(arguments)
        case ["lab", *arguments]:
            lab(arguments)
        case ["lab-build"]:
            lab_build()
        case ["tools"]:
            tools()
        case ["golden"]:
            install("[dev]")
            run(BIN / "pytest", "tests/golden", "--update-golden")
        case ["docs"]:
            install("[dev]")
            run(BIN / "pytest", "tests/contract/test_docs.py", "--update-docs")
        case _:
            sys.exit((__doc__ or "").strip())


if __name__ == "__main__":
    main()
