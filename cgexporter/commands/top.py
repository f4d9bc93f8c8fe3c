"""`cgexporter top`: the containers of this host, live."""

import argparse
import sys

from cgexporter import name_flags
from cgexporter.commands.output import failed
from cgexporter.commands.reading import PROBLEMS, reading
from cgexporter.correlate.view import View
from cgexporter.exporter import Settings
from cgexporter.flags import EXIT, Parser, add_choice, add_host, add_logs, interval
from cgexporter.logs import configure

# What the columns show.
_COLLECTORS = frozenset({"cpu", "memory", "io", "pids"})


def grammar() -> Parser:
    """The grammar of `cgexporter top`; docs/FLAGS.md is printed from it."""
    flags = Parser(
        prog="cgexporter top",
        description="Show the containers of this host, live: what each used per second since the "
        "scan before. Keys: q ends, s and S sort by the next or last column, / asks for a filter "
        "(as --filter), c clears it, p or space pauses, up, down, page up and page down scroll.",
        epilog=EXIT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    flags.add_argument(
        "--interval",
        metavar="TIME",
        type=interval,
        default=interval("2s"),
        help="time between two scans, such as 500ms, 2s or 1m (default: 2s); a recording is shown "
        "scan by scan",
    )
    add_choice(flags)
    add_host(flags)
    name_flags.add(flags.add_argument_group("names (docs/IDENTITY.md)"))
    add_logs(flags)
    flags.set_defaults(log_level="error")
    return flags


def run(flags: argparse.Namespace, grammar: Parser) -> int:
    """Show it until it is ended."""
    if problem := name_flags.problem(flags):
        grammar.error(problem)
    if flags.recording == "-":
        grammar.error("--from - takes stdin, which is for keys here: name a file")
    if not sys.stdin.isatty() or not sys.stdout.isatty():
        return failed("top needs a terminal; in a pipe use cgexporter --once --interval 2s")
    configure(flags.log_level, flags.log_format)
    from cgexporter.local import top

    state = top.State(sort=flags.sort or "cpu", filters=flags.filters, interval=flags.interval)
    settings = Settings(collectors=_COLLECTORS, identity=name_flags.identity(flags))
    try:
        with reading(flags, settings) as (exporter, host):

            def look() -> View | None:
                if state.view is None:
                    return exporter.name(exporter.look())
                if host.replay is not None and not host.replay.advance():
                    return None
                view = exporter.look()
                exporter.resolver.want(view)
                return view

            top.run(state, look)
    except PROBLEMS as exc:
        return failed(exc)
    return 0
