"""`cgexporter record`: what is read of this host, kept in a file."""

import argparse
import contextlib
import errno
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import BinaryIO

from cgexporter import name_flags
from cgexporter.commands.output import failed
from cgexporter.commands.reading import PROBLEMS
from cgexporter.exporter import Settings
from cgexporter.flags import EXIT, Parser, add_logs, add_paths, interval
from cgexporter.logs import configure
from cgexporter.recording.archive import write
from cgexporter.recording.make import record

_MAX_SCANS = 100


def _scans(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text[:9]) <= _MAX_SCANS:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to {_MAX_SCANS}")
    return int(text)


def grammar() -> Parser:
    """The grammar of `cgexporter record`; docs/FLAGS.md is printed from it."""
    flags = Parser(
        prog="cgexporter record",
        description="Record what cgexporter reads of this host, as an archive (tar in xz) that "
        "other commands open with --from, on any machine: cgroup files, what is needed of "
        "/proc, namespaces, names. No environment, no command line, no file of a container and "
        "no secret is in it; names of containers, pods, images and processes are.",
        epilog=EXIT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    flags.add_argument("file", metavar="FILE", help="the archive to write; - is stdout")
    flags.add_argument(
        "--scans",
        metavar="N",
        type=_scans,
        default=2,
        help="scan so many times: two are needed for rates (default: %(default)s)",
    )
    flags.add_argument(
        "--interval",
        metavar="TIME",
        type=interval,
        default=interval("2s"),
        help="time between two scans, such as 500ms, 2s or 1m (default: 2s)",
    )
    add_paths(flags)
    name_flags.add(flags.add_argument_group("names (docs/IDENTITY.md)"))
    add_logs(flags)
    return flags


def run(flags: argparse.Namespace, grammar: Parser) -> int:
    """Record, and say what was recorded."""
    if problem := name_flags.problem(flags):
        grammar.error(problem)
    if flags.file == "-" and sys.stdout.isatty():
        grammar.error("a recording is no text for a terminal: redirect stdout, or name a FILE")
    configure(flags.log_level, flags.log_format)
    settings = Settings(
        cgroupfs=flags.cgroupfs, procfs=flags.procfs, identity=name_flags.identity(flags)
    )
    try:
        with _target(flags.file) as target:
            recording, views = record(settings, flags.scans, lambda: time.sleep(flags.interval))
            write(recording, target)
    except BrokenPipeError:
        return failed("what reads the recording has ended")
    except PROBLEMS as exc:
        return failed(exc)
    scans = f"{len(views)} scan{'s' if len(views) > 1 else ''}"
    print(
        f"cgexporter: recorded {len(views[-1].containers)} containers in {scans} to "
        f"{'stdout' if flags.file == '-' else flags.file}",
        file=sys.stderr,
    )
    return 0


@contextlib.contextmanager
def _target(name: str) -> Iterator[BinaryIO]:
    """A file that has its name only once it is whole; only its owner may read it."""
    if name == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    if os.path.isdir(name):
        raise IsADirectoryError(errno.EISDIR, "is a directory: name a file to write", name)
    if os.path.exists(name) and not os.path.isfile(name):
        with open(name, "wb") as file:  # a device or pipe has no other name
            yield file
        return
    directory = os.path.dirname(name) or "."
    if not os.path.isdir(directory):
        raise FileNotFoundError(errno.ENOENT, "there is no such directory", directory)
    with tempfile.NamedTemporaryFile(dir=directory, prefix=".cgexporter-", delete=False) as file:
        try:
            yield file  # type: ignore[misc]
        except BaseException:
            os.unlink(file.name)
            raise
        file.flush()
        os.replace(file.name, name)
