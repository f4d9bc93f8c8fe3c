"""Which metrics a PromQL expression names, and promtool's word on whether it is one."""

import json
import re
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from cgexporter.families import Row
from cgexporter.metric import PREFIX, Kind, Level
from cgexporter.metrics import DECLARED, METRICS, NAMESPACES, OWN, PROCESS
from cgexporter.publish import INFOS

SUFFIX = {Kind.COUNTER: "_total", Kind.INFO: "_info", Kind.GAUGE: ""}
# What Prometheus itself says of a target.
PROMETHEUS = {"up", "scrape_duration_seconds", "scrape_samples_scraped"}
_WORDS = {
    *("and", "or", "unless", "by", "without", "on", "ignoring", "group_left", "group_right"),
    *("offset", "bool", "Inf", "NaN"),
}
_GRAFANA = {
    "$__rate_interval": "5m",
    "$__interval": "1m",
    "$__range": "1h",
}


def metrics() -> set[str]:
    """Every name that is published."""
    rows: tuple[Row, ...] = (*OWN, *PROCESS, *NAMESPACES)
    names = {f"{row.family}{SUFFIX[row.kind]}" for row in rows}
    names |= {f"{row.family(level)}{SUFFIX[row.kind]}" for row in METRICS for level in row.levels}
    names |= {ask.family for ask in DECLARED}
    names |= {f"{PREFIX}_{level.value}_info" for level, _ in INFOS}
    names |= {f"{PREFIX}_{level.value}_limits_info" for level in Level}
    return names | PROMETHEUS


def named(expr: str) -> set[str]:
    """Metrics that an expression names."""
    text = re.sub(r'"(?:\\.|[^"\\])*"', "", expr)
    text = re.sub(r"\{[^}]*\}|\[[^\]]*\]", " ", text)
    text = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", " ", text)
    found = set()
    for match in re.finditer(r"(?<![\w.:])[A-Za-z_:][\w:]*", text):
        function = text[match.end() :].lstrip().startswith("(")
        if not function and match[0] not in _WORDS:
            found.add(match[0])
    return found


def selectors(expr: str) -> list[tuple[str, str]]:
    """Metrics with what is in their braces."""
    return re.findall(r"\b([a-z_:][\w:]*)\{((?:[^}\"]|\"(?:\\.|[^\"\\])*\")*)\}", expr)


def filled(expr: str, values: Mapping[str, str] = {}) -> str:
    """The expression with Grafana's variables replaced; by "All" where nothing is given."""
    for name, value in ({**_GRAFANA, **values}).items():
        expr = expr.replace(name, value)
    return re.sub(r"\$\w+", ".*", expr)


def check(promtool: str, directory: Path, expressions: Iterable[str]) -> str:
    """What promtool finds wrong in them; "" where nothing."""
    rules = [{"record": f"x:x:{n}", "expr": e} for n, e in enumerate(expressions)]
    file = directory / "queries.json"  # JSON is YAML
    file.write_text(json.dumps({"groups": [{"name": "queries", "rules": rules}]}))
    done = subprocess.run(
        [promtool, "check", "rules", "--lint=none", str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if done.returncode == 0 else done.stderr
