"""Every table of docs/PERFORMANCE.md, one after the other.

    python3 bench/everything.py [--list] [PART…]

As root, on a machine that does nothing else. Says how long each part took.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

BENCH = Path(__file__).resolve().parent
PARTS = {
    "scrape": ("scrape.py", "--counts", "100", "500", "1000"),
    "coming": ("scrape.py", "--counts", "1000", "--coming"),
    "every": ("scrape.py", "--counts", "1000", "--every-collector"),
    "unheld": ("unheld.py",),
    "many": ("scrape.py", "--counts", "500", "5000", "--idle", "--scan.max-open-files=110000"),
    "latency": ("latency.py",),
    "latency-busy": ("latency.py", "--busy"),
    "once": ("once.py",),
    "server": ("churn.py", "--living", "250", "--rate", "0", "--minutes", "1"),
    "churn": ("churn.py",),
}


def main() -> None:
    """Run them; one that fails does not keep the others from their turn."""
    flags = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    flags.add_argument("--list", action="store_true", help="print the parts and their commands")
    flags.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    mine = flags.parse_args()
    if unknown := set(mine.parts) - PARTS.keys():
        flags.error(f"no part {', '.join(sorted(unknown))}")
    failed = []
    for part in mine.parts or PARTS:
        script, *words = PARTS[part]
        print(f"\n{part}: {script} {' '.join(words)}\n", flush=True)
        if mine.list:
            continue
        began = time.monotonic()
        if subprocess.run([sys.executable, BENCH / script, *words], check=False).returncode:
            failed.append(part)
        print(f"\n{part} took {(time.monotonic() - began) / 60:.1f} minutes", flush=True)
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
