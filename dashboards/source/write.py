"""All files that are written from this package."""

import argparse
import dataclasses
import json
from pathlib import Path

from dashboards.source import container, docker, exporter, node, pressure, qos, rules
from dashboards.source.thresholds import Thresholds

HERE = Path(__file__).resolve().parents[1]
DASHBOARDS = tuple(
    module.DASHBOARD for module in (node, container, pressure, docker, qos, exporter)
)


def files(thresholds: Thresholds | None = None) -> dict[str, str]:
    """Content by path below ``dashboards/``."""
    t = thresholds or Thresholds()
    found = {f"{each.uid}.json": json.dumps(each.json(), indent=2) + "\n" for each in DASHBOARDS}
    found["rules/cgexporter-alerts.yaml"] = rules.text(rules.alerts(t), "Alerts of cgexporter.")
    found["rules/cgexporter-optional-alerts.yaml"] = rules.text(
        rules.optional_alerts(t), "More alerts of cgexporter, for those who want them."
    )
    found["rules/cgexporter-recording.yaml"] = rules.text(
        rules.recording(), "Recording rules of cgexporter."
    )
    return found


def main() -> None:
    """Write them, or print the alerts with other thresholds."""
    names = [each.name for each in dataclasses.fields(Thresholds)]
    parser = argparse.ArgumentParser(description="Write the dashboards and rules anew.")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help=f"print the alerts with another threshold and write nothing: {', '.join(names)}",
    )
    changed: dict[str, float] = {}
    for word in (asked := parser.parse_args()).set:
        name, _, value = word.partition("=")
        try:
            changed[names[names.index(name)]] = float(value)
        except ValueError:
            parser.error(f"--set {word}: want NAME=NUMBER, with a NAME of {', '.join(names)}")
    content = files(Thresholds(**changed))
    if asked.set:
        print(content["rules/cgexporter-alerts.yaml"], end="")
        return
    for path, text in content.items():
        (HERE / path).write_text(text)


if __name__ == "__main__":
    main()
