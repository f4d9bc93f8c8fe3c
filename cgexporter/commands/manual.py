"""`cgexporter manual`: the manual page, printed from the grammars. Source: mdoc(7)."""

import argparse
import re
import textwrap
from collections.abc import Iterator

from cgexporter import __version__
from cgexporter.commands import COMMANDS, grammars
from cgexporter.commands.options import Option, options
from cgexporter.commands.output import printed
from cgexporter.flags import EXIT, Parser

# When the page was written; mdoc(7) wants a date, and the same page each time.
_DATE = "November 24, 2026"


def grammar() -> Parser:
    """The grammar of `cgexporter manual`; docs/FLAGS.md is printed from it."""
    return Parser(
        prog="cgexporter manual",
        description="Print the manual page of cgexporter and its commands: read it with "
        "`cgexporter manual | man -l -`, install it as man1/cgexporter.1.",
        epilog=EXIT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def run(flags: argparse.Namespace, grammar: Parser) -> int:
    """Print it."""
    del flags, grammar
    return printed("\n".join(_page()) + "\n")


def _text(text: str) -> str:
    """Text in which nothing is a request or an escape."""
    text = " ".join(text.split()).replace("\\", "\\e").replace("-", "\\-").replace("`", "\\(ga")
    text = text.replace("'", "\\(aq").replace('"', "\\(dq")
    return f"\\&{text}" if text.startswith(".") else text


def _sentences(text: str) -> Iterator[str]:
    """A text in short lines, each sentence beginning one."""
    for sentence in re.split(r"(?<=[a-z)]\.)\s+(?=[A-Z])", " ".join(text.split())):
        for line in textwrap.wrap(sentence, 60, break_long_words=False, break_on_hyphens=False):
            yield _text(line)


def _item(option: Option) -> Iterator[str]:
    parts = [f"Fl {_word(flag[1:])}" for flag in option.names]
    line = " , ".join(parts)
    if option.value:
        line = f"{line} Ar {_word(option.value)}".strip()
    yield f".It {line}"
    yield from _sentences(option.help)


def _word(text: str) -> str:
    """A word of a macro's line; one that could be a macro or delimiter itself is none."""
    return f'"{_text(text)}"' if " " in text or len(text) < 3 else _text(text)


def _options(of: argparse.ArgumentParser) -> Iterator[str]:
    for title, found in options(of):
        if title not in ("options", "positional arguments"):
            yield ".Pp"
            yield f"{_text(title[0].upper() + title[1:])}:"
        yield ".Bl -tag -width Ds"
        for option in found:
            yield from _item(option)
        yield ".El"


def _exit_status(of: argparse.ArgumentParser) -> Iterator[str]:
    _, _, status = (of.epilog or "").partition("exit status:\n")
    yield ".Bl -tag -width Ds"
    for line in status.splitlines():
        number, _, what = line.strip().partition("  ")
        yield f".It {number}"
        yield _text(what)
    yield ".El"


def _page() -> Iterator[str]:
    all_grammars = grammars()
    main = all_grammars[""]
    yield f'.\\" Printed by `cgexporter manual`, version {__version__}.'
    yield f".Dd {_DATE}"
    yield ".Dt CGEXPORTER 1"
    yield ".Os"
    yield ".Sh NAME"
    yield ".Nm cgexporter"
    yield ".Nd how this host enforces and accounts the resources of its containers"
    yield ".Sh SYNOPSIS"
    yield ".Nm"
    yield ".Op Ar flags"
    yield ".Nm"
    yield ".Fl \\-once"
    yield ".Op Ar flags"
    for name in COMMANDS:
        yield ".Nm"
        yield f".Cm {name}"
        yield ".Op Ar flags"
        for _, found in options(all_grammars[name]):
            yield from (f".Ar {_word(each.value)}" for each in found if not each.names)
    yield ".Sh DESCRIPTION"
    yield from _sentences(main.description or "")
    yield ".Pp"
    yield "The commands are:"
    yield ".Bl -tag -width completion"
    for name, what in COMMANDS.items():
        yield f".It Cm {name}"
        yield from _sentences(what[0].upper() + what[1:] + ".")
    yield ".El"
    yield ".Sh OPTIONS"
    yield from _options(main)
    yield ".Sh COMMANDS"
    for name in COMMANDS:
        yield f".Ss {name}"
        yield from _sentences(all_grammars[name].description or "")
        yield from _options(all_grammars[name])
    yield ".Sh EXIT STATUS"
    yield from _exit_status(main)
    yield ".Sh EXAMPLES"
    yield "What each container of this host did in two seconds, the busiest first:"
    yield ".Dl cgexporter \\-\\-once \\-\\-interval 2s \\-\\-sort cpu"
    yield ".Pp"
    yield "A host for somebody else to look at:"
    yield ".Dl cgexporter record host.tar.xz"
    yield ".Dl cgexporter \\-\\-once \\-\\-from host.tar.xz"
