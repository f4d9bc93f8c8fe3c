"""`cgexporter doctor`: what is wrong, with the limit that causes it and what to change."""

import argparse
import sys
import time

from cgexporter import name_flags
from cgexporter.commands.output import failed, printed
from cgexporter.exporter import Exporter, Settings
from cgexporter.findings.examine import blind, examine
from cgexporter.findings.model import Harm, Window
from cgexporter.flags import Parser, add_logs, add_paths
from cgexporter.hierarchies import NoHierarchyError
from cgexporter.logs import configure
from cgexporter.metrics import DEFAULT_COLLECTORS
from cgexporter.names.settings import IdentityError

FOUND = 3  # exit status
_EXIT = f"""\
exit status:
  0  done, whatever was found
  1  the host could not be read
  2  the command line was not understood
  {FOUND}  with --fail-on: something of at least that harm was found
"""
_WAIT_SECONDS = 0.2


def grammar() -> Parser:
    """The grammar of `cgexporter doctor`; docs/FLAGS.md is printed from it."""
    flags = Parser(
        prog="cgexporter doctor",
        description="Find what is wrong with the containers of this host: look twice, a few "
        "seconds apart, and say what is harmful, most harmful first, with the numbers that show "
        "it, the limit that causes it, its own or an ancestor's, and what to change.",
        epilog=_EXIT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    flags.add_argument(
        "--interval",
        metavar="SECONDS",
        type=_seconds,
        default=5.0,
        help="how long to look (default: 5)",
    )
    flags.add_argument(
        "--format",
        choices=("table", "json"),
        default="table",
        help="text for people (default), or JSON",
    )
    flags.add_argument(
        "--fail-on",
        dest="fail_on",
        choices=[harm.name.lower() for harm in Harm],
        help=f"exit with {FOUND} if something of at least this harm is found",
    )
    add_paths(flags)
    name_flags.add(flags.add_argument_group("names (docs/IDENTITY.md)"))
    add_logs(flags)
    return flags


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0.1 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not 0.1 to 3600 seconds")
    return seconds


def run(flags: argparse.Namespace, grammar: Parser) -> int:
    """Look, and print what was found."""
    if problem := name_flags.problem(flags):
        grammar.error(problem)
    configure(flags.log_level, flags.log_format)
    try:
        exporter = Exporter(
            Settings(
                cgroupfs=flags.cgroupfs,
                procfs=flags.procfs,
                max_open_files=0,
                collectors=DEFAULT_COLLECTORS | {"io_limits"},
                identity=name_flags.identity(flags),
                sweep_through=True,
            )
        )
        before = exporter.look()
        _wait(flags.interval, len(before.containers))
        window = Window(before, exporter.name(exporter.look()))
    except (NoHierarchyError, IdentityError, OSError) as exc:
        return failed(exc)
    exporter.close()
    findings, notes = examine(window), list(blind(window))
    from cgexporter.local import doctor

    show = doctor.as_json if flags.format == "json" else doctor.as_text
    status = printed(show(window, findings, notes))
    if flags.fail_on and any(one.harm >= Harm[flags.fail_on.upper()] for one in findings):
        return FOUND
    return status


def _wait(seconds: float, containers: int) -> None:
    """Wait; on a terminal, say what for."""
    until = time.monotonic() + seconds
    talks = sys.stderr.isatty()
    while (left := until - time.monotonic()) > 0:
        if talks:
            print(f"\r\x1b[Klooking at {containers} containers, {left:.0f} s",
                  end="", file=sys.stderr, flush=True)  # fmt: skip
        time.sleep(min(left, _WAIT_SECONDS))
    if talks:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
