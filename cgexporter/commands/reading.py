"""How a command reads: this host or a recording, with names; and what may go wrong."""

import argparse
import contextlib
from collections.abc import Iterator
from dataclasses import replace

from cgexporter.exporter import Exporter, Settings
from cgexporter.hierarchies import NoHierarchyError
from cgexporter.names.settings import IdentityError
from cgexporter.recording import RecordingError
from cgexporter.recording.host import Host, opened

# What ends a command with one line and exit status 1.
PROBLEMS = (NoHierarchyError, IdentityError, RecordingError, OSError)


@contextlib.contextmanager
def reading(flags: argparse.Namespace, settings: Settings) -> Iterator[tuple[Exporter, Host]]:
    """An exporter of the host that `flags.add_host` asks for, closed at the end.

    Args:
        flags: with those of `add_host`.
        settings: what to read; where the host is, is taken from the flags.

    Raises:
        NoHierarchyError, IdentityError, RecordingError, OSError: see PROBLEMS.
    """
    with opened(flags.recording, flags.cgroupfs, flags.procfs) as host:
        exporter = Exporter(
            replace(settings, cgroupfs=host.cgroupfs, procfs=host.procfs, resolver=host.resolver)
        )
        try:
            yield exporter, host
        finally:
            exporter.close()
