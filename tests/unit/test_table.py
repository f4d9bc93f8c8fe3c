"""The table for people: cells, and names that want to be more than names."""

import io
import math
import sys
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cgexporter.correlate import paths
from cgexporter.correlate.paths import Place
from cgexporter.correlate.view import Container, View
from cgexporter.kernel import Missing
from cgexporter.local.table import COLUMNS, notes, row, table
from cgexporter.local.text import duration, plain, printable, share, size
from cgexporter.model import Cgroup, FileSupport, Mode, Snapshot
from cgexporter.model.cpu import Cpu
from cgexporter.model.io import DeviceIo
from cgexporter.model.memory import Memory
from cgexporter.model.tasks import Pids

ESCAPES = "\x1b[2J\x1b]0;title\x07\x9b31m\r\n\t\b\x00\x7f\u202e\u2028\udc80"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "-"),
        (math.inf, "max"),
        (0, "0"),
        (1, "1"),
        (1023, "1023"),
        (1024, "1.0Ki"),
        (1536, "1.5Ki"),
        (102_400, "100Ki"),
        (67_108_864, "64.0Mi"),
        (536_870_912, "512Mi"),
        (2**30, "1.0Gi"),
        (2**40, "1.0Ti"),
        (2**50, "1.0Pi"),
        (2**63, "8192Pi"),
        (380_928, "372Ki"),
    ],
)
def test_size(count: float | None, text: str) -> None:
    """Bytes in the unit in which they are short."""
    assert size(count) == text


@given(st.integers(0, 2**64 - 1))
def test_any_size(count: int) -> None:
    """The number that is shown is near the number that is."""
    text = size(count)
    number = text.rstrip("KMGTPi")
    power = ("", "Ki", "Mi", "Gi", "Ti", "Pi").index(text[len(number) :])
    assert math.isclose(float(number) * 1024**power, count, rel_tol=0.06)
    assert len(text) <= 7


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (None, 0, "-"),
        (None, 2, "-"),
        (math.inf, 2, "max"),
        (0, 0, "0"),
        (50, 0, "50"),
        (0.2, 2, "0.20"),
        (1.5, 2, "1.50"),
        (0, 2, "0.00"),
        (2**53 - 1, 0, "9007199254740991"),
    ],
)
def test_plain(value: float | None, digits: int, text: str) -> None:
    """A number with fixed places; absent and unlimited are words."""
    assert plain(value, digits) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0.0, "0.00s"),
        (0.004, "0.00s"),
        (14.036781, "14.04s"),
        (59.99, "59.99s"),
        (60, "1.0m"),
        (90, "1.5m"),
        (59.996, "1.0m"),
        (3596, "59.9m"),
        (3599, "1.0h"),
        (3600, "1.0h"),
        (360_000, "100.0h"),
    ],
)
def test_duration(seconds: float | None, text: str) -> None:
    """Seconds, minutes or hours."""
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (None, None, "-"),
        (None, 5, "-"),
        (5, None, "-"),
        (0, 0, "-"),
        (5, 0, "-"),
        (0, 5, "0%"),
        (220, 225, "98%"),
        (5, 5, "100%"),
        (6, 5, "120%"),
        (5, math.inf, "0%"),
    ],
)
def test_share(part: float | None, whole: float | None, text: str) -> None:
    """Percent of something; of nothing there is no share."""
    assert share(part, whole) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("web-1", "web-1"),
        ("é 日本 🐋", "é 日本 🐋"),
        ("a\x1b[31mb", "a\ufffd[31mb"),
        ("a\nb\rc\td", "a\ufffdb\ufffdc\ufffdd"),
        ("\udcff", "\ufffd"),
        ("\u202egnp", "\ufffdgnp"),
        ("", ""),
    ],
)
def test_printable(text: str, shown: str) -> None:
    """Control characters, undecodable bytes and those that turn text around are replaced."""
    assert printable(text) == shown


@given(st.text(st.characters()))
@example(ESCAPES)
def test_anything_printable(text: str) -> None:
    """A name stays as long as it is, is printable, and says what could be said."""
    shown = printable(text)
    assert shown.isprintable()
    assert len(shown) == len(text)
    assert printable(shown) == shown
    assert shown.encode().decode() == shown


def view_of(containers: Sequence[Container], snapshot: Snapshot, *, denied: bool = False) -> View:
    """A view of these containers."""
    return View(snapshot, containers, pods=(), cgroups=(), sandboxes=(), denied=denied)


def snapshot(*, dropped: int = 0, skipped: int = 0, **files: FileSupport) -> Snapshot:
    """A snapshot that counted these."""
    return Snapshot(
        started=0.0,
        duration_seconds=0.0,
        mode=Mode.UNIFIED,
        cgroups={},
        devices={},
        files={name.replace("_", "."): support for name, support in files.items()},
        parse_errors={},
        skipped=skipped,
        dropped=dropped,
    )


def container(name: str | None = "web", identifier: str = "a1", **facts: str) -> Container:
    """A container with a value in each cell."""
    cgroup = Cgroup(
        "/a",
        1,
        leaf=True,
        cpu=Cpu(
            usage_seconds=4.58,
            periods=225,
            throttled_periods=220,
            throttled_seconds=16.2,
            limit_cores=0.2,
        ),
        memory=Memory(working_set_bytes=33_554_432, max_bytes=67_108_864, events_oom_kill=2),
        io=(DeviceIo("8:0", read_bytes=1024), DeviceIo("8:16", read_bytes=512, written_bytes=3)),
        pids=Pids(current=1, max=50),
    )
    place = Place(
        level=paths.Level.CONTAINER,
        container_name=name,
        runtime=facts.get("runtime"),
        pod_uid=facts.get("pod_uid"),
        qos_class=facts.get("qos_class"),
    )
    return Container(cgroup, place, identifier)


