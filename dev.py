#!/usr/bin/env python3
"""Set up and run cgexporter from a checkout, with nothing but Python 3.11 and pip.

python3 dev.py once [FLAGS]   the containers of this host, now
python3 dev.py test [ARGS]    linters, types and all tests that this machine allows; those in
                              virtual hosts with CI=true only
python3 dev.py lab [ARGS]     tests in virtual hosts of each kind, built first if need be
python3 dev.py lab-build      build those hosts into ~/.cache/cgexporter (as root)
python3 dev.py lab-record     record those hosts into tests/data/lab, write their golden output anew
python3 dev.py tools          Debian packages that some tests need (as root)
python3 dev.py golden         write tests/golden anew
python3 dev.py docs           write the printed parts of docs/ anew
python3 dev.py zipapp [FILE]  everything in one file: dist/cgexporter.pyz
python3 dev.py lock           lock the image's dependencies anew and list its contents (as root)
python3 dev.py load           ten minutes of sick containers: which alerts fire, which panels are
                              empty; --minutes for another time (as root)
python3 dev.py dashboards     write dashboards/ anew; with --set, print alerts for other thresholds
"""

import os
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable
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
    "curl": "curl",
    "ip": "iproute2",
    "tmux": "tmux",
    "zsh": "zsh",
    "fish": "fish",
    "mandoc": "mandoc",
    "systemd-analyze": "systemd",
    "systemd-nspawn": "systemd-container",
    "iptables": "iptables",
    "shellcheck": "shellcheck",
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "mmdebstrap": "mmdebstrap",
    "mke2fs": "e2fsprogs",
    "cpio": "cpio",
    "modprobe": "kmod",
    "ssh": "openssh-client",
}


SOME_FAILED = 1  # of pytest's exit codes


def status_of(*command: str | Path, **environment: str) -> int:
    """Run a command in the checkout; its exit status."""
    words = [str(word) for word in command]
    print("+", " ".join(words), flush=True)
    return subprocess.run(words, cwd=ROOT, env=os.environ | environment, check=False).returncode


def run(*command: str | Path, **environment: str) -> None:
    """Run a command in the checkout; end with its exit status when it fails."""
    if status := status_of(*command, **environment):
        sys.exit(status)


def install(extra: str = "") -> None:
    """Put the checkout into .venv, once for each state of pyproject.toml."""
    stamp = VENV / f"installed{extra}"
    wanted = (ROOT / "pyproject.toml").read_text()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    # This may run from .venv's own Python, which cannot be written anew meanwhile.
    if not (BIN / "pip").exists():
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
    in_ci = os.environ.get("CI") == "true"
    if in_ci:
        tools()
    elif packages := missing_tools():
        print(f"some tests will be skipped; for {', '.join(packages)}: sudo python3 dev.py tools")
    install("[dev]")
    run(BIN / "ruff", "check", ".")
    run(BIN / "ruff", "format", "--check", ".")
    run(BIN / "mypy")
    if arguments or not in_ci:
        run(BIN / "pytest", *arguments)
        return
    run(BIN / "pytest", "--ignore=tests/lab")
    if reason := no_lab():
        print(f"skipped: tests/lab, for {reason}")
    else:
        lab([])


def no_lab() -> str:
    """Why virtual hosts cannot be built here, beside what `tools` installs."""
    if os.geteuid() != 0:
        return "their disks are made by root"
    if shutil.which("go") is None:
        return "Kubernetes is built from source and Go is not installed"
    return ""


def zipapp(file: Path) -> None:
    """Build one file that needs python3 alone; the same sources give the same bytes."""
    install("[zipapp]")
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        site = Path(directory) / "site"
        # Any fixed time: two builds do not differ by their clocks.
        epoch = {"SOURCE_DATE_EPOCH": "1767225600"}
        run(BIN / "pip", "install", "--quiet", "--no-compile", "--target", site, ROOT, **epoch)
        # Where it was built, and by what: not of the program.
        for name in ("direct_url.json", "RECORD", "INSTALLER", "REQUESTED"):
            for found in site.rglob(f"*.dist-info/{name}"):
                found.unlink()
        shutil.rmtree(site / "bin", ignore_errors=True)
        run(
            *(BIN / "shiv", "--site-packages", site, "--reproducible"),
            *("--python", "/usr/bin/env python3", "--entry-point", "cgexporter.cli:main"),
            *("--output-file", file),
            **epoch,
        )


def lab_build() -> None:
    """Build the virtual hosts of tests/lab: minutes the first time, seconds afterwards."""
    install("[dev]")
    run(BIN / "python", "-m", "tests.lab.build")


def lab(arguments: list[str]) -> None:
    """Run the tests that need virtual hosts, two of which run at a time.

    What fails is named and runs once more, alone: a guest has the CPU time that others leave it.
    """
    lab_build()
    # In their own order, by which what takes longest comes first.
    words = ("tests/lab", "-n", "2", "--dist", "loadscope", "--no-loadscope-reorder")
    status = status_of(BIN / "pytest", *words, *arguments, CGEXPORTER_LAB="1")
    if status == SOME_FAILED:
        print("what failed runs once more, alone", flush=True)
        again = ("--last-failed", "--last-failed-no-failures=none")
        run(BIN / "pytest", "tests/lab", *again, *arguments, CGEXPORTER_LAB="1")
    elif status:
        sys.exit(status)


def lab_record() -> None:
    """Record the virtual hosts, and write what the recordings show."""
    lab_build()
    run(BIN / "python", "-m", "tests.lab.record")
    anew("--update-golden", "tests/golden/test_lab.py")


def once(flags: list[str]) -> None:
    """Print the containers of this host."""
    install()
    run(BIN / "cgexporter", "--once", *flags)


def anew(option: str, *tests: str) -> None:
    """Let tests write what they otherwise compare with."""
    install("[dev]")
    for files in tests:
        run(BIN / "pytest", *files.split(), option)


def module(name: str, flags: list[str]) -> None:
    """Run a module of the checkout that is for development alone."""
    install("[dev]")
    run(BIN / "python", "-m", name, *flags)


def documents() -> None:
    """Write what is printed into docs/ and the chart."""
    anew("--update-docs", "tests/contract", "tests/chart/test_generated.py")


def lock() -> None:
    """Lock the image's dependencies anew and list what is in it."""
    anew("--update-docs", "tests/image/test_lock.py", "tests/image/test_image.py")


# Name of a command, what it does with the words behind it.
COMMANDS: dict[str, Callable[[list[str]], None]] = {
    "once": once,
    "test": test,
    "tools": lambda _: tools(),
    "golden": lambda _: anew("--update-golden", "tests/golden"),
    "docs": lambda _: documents(),
    "lock": lambda _: lock(),
    "lab": lab,
    "lab-build": lambda _: lab_build(),
    "lab-record": lambda _: lab_record(),
    "zipapp": lambda files: zipapp(
        Path(files[0]).resolve() if files else ROOT / "dist/cgexporter.pyz"
    ),
    "dashboards": lambda flags: module("dashboards.source.write", flags),
    "load": lambda flags: module("tests.tools.sickbay", flags),
}


def main() -> None:
    """Run one of the commands above."""
    name, *words = sys.argv[1:] or [""]
    if name not in COMMANDS:
        sys.exit((__doc__ or "").strip())
    COMMANDS[name](words)


if __name__ == "__main__":
    main()
