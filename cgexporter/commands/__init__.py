"""Sub-commands. Each module has `grammar()`, and `run(flags, grammar)` for the exit status.

A command's module is imported only when that command is run.
"""

import importlib
from types import ModuleType

# Name, and what the overview says of it.
COMMANDS = {
    "doctor": "find what is wrong with the containers of this host, by which limit, and what to do",
    "explain": "print what Docker options or a Pod manifest become in cgroup v1 and v2",
    "namespaces": "print which container shares which namespace with whom",
}


def command(name: str) -> ModuleType:
    """The module of a command in COMMANDS."""
    return importlib.import_module(f"cgexporter.commands.{name}")
