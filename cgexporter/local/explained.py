"""``cgexporter explain``: what was asked and what it becomes, as JSON or YAML for scripts."""

import json
from collections.abc import Sequence
from typing import Any

from cgexporter.resources.settings import Explanation, Group, Line


def document(explanations: Sequence[Explanation]) -> dict[str, Any]:
    """All of it as plain objects; the formats of scripts are printed from this."""
    return {"explanations": [_explanation(one) for one in explanations]}


def _explanation(one: Explanation) -> dict[str, Any]:
    return {
        "title": one.title,
        "facts": dict(one.facts),
        "cgroups": [_group(group) for group in one.groups],
        "namespaces": dict(one.namespaces),
        "without_effect": [{"asked": what, "why": why} for what, why in one.without_effect],
        "notes": list(one.notes),
    }


def _group(group: Group) -> dict[str, Any]:
    return {
        "name": group.name,
        "paths": {"systemd": group.systemd, "cgroupfs": group.cgroupfs},
        "facts": dict(group.facts),
        "limits": dict(group.limits),
        "settings": [
            {
                "asked": setting.asked,
                "v2": [_line(line) for line in setting.v2],
                "v1": [_line(line) for line in setting.v1],
                "note": setting.note,
            }
            for setting in group.settings
        ],
    }


def _line(line: Line) -> dict[str, str]:
    return {"file": line.file, "value": line.value, "when": line.when}


def as_json(explanations: Sequence[Explanation]) -> str:
    """Print as JSON."""
    return json.dumps(document(explanations), indent=2) + "\n"


def as_yaml(explanations: Sequence[Explanation]) -> str:
    """Print as YAML."""
    import yaml

    return yaml.safe_dump(document(explanations), sort_keys=False, allow_unicode=True, width=100)
