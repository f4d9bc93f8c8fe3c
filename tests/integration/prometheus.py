"""A real Prometheus, run by a test, and what it says over its API."""

import json
import re
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path
from typing import TypedDict

from tests.integration.support import PATIENCE_SECONDS, eventually


class Series(TypedDict):
    """One element of an instant vector: its labels, and time and value."""

    metric: dict[str, str]
    value: tuple[float, str]


class _Vector(TypedDict):
    result: list[Series]


class _Query(TypedDict):
    data: _Vector


class Target(TypedDict):
    """What it says of a target: `lastError` is why the last scrape failed, or ""."""

    health: str
    lastError: str


class _Active(TypedDict):
    activeTargets: list[Target]


class _Targets(TypedDict):
    data: _Active


class _Metadata(TypedDict):
    data: dict[str, list[dict[str, str]]]


class Prometheus:
    """A Prometheus that scrapes one server each second.

    Args:
        prometheus: the program.
        directory: for its configuration, data and log.
        target: port of the server.
    """

    def __init__(self, prometheus: str, directory: Path, target: int) -> None:
        config = directory / "prometheus.yml"
        config.write_text(self.configuration(target))
        self._log = directory / "prometheus.log"
        flags = {
            "config.file": config,
            "storage.tsdb.path": directory / "tsdb",
            "web.listen-address": "127.0.0.1:0",
        }
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [prometheus, *(f"--{flag}={value}" for flag, value in flags.items())],
                cwd=directory,
                stdout=log,
                stderr=log,
            )
        self._port = 0

    def configuration(self, target: int) -> str:
        """Its prometheus.yml."""
        return (
            "global: {scrape_interval: 1s, scrape_timeout: 1s}\n"
            "scrape_configs:\n"
            "- job_name: cgexporter\n"
            f"  static_configs: [{{targets: ['127.0.0.1:{target}']}}]\n"
        )

    def wait_until_ready(self) -> None:
        """Wait until it answers queries."""
        listening = re.compile(r'"Listening on" (?:component=web )?address=127\.0\.0\.1:(\d+)')

        def port() -> int | None:
            log = self._log.read_text()
            assert self._process.poll() is None, log
            match = listening.search(log)
            return int(match[1]) if match and "ready to receive web requests" in log else None

        self._port = eventually(port, "Prometheus to listen")

    def query(self, expression: str) -> list[Series]:
        """Evaluate an expression now."""
        answer: _Query = json.loads(
            self._fetch("query?" + urllib.parse.urlencode({"query": expression}))
        )
        return answer["data"]["result"]

    def target(self) -> Target:
        """The state of its only target."""
        answer: _Targets = json.loads(self._fetch("targets"))
        (target,) = answer["data"]["activeTargets"]
        return target

    def metadata(self, family: str) -> list[dict[str, str]]:
        """Type, unit and help of a family, each once that it was told."""
        answer: _Metadata = json.loads(self._fetch("metadata"))
        return answer["data"].get(family, [])

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        try:
            self._process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _fetch(self, what: str) -> bytes:
        url = f"http://127.0.0.1:{self._port}/api/v1/{what}"
        with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as answer:
            content: bytes = answer.read()
        return content
