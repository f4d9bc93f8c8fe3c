"""Pods from the SQLite database of Podman 5, ``db.sql``; imported only where there is one.

Opened as immutable, so that no lock is taken and no file made beside it. What a writer changes
meanwhile can look damaged: then it is asked again later, as after any other failure. The library's
own memory cannot be zeroed, so only pages of the table of pods are read, in which there is no
environment: docs/decisions/0005-secrets.md.
"""

import json
import sqlite3
from collections.abc import Mapping

from cgexporter.correlate.facts import NO_LABELS, Facts
from cgexporter.kernel import Missing
from cgexporter.names.door import Door

_TABLE = "PodConfig"
_QUERY = f"SELECT ID, Name, json_extract(JSON, '$.labels') FROM {_TABLE} LIMIT 10000"  # noqa: S608
_ALLOWED = {(sqlite3.SQLITE_SELECT, None), (sqlite3.SQLITE_READ, _TABLE)}
_FUNCTIONS = {"json_extract"}
_MAX_STEPS = 100  # of 100,000 instructions of SQLite's machine


def pods(door: Door, path: str, labels: frozenset[str]) -> Mapping[str, Facts]:
    """All pods by ID; none where the database cannot be read, which is said at the door."""
    with door.opened(path) as fd:
        if isinstance(fd, Missing):
            return {}
        try:
            # By descriptor: SQLite follows links, and the door does not.
            database = sqlite3.connect(f"file:/proc/self/fd/{fd}?mode=ro&immutable=1", uri=True)
            try:
                return _pods(database, labels)
            finally:
                database.close()
        except sqlite3.Error as exc:
            door.problem(path, f"SQLite: {exc}")
            return {}


def _pods(database: sqlite3.Connection, labels: frozenset[str]) -> Mapping[str, Facts]:
    steps = iter(range(_MAX_STEPS))
    database.set_progress_handler(lambda: next(steps, None) is None, 100_000)
    database.set_authorizer(_authorize)  # a user's database may have views and triggers
    database.text_factory = lambda text: text.decode("utf-8", "surrogateescape")
    found = {}
    for id_, name, told in database.execute(_QUERY):
        if isinstance(id_, str) and isinstance(name, str):
            found[id_] = Facts(
                runtime="podman", pod=name or None, pod_uid=id_, labels=_labels(told, labels)
            )
    return found


def _authorize(
    action: int, first: str | None, second: str | None, database: str | None, by: str | None
) -> int:
    del database
    if action == sqlite3.SQLITE_FUNCTION:
        allowed = second in _FUNCTIONS
    else:
        table = first if action == sqlite3.SQLITE_READ else None
        allowed = (action, table) in _ALLOWED and by is None
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY


def _labels(told: object, wanted: frozenset[str]) -> Mapping[str, str]:
    pairs = json.loads(told) if isinstance(told, str) else None
    if not isinstance(pairs, dict):
        return NO_LABELS
    return {
        name: value
        for name in sorted(wanted)
        if isinstance(value := pairs.get(name), str) and value
    } or NO_LABELS
