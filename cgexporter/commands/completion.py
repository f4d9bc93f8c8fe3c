"""`cgexporter completion`: scripts that complete this command line, printed from its grammars."""

import argparse
import shlex
from collections.abc import Iterator, Mapping

from cgexporter.commands import COMMANDS, grammars
from cgexporter.commands.options import Option, options
from cgexporter.commands.output import printed
from cgexporter.flags import EXIT, Parser


def grammar() -> Parser:
    """The grammar of `cgexporter completion`; docs/FLAGS.md is printed from it."""
    flags = Parser(
        prog="cgexporter completion",
        description="Print a script that completes cgexporter's command line: for bash into "
        "/usr/share/bash-completion/completions/cgexporter, for zsh into a directory of $fpath as "
        "_cgexporter, for fish into ~/.config/fish/completions/cgexporter.fish.",
        epilog=EXIT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    flags.add_argument("shell", choices=tuple(_SCRIPTS), help="which shell")
    return flags


def run(flags: argparse.Namespace, grammar: Parser) -> int:
    """Print it."""
    del grammar
    offered = {
        name: [option for _, group in options(each) for option in group]
        for name, each in grammars().items()
    }
    return printed("\n".join(_SCRIPTS[flags.shell](offered)) + "\n")


Offered = Mapping[str, list[Option]]


def _bash(offered: Offered) -> Iterator[str]:
    yield "# bash completion for cgexporter"
    yield "_cgexporter() {"
    yield "    local word=${COMP_WORDS[COMP_CWORD]} last=${COMP_WORDS[COMP_CWORD-1]}"
    yield "    local command= flags="
    yield '    case "${COMP_WORDS[1]}" in'
    yield f"    {'|'.join(COMMANDS)}) command=${{COMP_WORDS[1]}};;"
    yield "    esac"
    yield '    case "$command $last" in'
    for name, found in offered.items():
        for option in found:
            places = "|".join(f"{shlex.quote(f'{name} {flag}')}" for flag in option.names)
            if option.choices and places:
                choices = shlex.quote(" ".join(option.choices))
                yield f'    {places}) COMPREPLY=($(compgen -W {choices} -- "$word")); return;;'
            elif option.files and places:
                yield f'    {places}) COMPREPLY=($(compgen -f -- "$word")); return;;'
            elif option.value and places:
                yield f"    {places}) return;;"
    yield "    esac"
    yield '    case "$command" in'
    for name, found in offered.items():
        words = [flag for option in found for flag in option.names]
        words += [choice for option in found if not option.names for choice in option.choices]
        yield f"    {shlex.quote(name)}) flags={shlex.quote(' '.join(words))};;"
    yield "    esac"
    yield "    if [ $COMP_CWORD -eq 1 ] && [[ $word != -* ]]; then"
    yield f"        flags={shlex.quote(' '.join(COMMANDS))}"
    yield "    fi"
    yield '    COMPREPLY=($(compgen -W "$flags" -- "$word"))'
    files = [n for n, found in offered.items() if any(o.files and not o.names for o in found)]
    yield f'    case "$command" in {"|".join(files)}) COMPREPLY+=($(compgen -f -- "$word"));; esac'
    yield "}"
    yield "complete -F _cgexporter cgexporter"


def _zsh_text(text: str) -> str:
    for special in ("\\", "[", "]", ":"):
        text = text.replace(special, f"\\{special}")
    return text


def _zsh_option(option: Option) -> Iterator[str]:
    value = ""
    if option.value:
        what = f"({' '.join(option.choices)})" if option.choices else ""
        what = "_files" if option.files else what
        value = f":{_zsh_text(option.value)}:{what or ' '}"
    for flag in option.names:
        yield shlex.quote(f"*{flag}[{_zsh_text(option.help)}]{value}")
    if not option.names:
        yield shlex.quote(f"1{value}")


def _zsh(offered: Offered) -> Iterator[str]:
    yield "#compdef cgexporter"
    yield "# zsh completion for cgexporter"
    yield "_cgexporter() {"
    yield "    local -a commands=("
    for name, what in COMMANDS.items():
        yield f"        {shlex.quote(f'{name}:{_zsh_text(what)}')}"
    yield "    )"
    yield "    if (( CURRENT == 2 )) && [[ $words[2] != -* ]]; then"
    yield "        _describe command commands"
    yield "        return"
    yield "    fi"
    yield "    case $words[2] in"
    for name in COMMANDS:
        yield f"    {name})"
        yield "        shift words; (( CURRENT-- ))"
        lines = [line for option in offered[name] for line in _zsh_option(option)]
        yield "        _arguments \\\n            " + " \\\n            ".join(lines)
        yield "        ;;"
    yield "    *)"
    lines = [line for option in offered.get("", ()) for line in _zsh_option(option)]
    yield "        _arguments \\\n            " + " \\\n            ".join(lines)
    yield "        ;;"
    yield "    esac"
    yield "}"
    yield '_cgexporter "$@"'


def _fish(offered: Offered) -> Iterator[str]:
    yield "# fish completion for cgexporter"
    yield "complete -c cgexporter -f"
    names = " ".join(COMMANDS)
    alone = shlex.quote(f"not __fish_seen_subcommand_from {names}")
    for name, what in COMMANDS.items():
        yield f"complete -c cgexporter -n __fish_use_subcommand -a {name} -d {_fish_text(what)}"
    for name, found in offered.items():
        when = shlex.quote(f"__fish_seen_subcommand_from {name}") if name else alone
        for option in found:
            start = f"complete -c cgexporter -n {when}"
            if option.choices:
                start += f" -x -a {shlex.quote(' '.join(option.choices))}"
            elif option.value:
                start += " -r -F" if option.files else " -x"
            for flag in option.names:
                kind = f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}"
                yield f"{start} {kind} -d {_fish_text(option.help)}"
            if not option.names:
                yield f"{start} -d {_fish_text(option.help)}"


def _fish_text(text: str) -> str:
    quoted = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{quoted}'"


_SCRIPTS = {"bash": _bash, "zsh": _zsh, "fish": _fish}
