"""Every table of docs/PERFORMANCE.md, one after the other.

    python3 bench/everything.py

As root, on a machine that does nothing else: half an hour, of which ten minutes are churn.
"""

import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).resolve().parent
COMMANDS = (
    ("scrape.py", "--counts", "100", "500", "1000"),
    ("scrape.py", "--counts", "1000", "--every-collector"),
    ("scrape.py", "--counts", "500", "1000", "--idle", "--scan.max-open-files=0"),
    ("scrape.py", "--counts", "500", "5000", "--idle", "--scan.max-open-files=110000"),
    ("latency.py",),
    ("once.py",),
    ("churn.py",),
)


def main() -> None:
    """Run them; one that fails does not keep the others from their turn."""
    failed = []
    for script, *flags in COMMANDS:
        print(f"\n{script} {' '.join(flags)}\n", flush=True)
        if subprocess.run([sys.executable, BENCH / script, *flags], check=False).returncode:
            failed.append(script)
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
