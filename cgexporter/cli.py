"""The command line: flags, exit codes, and which way out.

Only what the chosen way needs is imported: tests/contract/test_imports.py says what.
"""

import argparse
import os
import re
import sys
from collections.abc import Sequence

from cgexporter import __version__, name_flags, web_flags
from cgexporter.commands import COMMANDS, command, know_grammar
from cgexporter.commands.output import failed, printed
from cgexporter.commands.reading import PROBLEMS, reading
from cgexporter.correlate.network import DEFAULT_EXCLUDE, NetworkSettings
from cgexporter.correlate.view import View
from cgexporter.document import ConfigError, escaped
from cgexporter.exporter import Exporter, Names, Settings
from cgexporter.flags import EXIT, Parser, add_choice, add_host, add_logs, interval
from cgexporter.logs import configure
from cgexporter.metric import Level
from cgexporter.metrics import COLLECTORS, DEFAULT_COLLECTORS

_DEFAULTS = Settings()


def _regex(text: str) -> str:
    try:
        re.compile(text)
    except re.error as exc:
        raise argparse.ArgumentTypeError(f"{text!r} is no regular expression: {exc}") from None
    return text


def _milliseconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1
    if not 0 < number <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0, at most 10000")
    return number


def _count(text: str) -> int:
    if not text.isascii() or not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 0")
    return int(text)


def _collector_levels(text: str) -> tuple[str, tuple[Level, ...]]:
    name, _, words = text.partition("=")
    if name not in COLLECTORS:
        raise argparse.ArgumentTypeError(f"there is no collector {name!r}")
    known = {level.value: level for level in Level}
    if not words or not known.keys() >= set(words.split(",")):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not NAME=LEVEL[,LEVEL] with levels among {', '.join(known)}"
        )
    return name, tuple(known[word] for word in dict.fromkeys(words.split(",")))


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = "".join(f"  {name:{width}}  {what}\n" for name, what in COMMANDS.items())
    return f"commands (cgexporter COMMAND --help):\n{lines}\n"


