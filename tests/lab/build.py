"""Build what the laboratory needs into the cache folder, and say what is being done.

python3 -m tests.lab.build
"""

import shutil
import sys
import time

from tests.lab import image, machine
from tests.lab.states import steps
from tests.tools.cache import ROOT

TOOLS = {**image.TOOLS, **machine.TOOLS}


def main() -> None:
    """Build what is missing."""
    if absent := [program for program in (*TOOLS, "go") if shutil.which(program) is None]:
        packages = ", ".join(sorted({TOOLS.get(program, "Go 1.25 or later") for program in absent}))
        sys.exit(f"not installed: {', '.join(absent)} ({packages})")
    started = time.monotonic()
    for name, is_there, make in steps():
        if is_there:
            continue
        print(f"[{time.monotonic() - started:4.0f} s] {name} …", flush=True)
        make()
    print(f"[{time.monotonic() - started:4.0f} s] all is in {ROOT}")


if __name__ == "__main__":
    main()
