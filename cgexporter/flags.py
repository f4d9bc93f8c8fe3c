"""What the command lines of all commands share: grammar, exit status, where the host is, logs."""

import argparse
from typing import NoReturn

from cgexporter.logs import FORMATS, LEVELS

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
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def add_paths(flags: argparse.ArgumentParser) -> None:
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