def parser() -> Parser:
    """The command line's grammar; docs/FLAGS.md is printed from it."""
    flags = Parser(
        prog="cgexporter",
        description="Show how this Linux host enforces and accounts the resources of its "
        "containers: serve it to Prometheus, or print it with --once.",
        epilog=_overview() + EXIT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    flags.add_argument("--version", action="version", version=f"cgexporter {__version__}")
    flags.add_argument(
        "--config.file",
        dest="config_file",
        metavar="FILE",
        help="read these flags from a YAML file, their names as keys; flags given here go over it "
        "(docs/INSTALL.md)",
    )
    once = flags.add_argument_group("print once")
    once.add_argument(
        "--once", action="store_true", help="print the containers of this host now, and exit"
    )
    once.add_argument(
        "--format",
        choices=("table", "tree", "json", "prom"),
        help="with --once: a table for people (default), the tree of cgroups, JSON, or the metrics "
        "as served",
    )
    once.add_argument(
        "--interval",
        metavar="TIME",
        type=interval,
        help="with --once: scan twice, so far apart (such as 2s), and show what happened between, "
        "per second; of a recording its first and last scan",
    )
    add_choice(once)
    web_flags.add(flags.add_argument_group("serve (docs/WEB.md)"))
    web_flags.add_output(flags.add_argument_group("write a file"))
    add_host(flags)
    scan = flags.add_argument_group("what is read")
    for name in COLLECTORS:
        scan.add_argument(
            f"--collector.{name}",
            dest=f"collector_{name}",
            action=argparse.BooleanOptionalAction,
            default=name in DEFAULT_COLLECTORS,
            help=f"publish the {name} metrics (default: "
            f"{'on' if name in DEFAULT_COLLECTORS else 'off'})",
        )
    scan.add_argument(
        "--collector.levels",
        dest="collector_levels",
        metavar="NAME=LEVEL[,LEVEL]",
        type=_collector_levels,
        action="append",
        default=[],
        help="publish a collector for these levels only: "
        f"{', '.join(level.value for level in Level)}; may be repeated",
    )
    scan.add_argument(
        "--metrics.names",
        dest="names",
        choices=[names.value for names in Names],
        default=Names.CGEXPORTER.value,
        help="whose metric names to serve: our own, cAdvisor's for rules and dashboards written "
        "for it, or both (default: %(default)s)",
    )
    scan.add_argument(
        "--scan.max-cgroups",
        dest="max_cgroups",
        metavar="N",
        type=_count,
        default=_DEFAULTS.max_cgroups,
        help="read at most N cgroups, containers and pods first (default: %(default)s)",
    )
    scan.add_argument(
        "--scan.max-open-files",
        dest="max_open_files",
        metavar="N",
        type=_count,
        default=_DEFAULTS.max_open_files,
        help="while serving, hold at most N kernel files open between scans; more cost memory, "
        "fewer cost CPU time (default: %(default)s, and what RLIMIT_NOFILE allows)",
    )
    name_flags.add(flags.add_argument_group("names (docs/IDENTITY.md)"))
    _add_network(flags.add_argument_group("network and namespaces (docs/NAMESPACES.md)"))
    add_logs(flags)
    return flags


def _add_network(network: argparse._ArgumentGroup) -> None:
    network.add_argument(
        "--network.interface-include",
        dest="interface_include",
        metavar="REGEX",
        type=_regex,
        help="publish only interfaces whose whole name matches (default: all)",
    )
    network.add_argument(
        "--network.interface-exclude",
        dest="interface_exclude",
        metavar="REGEX",
        type=_regex,
        help="publish no interface whose whole name matches (default: "
        f"{DEFAULT_EXCLUDE}, or nothing where --network.interface-include is given)",
    )
    network.add_argument(
        "--network.host",
        dest="network_host",
        action="store_true",
        help="publish the host's own network too, on the node",
    )
    network.add_argument(
        "--namespaces.sweep-ms",
        dest="sweep_ms",
        metavar="N",
        type=_milliseconds,
        default=_DEFAULTS.sweep_milliseconds,
        help="look at processes' namespaces for at most N milliseconds of a scan, per 100 "
        "containers begun; more finds changes sooner (default: %(default)s)",
    )


def settings(flags: argparse.Namespace) -> Settings:
    """What to read and publish, from the command line."""
    return Settings(
        cgroupfs=flags.cgroupfs,
        procfs=flags.procfs,
        max_open_files=0
        if flags.once or (flags.textfile and not flags.textfile_interval)
        else flags.max_open_files,
        max_connections=flags.max_connections,
        max_cgroups=flags.max_cgroups,
        collectors=frozenset(c for c in COLLECTORS if getattr(flags, f"collector_{c}")),
        collector_levels=dict(flags.collector_levels),
        names=Names(flags.names),
        identity=name_flags.identity(flags),
        network=_network(flags),
        sweep_milliseconds=flags.sweep_ms,
        sweep_through=flags.once or bool(flags.textfile),
    )


def _network(flags: argparse.Namespace) -> NetworkSettings:
    include, exclude = flags.interface_include, flags.interface_exclude
    if exclude is None:
        exclude = DEFAULT_EXCLUDE if include is None else ""
    return NetworkSettings(
        include=".*" if include is None else include, exclude=exclude, host=flags.network_host
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    words = sys.argv[1:] if arguments is None else arguments
    know_grammar(parser)
    if words and words[0] in COMMANDS:
        chosen = command(words[0])
        grammar = chosen.grammar()
        named = argparse.Namespace(root=parser)
        return int(chosen.run(grammar.parse_args(words[1:], named), grammar))
    grammar = parser()
    flags = grammar.parse_args(words)
    if problem := _misplaced(flags):
        grammar.error(problem)
    if flags.config_file:
        from cgexporter.config_file import overlay

        try:
            flags = overlay(parser, words, flags.config_file)
        except ConfigError as exc:
            return failed(exc, 2)
    if problem := name_flags.problem(flags) or web_flags.problem(flags):
        grammar.error(problem)
    configure(flags.log_level, flags.log_format)
    if flags.once:
        return _once(flags)
    try:
        exporter = Exporter(settings(flags))
    except PROBLEMS as exc:
        return failed(exc)
    if flags.textfile:
        return _write(exporter, flags)
    return _serve(exporter, flags)


def _misplaced(flags: argparse.Namespace) -> str | None:
    """What is given but does not go with the rest; None where all does."""
    if flags.once:
        if flags.addresses:
            return "--web.listen-address goes without --once"
        if flags.textfile:
            return "--output.textfile goes without --once"
        for name in ("interval", "sort", "filters"):
            if flags.format == "prom" and getattr(flags, name):
                return f"--{name.rstrip('s')} goes with no metrics: they are as served"
        return None
    for name in ("format", "interval", "sort", "filters"):
        if getattr(flags, name):
            return f"--{name.rstrip('s')} goes with --once"
    return "--from goes with --once, or behind a command" if flags.recording else None


def _once(flags: argparse.Namespace) -> int:
    from cgexporter.local.progress import Progress

    try:
        with reading(flags, settings(flags)) as (exporter, host):
            with Progress(exporter.scanner.far):
                if flags.interval is None:
                    host.last()
                view = exporter.name(exporter.look())
                before = None
                if flags.interval is not None:
                    before = view
                    if not host.wait(flags.interval):
                        return failed("--interval needs two scans, and the recording has one")
                    host.last()
                    view = exporter.name(exporter.look())
            return printed(_output(exporter, view, before, flags))
    except PROBLEMS as exc:
        return failed(exc)


def _output(exporter: Exporter, view: View, before: View | None, flags: argparse.Namespace) -> str:
    if flags.format == "prom":
        from cgexporter.own import page
        from cgexporter.publish import Format

        return page(exporter, view, Format.TEXT).decode()
    from cgexporter.local.choice import chosen
    from cgexporter.local.rates import rates

    changes = None if before is None else rates(before, view)
    view, missing = chosen(view, flags.filters), exporter.resolver.missing
    if flags.format == "json":
        from cgexporter.local.columns import sorted_view
        from cgexporter.local.json import document

        return document(sorted_view(view, changes, flags.sort), missing, changes)
    if flags.format == "tree":
        from cgexporter.local.tree import tree

        return tree(view, missing, changes, flags.sort)
    from cgexporter.local.table import table

    return table(view, missing, changes, flags.sort)


def _write(exporter: Exporter, flags: argparse.Namespace) -> int:
    from cgexporter import textfile

    try:
        textfile.run(exporter, flags.textfile, flags.textfile_interval)
    except OSError as exc:
        return failed(f"cannot write {escaped(flags.textfile)}: {exc.strerror or exc}")
    finally:
        exporter.close()
    return 0


def _serve(exporter: Exporter, flags: argparse.Namespace) -> int:
    import asyncio
    import logging

    from cgexporter.server import Web, serve

    log = logging.getLogger("cgexporter")

    def started(addresses: list[tuple[str, int]]) -> None:
        for host, port in addresses:
            log.info("listening on %s:%d", f"[{host}]" if ":" in host else host, port)
        if os.geteuid() == 0:
            log.info("running as root, which only others' namespaces and runtimes' state need")

    web = Web(
        addresses=flags.addresses or [web_flags.DEFAULT_ADDRESS],
        systemd_socket=flags.systemd_socket,
        metrics_path=flags.metrics_path,
        limits=web_flags.limits(flags),
        config_file=flags.web_config,
    )
    try:
        asyncio.run(serve(exporter, web, started))
    except ConfigError as exc:
        return failed(exc, 2)
    except TimeoutError:
        log.error("a scan hangs: ended without waiting for it")  # noqa: TRY400
        os._exit(1)  # the interpreter would wait for the thread
    except OSError as exc:
        wanted = ", ".join(f"{host}:{port}" for host, port in web.addresses)
        if web.systemd_socket:
            wanted = "systemd's sockets"
        return failed(f"cannot listen on {wanted}: {exc.strerror or exc}")
    return 0
