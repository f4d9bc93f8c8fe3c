"""bench/scrape.py on cgroup v2 in a guest of the laboratory: what a container costs among many.

    python3 bench/guest.py [--hierarchy v2] [--timeout 5400] [ARGUMENTS OF scrape.py…]

Without arguments: idle containers, 500 and 5,000 of them, with as many files held as that takes,
and the ratio of what each costs. The guest is the image of `python3 dev.py lab-build`, booted
anew, and has 3 GiB: files of 5,000 containers take 0.5 of them, their cgroups 0.4. It is emulated
and many times slower than its host, so only ratios count.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

BENCH = Path(__file__).resolve().parent
sys.path.insert(0, str(BENCH.parent))
DEFAULTS = ("--counts", "500", "5000", "--idle")


def programs(directory: Path) -> list[Path]:
    """The C programs of the bench, for a guest without a compiler or this libc."""
    made = []
    for name in ("reference", "busy"):
        program = directory / f"cgexporter-bench-0-{name}"
        subprocess.run(["cc", "-O2", "-static", "-o", program, BENCH / f"{name}.c"], check=True)
        made.append(program)
    return made


def main() -> None:
    """Run it in a guest and print what it prints."""
    from tests.lab import exporter
    from tests.lab.image import image
    from tests.lab.machine import HIERARCHIES, Guest

    flags = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    flags.add_argument("--hierarchy", choices=HIERARCHIES, default="v2")
    flags.add_argument("--timeout", type=float, default=5400)
    mine, others = flags.parse_known_args()
    if not image().home.exists():
        sys.exit("no image is built: python3 dev.py lab-build")
    with tempfile.TemporaryDirectory(prefix="cgexporter-bench-") as name:
        home = Path(name)
        wheels = home / "wheels"
        wheels.mkdir()
        guest = Guest(image(), home / "guest", mine.hierarchy)
        try:
            guest.start()
            exporter.install(guest, exporter.wheels(wheels, image().python))
            guest.put(sorted(BENCH.glob("*.[cp]*")), "/lab/bench")
            guest.put(programs(home), "/tmp")
            words = " ".join(others or DEFAULTS)
            print(
                guest.run(
                    f"/opt/cgexporter/bin/python /lab/bench/scrape.py {words} 2>&1",
                    timeout=mine.timeout,
                )
            )
        finally:
            guest.stop()


if __name__ == "__main__":
    main()
