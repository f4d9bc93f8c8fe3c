"""Log records: one line each, whatever they say."""

import io
import json
import logging
import re
import sys
from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cgexporter.logs import FORMATS, LEVELS, Json, Logfmt, configure


def record(message: str, *arguments: object, level: int = logging.INFO) -> logging.LogRecord:
    """A record of a fixed time and place."""
    made = logging.LogRecord("x", level, "/app/scan.py", 7, message, arguments, None)
    made.created, made.msecs = 1_700_000_000.25, 250.0
    return made


def failed() -> logging.LogRecord:
    """A record of an exception, which has several lines."""
    try:
        int("first\nsecond")
    except ValueError:
        made = record("scan failed")
        made.exc_info = sys.exc_info()
    return made


def test_logfmt() -> None:
    """Time, level, source and message, as Prometheus writes them."""
    assert Logfmt().format(record("listening on %s:%d", "::", 9753)) == (
        'time=2023-11-14T22:13:20.250Z level=info source=scan.py:7 msg="listening on :::9753"'
    )


def test_json() -> None:
    """The same fields as one object."""
    assert json.loads(Json().format(record("listening"))) == {
        "time": "2023-11-14T22:13:20.250Z",
        "level": "info",
        "source": "scan.py:7",
        "msg": "listening",
    }


@pytest.mark.parametrize(
    ("level", "name"),
    [
        (logging.DEBUG, "debug"),
        (logging.INFO, "info"),
        (logging.WARNING, "warn"),
        (logging.ERROR, "error"),
    ],
)
def test_level_names(level: int, name: str) -> None:
    """Levels are called as Prometheus calls them."""
    assert f"level={name} " in Logfmt().format(record("x", level=level))


@pytest.mark.parametrize(
    ("message", "written"),
    [
        ("plain", "plain"),
        ("two words", '"two words"'),
        ("a=b", '"a=b"'),
        ('say "x"', r'"say \"x\""'),
        ("back\\slash", r'"back\\slash"'),
        ("two\nlines", r'"two\nlines"'),
        ("\x1b[31mred", r'"\u001b[31mred"'),
        ("é", r'"\u00e9"'),
        ("\udcff", r'"\udcff"'),
        ("\u2028", r'"\u2028"'),
    ],
)
def test_logfmt_quotes(message: str, written: str) -> None:
    """What is not plain is quoted and escaped."""
    assert Logfmt().format(record(message)).partition(" msg=")[2] == written


@given(st.text(st.characters()))
@example("\n")
@example("\r\n\x0b\x0c\x1c\x85\u2028\u2029")
@example("\udc80\ud800\x1b[2J")
def test_one_line(message: str) -> None:
    """A name in a message can neither end the line nor reach the terminal, and is not lost."""
    for formatter in (Logfmt(), Json()):
        line = formatter.format(record("%s", message))
        assert len(line.splitlines()) == 1
        assert line.isascii()
        assert line.isprintable()
    assert json.loads(line)["msg"] == message


@given(st.text(st.characters(), min_size=1))
def test_logfmt_can_be_read(message: str) -> None:
    """A line falls into its fields again, whatever the message pretends."""
    line = Logfmt().format(record("%s", message))
    pair = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|[^ "=\\]+)(?: |$)')
    fields = pair.findall(line)
    assert "".join(match[0] for match in pair.finditer(line)) == line
    assert [name for name, _ in fields] == ["time", "level", "source", "msg"]
    written = fields[3][1]
    assert (json.loads(written) if written.startswith('"') else written) == message


def test_exception() -> None:
    """A traceback is one field, its line ends escaped."""
    line = Logfmt().format(failed())
    assert len(line.splitlines()) == 1
    assert "ValueError: invalid literal" in line
    fields = json.loads(Json().format(failed()))
    assert fields["error"].startswith("Traceback (most recent call last):\n")


@pytest.fixture
def restored_logging() -> Iterator[None]:
    """The root logger, given back as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    for handler in handlers:
        root.removeHandler(handler)  # configure() would close them
    yield
    for handler in root.handlers[:]:
        root.removeHandler(handler)
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(level)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("level", LEVELS)
def test_configure(
    restored_logging: None, monkeypatch: pytest.MonkeyPatch, level: str, form: str
) -> None:
    """Each level and format works; records below the level are not written."""
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    configure(level, form)
    log = logging.getLogger("cgexporter.test")
    for write in (log.debug, log.info, log.warning, log.error):
        write("hello")
    lines = stderr.getvalue().splitlines()
    assert len(lines) == len(LEVELS) - LEVELS.index(level)
    assert all(line.startswith("{") is (form == "json") for line in lines)
    if form == "json":
        assert [json.loads(line)["level"] for line in lines] == list(LEVELS[LEVELS.index(level) :])
