"""What a grammar offers, for whoever prints it: completion and the manual page."""

import argparse
from collections.abc import Iterator
from typing import NamedTuple


class Option(NamedTuple):
    """One flag or argument.

    Attributes:
        names: its spellings; none for an argument.
        value: what its value is called; "" takes none.
        choices: the values there are, where they are few.
        help: in one line.
        files: its value is a file or directory.
    """

    names: tuple[str, ...]
    value: str
    choices: tuple[str, ...]
    help: str
    files: bool


def options(grammar: argparse.ArgumentParser) -> Iterator[tuple[str, list[Option]]]:
    """Its groups and what is in each, in order."""
    for group in grammar._action_groups:
        found = [_option(grammar, a) for a in group._group_actions]
        if found:
            yield group.title or "", found


def _option(grammar: argparse.ArgumentParser, action: argparse.Action) -> Option:
    takes_value = action.nargs != 0 and not isinstance(action, argparse.BooleanOptionalAction)
    value = ""
    if takes_value:
        metavar = action.metavar if isinstance(action.metavar, str) else None
        value = metavar or (
            "|".join(map(str, action.choices)) if action.choices else action.dest.upper()
        )
    text = action.help or ""
    if "%" in text:
        text = grammar._get_formatter()._expand_help(action)
    choices = tuple(map(str, action.choices or ())) if takes_value else ()
    files = value in ("FILE", "DIR", "KIND=DIR", "KIND=SOCKET")
    return Option(tuple(action.option_strings), value, choices, " ".join(text.split()), files)
