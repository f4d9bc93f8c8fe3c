"""Sub-commands. Each module has `grammar()`, and `run(flags, grammar)` for the exit status.

A command's module is imported only when that command is run.
"""

import importlib
from types import ModuleType

# Name, and what the overview says of it.
COMMANDS = {
    "check-config": "check configuration files before a server meets them",
    "namespaces": "print which container shares which namespace with whom",
}


def command(name: str) -> ModuleType:
    """The module of a command in COMMANDS."""
    return importlib.import_module(f"cgexporter.commands.{name.replace('-', '_')}")