def test_row() -> None:
    """One cell for each column, in the table's order."""
    cells = row(container(runtime="containerd", pod_uid="63", qos_class="Burstable"))
    assert dict(enumerate(zip(COLUMNS, cells, strict=True))) == {
        0: ("CONTAINER", "web a1"),
        1: ("IMAGE", "-"),
        2: ("RUNTIME", "containerd"),
        3: ("POD", "63"),
        4: ("QOS", "Burstable"),
        5: ("CPU", "4.58s"),
        6: ("LIMIT", "0.20"),
        7: ("THROTTLED", "16.20s"),
        8: ("PERIODS", "98%"),
        9: ("MEMORY", "32.0Mi"),
        10: ("LIMIT", "64.0Mi"),
        11: ("USED", "50%"),
        12: ("OOM KILLS", "2"),
        13: ("READ", "1.5Ki"),
        14: ("WRITTEN", "3"),
        15: ("TASKS", "1"),
        16: ("LIMIT", "50"),
    }


def test_row_of_nothing() -> None:
    """What is not known is a dash, and never 0."""
    bare = Container(Cgroup("/a", 1, leaf=True), Place(level=paths.Level.CONTAINER), "a1")
    assert row(bare) == ("a1", *["-"] * (len(COLUMNS) - 1))


def test_row_without_limits() -> None:
    """Unlimited is `max`; a share of it says nothing."""
    cgroup = Cgroup(
        "/a",
        1,
        leaf=True,
        cpu=Cpu(limit_cores=math.inf),
        memory=Memory(working_set_bytes=1, max_bytes=math.inf, events_local_oom_kill=3),
        pids=Pids(max=math.inf),
    )
    cells = row(Container(cgroup, Place(level=paths.Level.CONTAINER), "a1"))
    assert (cells[6], cells[10], cells[11], cells[16]) == ("max", "max", "-", "max")
    assert cells[12] == "3"  # v1 counts those of the cgroup itself


@given(st.text(st.characters(), min_size=1), st.text(st.characters()), st.text(st.characters()))
@example(ESCAPES, ESCAPES, ESCAPES)
def test_names_never_reach_the_terminal(name: str, identifier: str, uid: str) -> None:
    """Whatever a container is called, its row is printable."""
    for cell in row(container(name, identifier, pod_uid=uid)):
        assert cell.isprintable()


class Terminal(io.StringIO):
    """A standard output that is a terminal."""

    def isatty(self) -> bool:
        """It is one."""
        return True


@pytest.mark.parametrize("output", [io.StringIO, Terminal])
def test_table_with_odd_names(monkeypatch: pytest.MonkeyPatch, output: type[io.StringIO]) -> None:
    """Nor does a whole table hold a control character that is not rich's own colour."""
    monkeypatch.setattr(sys, "stdout", output())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.setenv("COLUMNS", "400")
    named = container(f"[bold]{ESCAPES}:smile:", ESCAPES, pod_uid=ESCAPES)
    text = table(view_of([named], snapshot()))
    assert "\ufffd[2J" in text
    assert "[bold]" in text  # no markup
    assert ":smile:" in text
    for colour in ("\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[1;31m"):
        text = text.replace(colour, "")
    assert all(line.isprintable() for line in text.split("\n"))


def test_table_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe gets one whole line for each container, without colour."""
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    long = container("n" * 300, pod_uid="u" * 300)
    lines = table(view_of([long, container("second")], snapshot())).split("\n")
    assert lines[0].split() == " ".join(COLUMNS).split()
    assert "n" * 300 in lines[1]
    assert "u" * 300 in lines[1]
    assert lines[2].startswith("second a1")
    assert "\x1b" not in "".join(lines)


def test_no_containers(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty host is said, and what was counted with it."""
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    text = table(view_of([], snapshot(skipped=2)))
    assert text.startswith("No containers on this host (unified cgroups).\n")
    assert "2 cgroups could not be read" in text


def test_notes() -> None:
    """What could not be read is said, with what would change that; what is ordinary is not."""
    files = {
        "cpu_pressure": FileSupport(0, {Missing.UNSUPPORTED: 5}),
        "io_pressure": FileSupport(0, {Missing.UNSUPPORTED: 5}),
        "memory_stat": FileSupport(0, {Missing.DENIED: 5}),
        "memory_max": FileSupport(3, {Missing.DENIED: 2}),
        "memory_peak": FileSupport(0, {Missing.ABSENT: 5}),
    }
    view = view_of([container()], snapshot(dropped=3, skipped=1, **files), denied=True)
    ptrace = "run as root with SYS_PTRACE"
    assert notes(view) == [
        "not shown, permission denied (run as root): memory.stat",
        "not shown, psi disabled (boot with psi=1): cpu.pressure, io.pressure",
        f"not shown, permission denied ({ptrace}): namespaces of other users' processes",
        "3 cgroups left out: raise --scan.max-cgroups",
        "1 cgroups could not be read: see the log",
    ]
    assert notes(view_of([container()], snapshot())) == []
    (unnamed,) = notes(view_of([container(None)], snapshot()))
    assert "they go by their IDs" in unnamed
