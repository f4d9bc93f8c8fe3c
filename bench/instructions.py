"""Instructions of a whole scrape, counted, so that a busy machine does not hide a regression.

    python3 bench/instructions.py                 this checkout
    python3 bench/instructions.py COMMIT          this checkout against a commit

Runs scrapes of a captured host under `valgrind --tool=callgrind`, once with few and once with
many, and takes the difference: start-up cancels out. The unit is the same difference of a
fixed loop in plain Python, so that the figure holds from one build of Python to another.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TREE = ROOT / "tests/fixtures/v2-6.1-systemd"
FEW, MANY = 5, 25


def workload(count: int) -> None:
    """Scan a captured host and render it, `count` times."""
    from cgexporter.exporter import Exporter, Settings
    from cgexporter.publish import Format

    settings = Settings(cgroupfs=f"{TREE}/sys/fs/cgroup", procfs=f"{TREE}/proc")
    exporter = Exporter(settings)
    for _ in range(count):
        exporter.render(exporter.look(), Format.TEXT)


def loop(count: int) -> None:
    """The unit: dictionaries, strings and integers, `count` times."""
    for _ in range(count):
        words = " ".join(str(number) for number in range(2000)).split()
        sum(int(word) for word in {word: word for word in words}.values())


def instructions(package: Path, name: str, count: int) -> int:
    """Instructions of one run, with cgexporter imported from `package`."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(package),
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        [
            *("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"),
            *(sys.executable, __file__, f"--{name}", str(count)),
        ],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    match = re.search(r"Collected : (\d+)", done.stderr)
    assert match is not None, done.stderr
    return int(match[1])


def figure(package: Path) -> float:
    """Scrapes of the captured host, in loops."""
    scrape = instructions(package, "workload", MANY) - instructions(package, "workload", FEW)
    unit = instructions(package, "loop", MANY) - instructions(package, "loop", FEW)
    return scrape / unit


def figure_of(commit: str) -> float:
    """The figure of a commit of this repository."""
    with tempfile.TemporaryDirectory() as directory:
        archive = subprocess.run(
            ["git", "archive", commit, "cgexporter"], cwd=ROOT, capture_output=True, check=False
        )
        if archive.returncode:
            sys.exit(archive.stderr.decode().strip())
        subprocess.run(["tar", "-x", "-C", directory], input=archive.stdout, check=True)
        return figure(Path(directory))


def main() -> None:
    """Print the figure, and a commit's beside it."""
    flags = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    flags.add_argument("commit", nargs="?", help="to compare with")
    for name in ("--workload", "--loop"):  # for the process whose instructions are counted
        flags.add_argument(name, type=int, help=argparse.SUPPRESS)
    arguments = flags.parse_args()
    if arguments.workload is not None:
        workload(arguments.workload)
    elif arguments.loop is not None:
        loop(arguments.loop)
    elif arguments.commit is None:
        print(f"a scrape costs {figure(ROOT):.2f} loops")
    else:
        before, now = figure_of(arguments.commit), figure(ROOT)
        print(
            f"{arguments.commit}: {before:.2f} loops a scrape, now {now:.2f}: "
            f"{now / before:.3f} times"
        )


if __name__ == "__main__":
    main()
