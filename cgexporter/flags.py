"""What the command lines of all commands share: grammar, exit status, where the host is, logs."""

import argparse
from typing import TYPE_CHECKING, NoReturn

from cgexporter.durations import seconds
from cgexporter.logs import FORMATS, LEVELS

if TYPE_CHECKING:  # local views are no part of the serving path
    from cgexporter.local.choice import Filter

EXIT = """\
exit status:
  0  done; also when this host has no containers
  1  the host could not be read or the address not listened on
  2  the command line or a configuration file was not understood
"""


class Parser(argparse.ArgumentParser):
    """Says in one line what it did not understand."""

    def error(self, message: str) -> NoReturn:
        """Say it on stderr and exit with 2."""
        from cgexporter.local.text import printable  # words may be anybody's

        self.exit(2, f"{self.prog}: {printable(message)}; see {self.prog} --help\n")


def interval(text: str) -> float:
    """Seconds of `2s`, `500ms`, `1m30s` or `2`; from 100 ms to an hour."""
    try:
        found = seconds(f"{text}s" if text[-1:].isdecimal() else text)
    except ValueError:
        found = 0.0
    if not 0.1 <= found <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is no time from 100ms to 60m, such as 2s")
    return found


# Columns of the table: local.columns.SORT_KEYS, which the serving path does not load.
_SORT_KEYS = (
    "name, image, runtime, pod, qos, cpu, cpu-limit, throttled, periods, memory, memory-limit, "
    "used, oom, read, written, tasks, tasks-limit"
)


def sort_key(text: str) -> str:
    """A column to sort by."""
    if text not in _SORT_KEYS.split(", "):
        raise argparse.ArgumentTypeError(f"{text!r} is none of {_SORT_KEYS}")
    return text


def container_filter(text: str) -> "Filter":
    """A condition on containers."""
    from cgexporter.local.choice import parse

    try:
        return parse(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from None


def add_choice(flags: argparse._ArgumentGroup | argparse.ArgumentParser) -> None:
    """Add --sort and --filter: which containers, in which order."""
    flags.add_argument(
        "--sort",
        metavar="COLUMN",
        type=sort_key,
        help=f"sort by a column, numbers from the largest down: {_SORT_KEYS}",
    )
    flags.add_argument(
        "--filter",
        dest="filters",
        metavar="FILTER",
        type=container_filter,
        action="append",
        default=[],
        help="show only containers that match: a WORD that name, ID, pod or namespace has, or "
        "FIELD=PATTERN[,PATTERN] with the fields name, id, pod, namespace, runtime, qos, image, "
        "cgroup and patterns with * and ?, or FIELD!=PATTERN for those that do not; may be "
        "repeated, then all must hold",
    )


def add_host(flags: argparse.ArgumentParser) -> None:
    """Add --path.* and --from, which `recording.host.opened` takes."""
    add_paths(flags).add_argument(
        "--from",
        dest="recording",
        metavar="FILE",
        help="read a recording that `cgexporter record` made, and nothing of this host; - is "
        "stdin. It has names and paths of its own: --path.* and --identity.* do not count",
    )


def add_paths(flags: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add --path.*: where the host's trees are."""
    paths = flags.add_argument_group("where the host is")
    paths.add_argument(
        "--path.cgroupfs",
        dest="cgroupfs",
        metavar="DIR",
        default="/sys/fs/cgroup",
        help="the host's /sys/fs/cgroup, mounted or captured (default: %(default)s)",
    )
    paths.add_argument(
        "--path.procfs",
        dest="procfs",
        metavar="DIR",
        default="/proc",
        help="the host's /proc, mounted or captured (default: %(default)s)",
    )
    return paths


def add_logs(flags: argparse.ArgumentParser) -> None:
    """Add --log.*."""
    log = flags.add_argument_group("logs")
    log.add_argument(
        "--log.level",
        dest="log_level",
        choices=LEVELS,
        default="info",
        help="least severity that is logged (default: %(default)s)",
    )
    log.add_argument(
        "--log.format",
        dest="log_format",
        choices=FORMATS,
        default="logfmt",
        help="how logs are written to stderr (default: %(default)s)",
    )
