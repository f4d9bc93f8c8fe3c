"""`cgexporter explain`: what was asked → the files and values that enforce it."""

import argparse
import contextlib
import sys
from collections.abc import Sequence

from cgexporter import kernel
from cgexporter.commands.output import failed, printed
from cgexporter.flags import Parser
from cgexporter.resources import docker, kubernetes
from cgexporter.resources.docker_options import read_command
from cgexporter.resources.documents import MAX_BYTES, read
from cgexporter.resources.manifest import pods
from cgexporter.resources.quantity import exact, whole
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
        description="Explain what the options of `docker run` or the pods of a manifest become: "
        "files and values of cgroup v2 and v1, the tree of cgroups, limits as they act, and whose "
        "namespaces the containers get. Nothing is started. Devices are looked up on this host.",
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
        "-f",
        dest="manifest",
        metavar="MANIFEST",
        help="a file of Kubernetes manifests, or - for stdin: pods, and what has a template of "
        "pods; other kinds are left out",
    )
    flags.add_argument(
        "--node.memory",
        dest="node_memory",
        metavar="QUANTITY",
        type=_memory,
        help="with -f: the node's memory, such as 16Gi, which OOM scores depend on",
    )
    flags.add_argument(
        "words",
        metavar="docker run OPTIONS",
        nargs=argparse.REMAINDER,
        help="a command line of Docker, with or without an image",
    )
    return flags


def _memory(text: str) -> int:
    amount = exact(text)
    if amount is None or amount < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no quantity, such as 16Gi")
    return whole(amount)


def run(flags: argparse.Namespace, grammar: Parser) -> int:
    """Print the explanation."""
    if (flags.manifest is None) == (not flags.words):
        grammar.error("explain what? either `docker run OPTIONS` or -f MANIFEST")
    if flags.node_memory is not None and flags.manifest is None:
        grammar.error("--node.memory goes with -f")
    try:
        if flags.manifest is None:
            explanations: Sequence[Explanation] = [
                docker.explain(read_command(flags.words), kernel.device)
            ]
        else:
            explanations = _pods(flags.manifest, kubernetes.Node(flags.node_memory))
    except ExplainError as exc:
        return failed(exc)
    return printed(show(explanations, flags.format))


def _pods(file: str, node: kubernetes.Node) -> Sequence[Explanation]:
    name = "stdin" if file == "-" else file
    try:
        stdin = file == "-"
        with contextlib.nullcontext(sys.stdin.buffer) if stdin else open(file, "rb") as source:
            data = source.read(MAX_BYTES + 1)
    except (OSError, ValueError) as exc:  # ValueError: a NUL in the name
        raise ExplainError(f"{name}: {getattr(exc, 'strerror', None) or exc}") from None
    try:
        found, others = pods(read(data))
    except ExplainError as exc:
        raise ExplainError(f"{name}: {exc}") from None
    if not found:
        there = f"only {', '.join(others)}" if others else "nothing"
        raise ExplainError(f"{name}: no pod and no template of pods, {there}")
    return [kubernetes.explain(pod, node) for pod in found]


def show(explanations: Sequence[Explanation], form: str) -> str:
    """Print in one of the formats."""
    if form == "table":
        from cgexporter.local.explain import as_table

        return as_table(explanations)
    from cgexporter.local.explained import as_json, as_yaml

    return as_json(explanations) if form == "json" else as_yaml(explanations)
