"""Configuration files: YAML whose every value knows its line, read strictly."""

import difflib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

# Far more than a configuration needs; a wrong path (/dev/zero) must not fill the memory.
_MAX_BYTES = 1 << 20


class ConfigError(Exception):
    """A configuration that cannot be used; the message says file, line and what to do.

    Attributes:
        files: that the configuration names, where it was understood so far.
    """

    files: tuple[str, ...] = ()

    def __init__(self, file: str, message: str, line: int | None = None) -> None:
        place = file if line is None else f"{file}:{line}"
        super().__init__(f"{escaped(place)}: {escaped(message)}")


def escaped(text: str) -> str:
    """A text that cannot act on a terminal or a log: control characters escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def suggestion(word: str, known: Iterable[str]) -> str:
    """``; did you mean …?`` for a misspelt word, or nothing."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


def read(path: str) -> bytes:
    """The content of a file that belongs to a configuration.

    Raises:
        ConfigError: it cannot be read, is no regular file or too large.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise ConfigError(path, "not a regular file")
            content = file.read(_MAX_BYTES + 1)
    except OSError as exc:
        raise ConfigError(path, exc.strerror or str(exc)) from None
    if len(content) > _MAX_BYTES:
        raise ConfigError(path, f"larger than {_MAX_BYTES} bytes")
    return content


class Value:
    """One value of a document: a mapping, a list or a scalar.

    Args:
        file: name of the document, for messages.
        node: as PyYAML composed it.
        name: how to get here: the keys, joined by dots.
    """

    def __init__(self, file: str, node: Any, name: str = "") -> None:
        self._file = file
        self._node = node
        self.name = name

    @property
    def line(self) -> int:
        """The line it begins on, from 1."""
        return int(self._node.start_mark.line) + 1

    def error(self, message: str) -> ConfigError:
        """An error about this value."""
        about = f"{self.name}: {message}" if self.name else message
        return ConfigError(self._file, about, self.line)

    def _tag(self) -> str:
        return str(self._node.tag).rpartition(":")[2]

    @property
    def is_null(self) -> bool:
        """Whether nothing is there: ``key:`` alone, or ``null``."""
        return self._tag() == "null"

    @property
    def is_mapping(self) -> bool:
        """Whether it has keys."""
        return self._tag() == "map"

    @property
    def is_list(self) -> bool:
        """Whether it is a list."""
        return self._tag() == "seq"

    def entries(self) -> Iterator[tuple[str, "Value"]]:
        """Keys and values of a mapping, each key once.

        Raises:
            ConfigError: it is no mapping, or has a key twice.
        """
        if not self.is_mapping:
            raise self.error("not a mapping of keys to values")
        seen: dict[str, int] = {}
        for key, node in self._node.value:
            word = str(key.value)
            name = f"{self.name}.{word}" if self.name else word
            value = Value(self._file, node, name)
            if str(key.tag).rpartition(":")[2] in ("map", "seq", "merge"):
                raise Value(self._file, key, self.name).error("keys must be plain words")
            line = key.start_mark.line + 1
            if word in seen:
                raise ConfigError(self._file, f"{name}: there already, on line {seen[word]}", line)
            seen[word] = line
            yield word, value

    def keys(self, known: Iterable[str]) -> Mapping[str, "Value"]:
        """A mapping whose keys are all among the known ones; keys without a value left out.

        Raises:
            ConfigError: it is something else.
        """
        if self.is_null:
            return {}
        words = list(known)
        found = {}
        for word, value in self.entries():
            if word not in words:
                raise ConfigError(
                    self._file,
                    f"unknown key {value.name!r}{suggestion(word, words)}",
                    value.line,
                )
            if not value.is_null:
                found[word] = value
        return found

    def items(self) -> list["Value"]:
        """The values of a list.

        Raises:
            ConfigError: it is no list.
        """
        if not self.is_list:
            raise self.error("not a list")
        return [Value(self._file, node, self.name) for node in self._node.value]

    def text(self) -> str:
        """A scalar as it is written, whatever YAML takes it for.

        Raises:
            ConfigError: it is a mapping, a list or nothing.
        """
        if self.is_mapping or self.is_list or self.is_null:
            raise self.error("not a single value")
        return str(self._node.value)

    def boolean(self) -> bool:
        """``true`` or ``false``.

        Raises:
            ConfigError: it is something else.
        """
        from yaml.constructor import SafeConstructor

        if self._tag() != "bool":
            raise self.error("not true or false")
        return bool(SafeConstructor.bool_values[self._node.value.lower()])

    def integer(self) -> int:
        """A whole number of at least 0.

        Raises:
            ConfigError: it is something else.
        """
        text = self.text()
        if not text.isascii() or not text.isdecimal():
            raise self.error(f"{text!r} is not a whole number of at least 0")
        return int(text)


def load(path: str, content: bytes) -> Value:
    """Parse a document; an empty one is null.

    Args:
        path: its name, for messages.
        content: UTF-8.

    Raises:
        ConfigError: it is not one YAML document.
    """
    import yaml  # 4 MiB, which who has no configuration file does not spend

    try:
        node = yaml.compose(content.decode(), Loader=yaml.SafeLoader)
    except UnicodeDecodeError:
        raise ConfigError(path, "not UTF-8") from None
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        line = mark.line + 1 if mark else None
        raise ConfigError(path, f"not YAML: {exc.problem or exc.context}", line) from None
    except yaml.YAMLError as exc:
        raise ConfigError(path, f"not YAML: {str(exc).splitlines()[0]}") from None
    except RecursionError:
        raise ConfigError(path, "nested too deeply") from None
    if node is None:
        node = yaml.compose("null", Loader=yaml.SafeLoader)
    return Value(path, node)
