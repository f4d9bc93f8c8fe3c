"""Compile all that cgexporter imports, Python's own library too, in the image's base.

The base has the library's sources alone, and nothing can be written when a container runs: each
start would compile them anew, which is more than half of its time. Compiled without the sources'
times, so that a build of the same sources is the same.
"""

import importlib
import os
import pkgutil
import sys

import cgexporter


def main() -> None:
    """Compile into PYTHONPYCACHEPREFIX, in a process that has imported nothing before."""
    for found in pkgutil.walk_packages(cgexporter.__path__, "cgexporter."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)
    files = {getattr(module, "__file__", None) for module in sys.modules.values()}
    files -= {__file__}
    sources = sorted(file for file in files if file is not None and file.endswith(".py"))
    command = ("-m", "compileall", "-q", "--invalidation-mode=unchecked-hash")
    os.execv(sys.executable, (sys.executable, *command, "/opt/cgexporter", *sources))


main()
