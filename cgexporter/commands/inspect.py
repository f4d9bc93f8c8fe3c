"""`cgexporter inspect`: everything that is known about one container."""

import argparse

from cgexporter import name_flags
from cgexporter.commands.output import failed, printed
from cgexporter.commands.reading import PROBLEMS, reading
from cgexporter.exporter import Settings
from cgexporter.flags import Parser, add_host, add_logs, interval
from cgexporter.logs import configure
from cgexporter.metrics import DEFAULT_COLLECTORS

_EXIT = """\
exit status:
  0  done
  1  the host could not be read, or no container or more than one is what NAME says
  2  the command line was not understood
"""


def grammar() -> Parser:
    """The grammar of `cgexporter inspect`; docs/FLAGS.md is printed from it."""
    flags = Parser(
        prog="cgexporter inspect",
        description="Show everything that is known about one container: its limits and which file "
        "sets them, all cgroups above it, what it uses, what it waits for, events, which processes "
        "started it, its namespaces and network.",
        epilog=_EXIT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    flags.add_argument(
        "name",
        metavar="NAME",
        help="a container's name, its ID or first digits, the PID of a process in it, the path of "
        "its cgroup; or a pod's name, NAMESPACE/POD or UID, for all containers in it",
    )
    flags.add_argument(
        "--format", choices=("table", "json"), default="table", help="for people (default), or JSON"
    )
    flags.add_argument(
        "--interval",
        metavar="TIME",
        type=interval,
        default=interval("1s"),
        help="scan twice, so far apart, and show what happened between (default: 1s); of a "
        "recording its first and last scan",
    )
    add_host(flags)
    name_flags.add(flags.add_argument_group("names (docs/IDENTITY.md)"))
    add_logs(flags)
    return flags


def run(flags: argparse.Namespace, grammar: Parser) -> int:
    """Print it."""
    if problem := name_flags.problem(flags):
        grammar.error(problem)
    configure(flags.log_level, flags.log_format)
    from cgexporter.local.inspection import NotOneError, found, inspect

    settings = Settings(
        collectors=DEFAULT_COLLECTORS | {"pids_peak", "memory_swap", "cgroup"},
        identity=name_flags.identity(flags),
        sweep_through=True,
    )
    try:
        with reading(flags, settings) as (exporter, host):
            before, view = None, exporter.name(exporter.look())
            found(view, exporter.sweep, flags.name)  # whom there is not needs no second scan
            if host.wait(flags.interval):
                host.last()
                before, view = view, exporter.name(exporter.look())
            inspected = [
                inspect(view, exporter.sweep, exporter.hierarchies, container, before)
                for container in found(view, exporter.sweep, flags.name)
            ]
            unsupported = exporter.unsupported
    except (*PROBLEMS, NotOneError) as exc:
        return failed(exc)
    if flags.format == "json":
        from cgexporter.local.json import inspections

        return printed(inspections(view, inspected, unsupported))
    from cgexporter.local.inspect import page

    return printed(page(inspected, unsupported))
