"""`cgexporter check-config`: whether configuration files can be used."""

import argparse
import sys
from collections.abc import Callable

from cgexporter import name_flags, web_flags
from cgexporter.commands.output import failed, printed
from cgexporter.config_file import overlay
from cgexporter.document import ConfigError, escaped
from cgexporter.flags import Parser
from cgexporter.web.live import load

_EXIT = """\
exit status:
  0  every file can be used
  1  one of them cannot; each problem is a line FILE:LINE: PROBLEM on stderr
  2  the command line was not understood
"""


def grammar() -> Parser:
    """The grammar of `cgexporter check-config`; docs/FLAGS.md is printed from it."""
    flags = Parser(
        prog="cgexporter check-config",
        description="Check configuration files, with the certificates and keys that they name, "
        "before a server meets them.",
        epilog=_EXIT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    flags.add_argument(
        "--config.file",
        dest="config_file",
        metavar="FILE",
        help="a file of settings (docs/INSTALL.md); the web configuration that it names is "
        "checked as well",
    )
    flags.add_argument(
        "--web.config.file",
        dest="web_config",
        metavar="FILE",
        help="a web configuration (docs/WEB.md)",
    )
    return flags


def run(flags: argparse.Namespace, grammar: Parser) -> int:
    """Check each file; `flags.root` makes the grammar of the command without a name."""
    if not flags.config_file and not flags.web_config:
        grammar.error("name a file with --config.file or --web.config.file")
    problems: list[str] = []
    web = [flags.web_config] if flags.web_config else []
    if flags.config_file:
        merged = _settings(flags.root, flags.config_file, problems)
        if merged and merged.web_config and merged.web_config not in web:
            web.append(merged.web_config)
    for file in web:
        try:
            for warning in load(file).warnings:
                print(f"cgexporter: warning: {warning}", file=sys.stderr)
        except ConfigError as exc:
            problems.append(str(exc))
    for line in problems:
        failed(line)
    if problems:
        return 1
    files = [flags.config_file, *web] if flags.config_file else web
    return printed("".join(f"{escaped(file)}: ok\n" for file in files))


def _settings(
    root: Callable[[], Parser], file: str, problems: list[str]
) -> argparse.Namespace | None:
    """What a file of settings says; None, and one problem more, where it cannot be used."""
    try:
        merged = overlay(root, [], file)
    except ConfigError as exc:
        problems.append(str(exc))
        return None
    if found := name_flags.problem(merged) or web_flags.problem(merged):
        problems.append(f"{escaped(file)}: {found}")
    return merged
