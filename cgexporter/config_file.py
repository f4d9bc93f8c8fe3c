"""The configuration file: the names of flags as keys, nested at their dots; flags go over it."""

import argparse
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NoReturn

from cgexporter.document import Value, load, read, suggestion

# What is of one run, not of a host's configuration.
_NOT_HERE = (
    *("help", "version", "config.file"),
    *("once", "format", "interval", "sort", "filter", "from"),
)


def overlay(
    grammar: Callable[[], argparse.ArgumentParser], words: Sequence[str], path: str
) -> argparse.Namespace:
    """Defaults, over them the file, over it the command line.

    Args:
        grammar: makes the command line's grammar.
        words: the command line, which was understood already.
        path: the file.

    Raises:
        ConfigError: the file has an unknown key or a value that its flag does not take.
    """
    flags = grammar()
    merged = flags.parse_args([])
    for dest, value in settings(flags, path).items():
        setattr(merged, dest, value)
    given = grammar()
    for action in given._actions:
        action.default = argparse.SUPPRESS
    for dest, value in vars(given.parse_args(words)).items():
        setattr(merged, dest, value)
    return merged


def settings(flags: argparse.ArgumentParser, path: str) -> dict[str, object]:
    """What a file sets: names in the namespace, and values as the flags would give them.

    Raises:
        ConfigError: the file has an unknown key or a value that its flag does not take.
    """
    options = _options(flags)
    found: dict[str, object] = {}
    seen: dict[str, int] = {}
    for name, value in _leaves(load(path, read(path)), options):
        if name in seen:
            raise value.error(f"there already, on line {seen[name]}")
        seen[name] = value.line
        action = options[name]
        found[action.dest] = _value(action, value)
    return found


def _options(flags: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    """Options by the names that the file may have."""
    return {
        option.removeprefix("--"): action
        for action in flags._actions
        for option in action.option_strings
        if option.startswith("--")
        and not option.startswith("--no-")
        and option.removeprefix("--") not in _NOT_HERE
    }


def _leaves(value: Value, options: dict[str, argparse.Action]) -> Iterator[tuple[str, Value]]:
    """Each option that a document sets, by its whole name.

    Raises:
        ConfigError: a key is neither an option nor the beginning of one.
    """
    if value.is_null and not value.name:
        return
    for _, inner in value.entries():
        name = inner.name
        if name in options:
            if inner.is_null:
                raise inner.error("has no value")
            yield name, inner
        elif inner.is_mapping and _begins(name, (*options, *_NOT_HERE)):
            yield from _leaves(inner, options)
        else:
            _refuse(inner, options)


def _begins(name: str, options: Iterable[str]) -> bool:
    return any(option.startswith(f"{name}.") for option in options)


def _refuse(value: Value, options: dict[str, argparse.Action]) -> NoReturn:
    if value.name in _NOT_HERE:
        raise value.error("is of the command line alone")
    if _begins(value.name, options):
        raise value.error("not a mapping of keys to values")
    raise value.error(f"no such setting{suggestion(value.name, options)}")


def _value(action: argparse.Action, value: Value) -> object:
    if action.nargs == 0 or isinstance(action, argparse.BooleanOptionalAction):
        return value.boolean()
    if isinstance(action, argparse._AppendAction):
        return [_one(action, item) for item in (value.items() if value.is_list else [value])]
    return _one(action, value)


def _one(action: argparse.Action, value: Value) -> object:
    text = value.text()
    try:
        found = action.type(text) if callable(action.type) else text
    except (argparse.ArgumentTypeError, ValueError, TypeError) as exc:
        raise value.error(str(exc)) from None
    if action.choices is not None and found not in action.choices:
        known = [str(choice) for choice in action.choices]
        raise value.error(f"{text!r} is not one of {', '.join(known)}{suggestion(text, known)}")
    return found
