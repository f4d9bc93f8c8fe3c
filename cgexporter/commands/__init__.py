"""Sub-commands. Each module has `grammar()`, and `run(flags, grammar)` for the exit status.

A command's module is imported only when that command is run.
"""

import importlib
from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from types import ModuleType

# Name, and what the overview says of it.
COMMANDS = {
    "inspect": "print everything that is known about one container",
    "top": "show the containers of this host, live",
    "record": "keep what is read of this host in a file, for --from",
    "doctor": "find what is wrong with the containers of this host, by which limit, and what to do",
    "explain": "print what Docker options or a Pod manifest become in cgroup v1 and v2",
    "check-config": "check configuration files before a server meets them",
    "namespaces": "print which container shares which namespace with whom",
    "completion": "print a script that completes this command line in a shell",
    "manual": "print the manual page",
}


_without_command: list[Callable[[], ArgumentParser]] = []


def know_grammar(make: Callable[[], ArgumentParser]) -> None:
    """Learn the grammar of the command line without a command, which `cli` has."""
    _without_command[:] = [make]


def grammars() -> Mapping[str, ArgumentParser]:
    """Every grammar by the name of its command; "" is without one."""
    found = {"": make() for make in _without_command}  # noqa: B035, there is at most one
    return found | {name: command(name).grammar() for name in COMMANDS}


def command(name: str) -> ModuleType:
    """The module of a command in COMMANDS."""
    return importlib.import_module(f"cgexporter.commands.{name.replace('-', '_')}")
