"""The configuration file: flags' names as keys, under the command line."""

import argparse
from pathlib import Path

import pytest

from cgexporter.cli import parser, settings
from cgexporter.config_file import overlay
from cgexporter.document import ConfigError


def merged(directory: Path, text: str, *words: str) -> argparse.Namespace:
    """Defaults, the file and the command line, as one."""
    file = directory / "cgexporter.yml"
    file.write_text(text)
    return overlay(parser, words, str(file))


def test_every_form(tmp_path: Path) -> None:
    """Names may be nested at their dots or written whole; values are what the flags take."""
    flags = merged(
        tmp_path,
        """\
web:
  listen-address: [":9000", "127.0.0.1:9001"]
  telemetry-path: /m
  config.file: web.yml
  idle-timeout: 1m30s
collector:
  io: false
  memory_stat: true
  levels: [memory_stat=container]
scan.max-cgroups: 77
identity.labels: app
network: {host: true, interface-include: "eth.*"}
log: {level: warn}
""",
    )
    assert flags.addresses == [("", 9000), ("127.0.0.1", 9001)]
    assert (flags.metrics_path, flags.web_config, flags.idle_timeout) == ("/m", "web.yml", 90)
    assert (flags.collector_io, flags.collector_memory_stat) == (False, True)
    assert (flags.labels, flags.network_host, flags.log_level) == (["app"], True, "warn")
    chosen = settings(flags)
    assert chosen.max_cgroups == 77
    assert chosen.network.include == "eth.*"
    assert "io" not in chosen.collectors


def test_flags_go_over_it(tmp_path: Path) -> None:
    """What the command line says stands, lists as a whole; the rest is the file's."""
    text = "web.listen-address: [':1', ':2']\ncollector: {io: false}\nscan: {max-cgroups: 5}\n"
    flags = merged(tmp_path, text, "--web.listen-address=:3", "--collector.io")
    assert (flags.addresses, flags.collector_io, flags.max_cgroups) == ([("", 3)], True, 5)
    defaults = parser().parse_args([])
    assert vars(merged(tmp_path, "")) == vars(defaults), "an empty file changes nothing"
    given = merged(tmp_path, "scan.max-cgroups: 5\n", "--scan.max-cgroups=10000")
    assert given.max_cgroups == 10_000, "the default's value, given, is given too"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("web:\n  listen-adress: [':1']\n", "did you mean 'web.listen-address'?"),
        ("collectors: {}\n", ":1: collectors: no such setting"),
        ("collector: {iO: true}\n", ":1: collector.iO: no such setting; did you mean"),
        ("web.listen-address: nowhere\n", ":1: web.listen-address: 'nowhere' is not HOST:PORT"),
        ("web:\n- 1\n", ":2: web: not a mapping"),
        ("scan:\n  max-cgroups: many\n", ":2: scan.max-cgroups: 'many' is not a whole number"),
        ("scan.max-cgroups: [1]\n", ":1: scan.max-cgroups: not a single value"),
        ("collector.io: 1\n", ":1: collector.io: not true or false"),
        ("collector.io:\n", ":1: collector.io: has no value"),
        ("log.level: verbose\n", ":1: log.level: 'verbose' is not one of debug, info"),
        ("log.level: wrn\n", "did you mean 'warn'?"),
        ("network.host: {}\n", ":1: network.host: not true or false"),
        ("scan.max-cgroups: 1\nscan: {max-cgroups: 2}\n", ":2: scan.max-cgroups: there already"),
        ("once: true\n", ":1: once: is of the command line alone"),
        ("config: {file: x}\n", ":1: config.file: is of the command line alone"),
        ("no-collector.io: true\n", ":1: no-collector.io: no such setting"),
        ("web.idle-timeout: 10\n", ":1: web.idle-timeout: '10' is not a duration such as"),
        ("a: b: c\n", ":1: not YAML: "),
    ],
)
def test_refusals(tmp_path: Path, text: str, message: str) -> None:
    """What is not understood is refused with its line, and a suggestion where one is near."""
    with pytest.raises(ConfigError) as caught:
        merged(tmp_path, text)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "cgexporter.yml"))


def test_every_flag_is_a_setting(tmp_path: Path) -> None:
    """No flag of the command but those of one run is missing from the file."""
    for action in parser()._actions:
        name = action.option_strings[-1].removeprefix("--").removeprefix("no-")
        if name in ("help", "version", "config.file"):
            continue
        if name in ("once", "format", "interval", "sort", "filter", "from"):
            with pytest.raises(ConfigError, match="is of the command line alone"):
                merged(tmp_path, f"{name}: x\n")
            continue
        # No list of flags takes this, so the refusal names the flag's own value.
        with pytest.raises(ConfigError, match=r"not a single value|not true or false"):
            merged(tmp_path, f"{name}: {{a: b}}\n")
