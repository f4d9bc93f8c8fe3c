"""Logs on stderr, as logfmt or JSON, in the form of Prometheus' own programs."""

import json
import logging
import sys
import time

LEVELS = ("debug", "info", "warn", "error")
FORMATS = ("logfmt", "json")
_NAMES = {"WARNING": "warn"}


def _fields(record: logging.LogRecord, formatter: logging.Formatter) -> dict[str, str]:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    level = _NAMES.get(record.levelname, record.levelname.lower())
    fields = {
        "time": f"{stamp}.{int(record.msecs):03d}Z",
        "level": level,
        "source": f"{record.filename}:{record.lineno}",
        "msg": record.getMessage(),
    }
    if record.exc_info:
        fields["error"] = formatter.formatException(record.exc_info)
    return fields


class Logfmt(logging.Formatter):
    """``key=value``, quoted and escaped where needed: one line whatever a name contains."""

    def format(self, record: logging.LogRecord) -> str:
        """Format one record."""
        return " ".join(
            f"{key}={value if _is_plain(value) else json.dumps(value)}"
            for key, value in _fields(record, self).items()
        )


class Json(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Format one record."""
        return json.dumps(_fields(record, self))


def _is_plain(value: str) -> bool:
    return value.isascii() and value.isprintable() and not set(value) & set(' ="\\')


def configure(level: str, form: str) -> None:
    """Send all logs to stderr.

    Args:
        level: one of LEVELS.
        form: one of FORMATS.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Json() if form == "json" else Logfmt())
    logging.basicConfig(
        level={"warn": "WARNING"}.get(level, level.upper()), handlers=[handler], force=True
    )
