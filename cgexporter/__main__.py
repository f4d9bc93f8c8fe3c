"""``python -m cgexporter``."""

import sys

from cgexporter.cli import main

if __name__ == "__main__":
    sys.exit(main())
