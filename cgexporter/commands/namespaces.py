"""`cgexporter namespaces`: who shares which namespace with whom."""

import argparse

from cgexporter import name_flags
from cgexporter.commands.output import failed, printed
from cgexporter.commands.reading import PROBLEMS, reading
from cgexporter.correlate.namespaces import host_namespaces
from cgexporter.exporter import Settings
from cgexporter.flags import EXIT, Parser, add_host, add_logs
from cgexporter.logs import configure


def grammar() -> Parser:
    """The grammar of `cgexporter namespaces`; docs/FLAGS.md is printed from it."""
    flags = Parser(
        prog="cgexporter namespaces",
        description="Show which container shares which namespace with the host, its pod or other "
        "containers, which namespaces of this host belong to no container, and what keeps them.",
        epilog=EXIT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    flags.add_argument(
        "--format",
        choices=("table", "tree", "json"),
        default="table",
        help="a table of containers (default), a tree of namespaces, or JSON",
    )
    add_host(flags)
    name_flags.add(flags.add_argument_group("names (docs/IDENTITY.md)"))
    add_logs(flags)
    return flags


def run(flags: argparse.Namespace, grammar: Parser) -> int:
    """Print the inventory."""
    if problem := name_flags.problem(flags):
        grammar.error(problem)
    configure(flags.log_level, flags.log_format)
    settings = Settings(
        max_open_files=0,
        collectors=frozenset({"namespaces", "network"}),
        identity=name_flags.identity(flags),
        sweep_through=True,
    )
    try:
        with reading(flags, settings) as (exporter, host):
            host.last()
            view = exporter.name(exporter.look())
            everywhere = host_namespaces(view, exporter.sweep)
            unsupported = exporter.unsupported
    except PROBLEMS as exc:
        return failed(exc)
    if flags.format == "json":
        from cgexporter.local.json import namespaces

        return printed(namespaces(view, everywhere, unsupported))
    from cgexporter.local import namespaces as views

    show = views.tree if flags.format == "tree" else views.table
    return printed(show(view, everywhere, unsupported))
