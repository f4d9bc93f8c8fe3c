"""``cgexporter doctor``: findings for people, and as JSON for scripts."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from cgexporter.findings.model import Finding, Harm, Window


def as_json(window: Window, findings: Sequence[Finding], notes: Sequence[str]) -> str:
    """Print as JSON."""
    document = {
        "window_seconds": round(window.seconds, 3),
        "containers": len(window.containers),
        "findings": [_object(finding) for finding in findings],
        "not_looked_for": list(notes),
    }
    return json.dumps(document, indent=2) + "\n"


def _object(finding: Finding) -> Mapping[str, Any]:
    limit = finding.limit
    return {
        "kind": finding.kind,
        "harm": finding.harm.name.lower(),
        "container": finding.container,
        "pod": finding.pod,
        "cgroup": finding.cgroup,
        "cause": finding.cause,
        "evidence": list(finding.evidence),
        "limit": limit and {"cgroup": limit.cgroup, "file": limit.file, "value": limit.value},
        "change": finding.change,
        "numbers": dict(finding.numbers),
    }


_STYLES = {Harm.CRITICAL: "bold red", Harm.WARNING: "yellow", Harm.NOTE: "cyan"}


def as_text(window: Window, findings: Sequence[Finding], notes: Sequence[str]) -> str:
    """Print for people: the cause, then evidence, the limit, and what to change."""
    from rich.console import Console
    from rich.text import Text

    from cgexporter.local.explain import wrapped
    from cgexporter.local.table import rendered
    from cgexporter.local.text import printable

    def print_to(console: Console, terminal: bool) -> None:
        def say(mark: str, text: str, style: str = "", mark_style: str = "dim") -> None:
            for number, line in enumerate(wrapped(printable(text), console.width - len(mark))):
                begin = mark if number == 0 else " " * len(mark)
                console.print(Text(begin, style=mark_style).append(line, style=style or "not dim"))

        del terminal
        for finding in findings:
            word = f"{finding.harm.name.lower():9}"
            say(word, finding.cause, "bold", _STYLES[finding.harm])
            if finding.pod:
                say("         pod     ", finding.pod)
            for number, line in enumerate(finding.evidence):
                say("                 " if number else "         seen    ", line)
            if limit := finding.limit:
                say("         limit   ", f"{limit.file} = {limit.value}")
                say("                 ", f"in {limit.cgroup}")
            say("         change  ", finding.change)
            console.print()
        count = len(window.containers)
        looked = f"{count} container{'' if count == 1 else 's'} for {window.seconds:.1f} s"
        if findings:
            many = f"{len(findings)} finding{'' if len(findings) == 1 else 's'}"
            say("", f"{many}; looked at {looked}")
        else:
            say("", f"Nothing found; looked at {looked}.")
        for note in notes:
            say("not looked for: ", note, "dim")

    return rendered(print_to)
