"""Sub-commands. Each module has `grammar()`, and `run(flags, grammar)` for the exit status.

A command's module is imported only when that command is run.
"""

import importlib
from types import ModuleType

# Name, and what the overview says of it.
COMMANDS = {
    "inspect": "print everything that is known about one container",
    "top": "show the containers of this host, live",
    "record": "keep what is read of this host in a file, for --from",
    "namespaces": "print which container shares which namespace with whom",
}


def command(name: str) -> ModuleType:
    """The module of a command in COMMANDS."""
    return importlib.import_module(f"cgexporter.commands.{name}")
