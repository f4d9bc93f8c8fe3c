"""`cgexporter explain`: what was asked → the files and values that enforce it."""

import argparse
from collections.abc import Sequence

from cgexporter import kernel
from cgexporter.commands.output import failed, printed
from cgexporter.flags import Parser
from cgexporter.resources import docker
from cgexporter.resources.docker_options import read_command
from cgexporter.resources.settings import ExplainError, Explanation

_EXIT = """\
exit status:
  0  done
  1  what was asked would be refused or could not be read; stderr says why, in one line
  2  the command line was not understood
"""
_FORMATS = ("table", "json", "yaml")


def grammar() -> Parser:
    """The grammar of `cgexporter explain`; docs/FLAGS.md is printed from it."""
    flags = Parser(
        prog="cgexporter explain",
        description="Explain what the options of `docker run` become: files and values of cgroup "
        "v2 and v1, the cgroup's place, limits as they act, and whose namespaces the container "
        "gets. Nothing is started. Devices are looked up on this host.",
        epilog=_EXIT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    flags.add_argument(
        "--format",
        choices=_FORMATS,
        default="table",
        help="text for people (default), JSON or YAML",
    )
    flags.add_argument(
        "words",
        metavar="docker run OPTIONS",
        nargs=argparse.REMAINDER,
        help="a command line of Docker, with or without an image",
    )
    return flags


def run(flags: argparse.Namespace, grammar: Parser) -> int:
    """Print the explanation."""
    if not flags.words:
        grammar.error("explain what? begin with `docker run`, or give -f MANIFEST")
    try:
        explanations = [docker.explain(read_command(flags.words), kernel.device)]
    except ExplainError as exc:
        return failed(exc)
    return printed(show(explanations, flags.format))


def show(explanations: Sequence[Explanation], form: str) -> str:
    """Print in one of the formats."""
    if form == "table":
        from cgexporter.local.explain import as_table

        return as_table(explanations)
    from cgexporter.local.explained import as_json, as_yaml

    return as_json(explanations) if form == "json" else as_yaml(explanations)
