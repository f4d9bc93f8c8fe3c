"""`cgexporter doctor`: what is wrong, with the limit that causes it and what to change."""

import argparse
import contextlib
import sys
from collections.abc import Iterator

from cgexporter import name_flags
from cgexporter.commands.output import failed, printed
from cgexporter.commands.reading import PROBLEMS, reading
from cgexporter.exporter import Settings
from cgexporter.findings.examine import blind, examine
from cgexporter.findings.model import Harm, Window
from cgexporter.flags import Parser, add_host, add_logs, interval
from cgexporter.logs import configure
from cgexporter.metrics import DEFAULT_COLLECTORS

COLLECTORS = DEFAULT_COLLECTORS | {"io_limits", "memory_swap"}
FOUND = 3  # exit status
_EXIT = f"""\
exit status:
  0  done, whatever was found
  1  the host could not be read
  2  the command line was not understood
  {FOUND}  with --fail-on: something of at least that harm was found
"""


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
        metavar="TIME",
        type=interval,
        default=5.0,
        help="how long to look, such as 30s (default: 5s); of a recording its first and last scan",
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
    add_host(flags)
    name_flags.add(flags.add_argument_group("names (docs/IDENTITY.md)"))
    add_logs(flags)
    return flags


def run(flags: argparse.Namespace, grammar: Parser) -> int:
    """Look, and print what was found."""
    if problem := name_flags.problem(flags):
        grammar.error(problem)
    configure(flags.log_level, flags.log_format)
    settings = Settings(
        max_open_files=0,
        collectors=COLLECTORS,
        identity=name_flags.identity(flags),
        sweep_through=True,
    )
    try:
        with reading(flags, settings) as (exporter, host):
            before = exporter.look()
            with _said(flags.interval, len(before.containers)):
                if not host.wait(flags.interval):
                    return failed("doctor compares two scans, and the recording has one")
            host.last()
            window = Window(before, exporter.name(exporter.look()))
    except PROBLEMS as exc:
        return failed(exc)
    findings, notes = examine(window), list(blind(window))
    from cgexporter.local import doctor

    show = doctor.as_json if flags.format == "json" else doctor.as_text
    status = printed(show(window, findings, notes))
    if flags.fail_on and any(one.harm >= Harm[flags.fail_on.upper()] for one in findings):
        return FOUND
    return status


@contextlib.contextmanager
def _said(seconds: float, containers: int) -> Iterator[None]:
    """On a terminal, say what is waited for."""
    talks = sys.stderr.isatty()
    if talks:
        print(f"looking at {containers} containers for {seconds:g} s", end="", file=sys.stderr)
        sys.stderr.flush()
    try:
        yield
    finally:
        if talks:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
