"""What the command lines of all commands share: grammar, exit status, where the host is, logs."""

import argparse
import re
from typing import NoReturn

from cgexporter.logs import FORMATS, LEVELS

EXIT = """\
exit status:
  0  done; also when this host has no containers
  1  the host could not be read or the address not listened on
  2  the command line was not understood
"""


class Parser(argparse.ArgumentParser):
    """Says in one line what it did not understand."""

    def error(self, message: str) -> NoReturn:
        """Say it on stderr and exit with 2."""
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def duration(text: str) -> float:
    """Seconds of `2s`, `500ms`, `1m` or `2`; at most an hour."""
    match = re.fullmatch(r"(\d{1,7}(?:\.\d{1,3})?)(ms|s|m|)", text, re.ASCII)
    seconds = float(match[1]) * {"ms": 0.001, "m": 60.0}.get(match[2], 1.0) if match else 0.0
    if not 0.1 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is no time from 100ms to 60m, such as 2s")
    return seconds


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
