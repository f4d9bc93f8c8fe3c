"""What happens between scans, on a tree of plain files that changes as a v2 host's does."""

import errno
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cgexporter import inotify, kernel
from cgexporter.exporter import Exporter, Settings
from cgexporter.inotify import Event, Inotify, Unwatched
from cgexporter.own import page
from cgexporter.publish import Format

UID = "11111111-2222-3333-4444-555555555555"
POD = f"kubepods/pod{UID}"
ONE, TWO = "ab" * 32, "cd" * 32


class Host:
    """A v2 host whose cgroups are plain directories."""

    def __init__(self, directory: Path) -> None:
        self.top = directory / "cgroup"
        self._procfs = directory / "proc"
        (self._procfs / "1").mkdir(parents=True)
        (self._procfs / "1/mountinfo").write_text(
            "30 20 0:30 / /sys/fs/cgroup rw - cgroup2 none rw\n"
        )
        for path in ("", "kubepods", POD):
            self.make(path)
        self.exporter = Exporter(
            Settings(cgroupfs=str(self.top), procfs=str(self._procfs), max_cgroups=50)
        )

    def make(self, path: str) -> None:
        """Make a cgroup, with its files before it is seen, as the kernel does."""
        new = self.top.parent / "new"
        new.mkdir()
        (new / "cgroup.procs").write_text("")
        (new / "pids.events").write_text("max 0\n")
        (new / "pids.current").write_text("1\n")
        for name in ("memory.events", "memory.events.local"):
            (new / name).write_text("high 0\noom_kill 0\n")
        (self.top / path).mkdir(parents=True, exist_ok=True)
        for file in new.iterdir():
            shutil.copy(file, self.top / path / file.name)
        shutil.rmtree(new)

    def kill(self, path: str, kills: int, *, high: int = 0) -> None:
        """Let a container have had so many OOM kills."""
        with (self.top / path / "memory.events").open("r+") as file:
            file.write(f"high {high}\noom_kill {kills}\n")

    def pid_limit(self, path: str, hits: int) -> None:
        """Let a container have hit its limit of tasks so often."""
        with (self.top / path / "pids.events").open("r+") as file:
            file.write(f"max {hits}\n")

    def remove(self, path: str) -> None:
        """Remove a cgroup."""
        shutil.rmtree(self.top / path)

    def page(self) -> str:
        """A fresh page."""
        return page(self.exporter, self.exporter.look(), Format.TEXT).decode()

    def pod(self, family: str) -> float | None:
        """A sample of the pod."""
        return value(self.page(), f'cgexporter_pod_{family}{{uid="{UID}"}}')

    def process(self, path: str, pid: int) -> None:
        """Bring a process that is nested in one PID namespace into a cgroup."""
        (self.top / path / "cgroup.procs").write_text(f"{pid}\n")
        process = self._procfs / str(pid)
        process.mkdir()
        (process / "stat").write_text(f"{pid} (sh) S{' 0' * 18} {pid} 0\n")
        (process / "status").write_text(f"NSpid:\t{pid}\t1\n")

    def settled(self) -> None:
        """Wait until what was told is dealt with."""
        time.sleep(0.3)


def value(text: str, series: str) -> float | None:
    """The value of a series."""
    found = re.search(rf"^{re.escape(series)} (\S+)$", text, re.MULTILINE)
    return None if found is None else float(found[1])


def eventually(probe: Callable[[], bool]) -> bool:
    """Whether it is so within ten seconds."""
    until = time.monotonic() + 10
    while not (found := probe()) and time.monotonic() < until:
        time.sleep(0.02)
    return found


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """A host that nobody watches yet."""
    host = Host(tmp_path)
    yield host
    host.exporter.close()


def _between(host: Host, path: str = f"{POD}/{ONE}") -> None:
    """A container lives and dies."""
    host.make(path)
    host.settled()
    host.kill(path, 2, high=5)
    host.pid_limit(path, 3)
    host.settled()
    host.remove(path)
    host.settled()


def test_what_a_container_takes_with_it_stays_on_its_pod(host: Host) -> None:
    """All that a container counted which no scan ever saw is the pod's."""
    host.exporter.watch()
    assert host.pod("oom_kills_total") == 0
    began = time.time()
    _between(host)
    assert host.pod("oom_kills_total") == 2
    assert host.pod("memory_high_breaches_total") == 5
    assert host.pod("pids_limit_hits_total") == 3
    last = host.pod("last_oom_kill_timestamp_seconds")
    assert last is not None
    assert began < last < time.time()
    assert ONE not in host.page()


def test_a_pods_count_never_falls(host: Host) -> None:
    """Containers come, are killed and go: the pod's count is the sum, at each scan."""
    host.exporter.watch()
    counts = [host.pod("oom_kills_total")]
    for kills, name in ((1, ONE), (3, TWO), (2, ONE)):
        host.make(f"{POD}/{name}")
        host.settled()
        host.kill(f"{POD}/{name}", kills)
        counts.append(host.pod("oom_kills_total"))
        host.remove(f"{POD}/{name}")
        host.settled()
        counts.append(host.pod("oom_kills_total"))
    assert counts == [0, 1, 1, 4, 4, 6, 6]


def test_what_only_looks_like_a_container_counts_once(host: Host) -> None:
    """A container counts what is in a cgroup that it calls like one: its pod has it from there."""
    outer, inner = f"{POD}/{ONE}", f"{POD}/{ONE}/docker-{TWO}.scope"
    host.make(outer)
    host.make(inner)
    host.process(outer, 100)
    host.exporter.watch()
    assert host.pod("oom_kills_total") == 0
    host.settled()
    host.kill(inner, 1)
    host.kill(outer, 1)
    host.settled()
    assert host.pod("oom_kills_total") == 1
    host.remove(inner)
    host.settled()
    assert host.pod("oom_kills_total") == 1
    host.remove(outer)
    host.settled()
    assert host.pod("oom_kills_total") == 1


def test_a_container_tells_of_its_last_kill(host: Host) -> None:
    """A container that lives on has the time of its last OOM kill, once there is one."""
    host.make(f"{POD}/{ONE}")
    host.exporter.watch()
    series = f'cgexporter_container_last_oom_kill_timestamp_seconds{{id="{ONE[:12]}"}}'
    assert value(host.page(), series) is None
    host.kill(f"{POD}/{ONE}", 1)
    host.settled()
    assert value(host.page(), series) is not None


def test_kills_of_before_have_no_time(host: Host) -> None:
    """What happened before the exporter ran is counted, and when is not known."""
    host.make(f"{POD}/{ONE}")
    host.kill(f"{POD}/{ONE}", 7)
    host.exporter.watch()
    assert host.pod("oom_kills_total") == 7
    assert host.pod("last_oom_kill_timestamp_seconds") is None


def test_a_pod_that_comes_and_goes(host: Host) -> None:
    """Of a pod that no scan ever saw the cgroup around it tells."""
    host.exporter.watch()
    host.page()
    other = "kubepods/pod99999999-2222-3333-4444-555555555555"
    host.make(other)
    host.settled()
    _between(host, f"{other}/{ONE}")
    host.remove(other)
    host.settled()
    text = host.page()
    assert value(text, 'cgexporter_slice_oom_kills_total{cgroup="/kubepods"}') == 2
    assert value(text, "cgexporter_node_oom_kills_total") == 0


def test_a_container_that_nobody_could_read_in_time(host: Host) -> None:
    """What the cgroup around it counts more than is known was the container's, if it is v2's."""
    host.make("docker")
    host.exporter.watch()
    series = 'cgexporter_slice_{}{{cgroup="/docker"}}'
    assert value(host.page(), series.format("oom_kills_total")) == 0
    host.kill("docker", 2, high=1)  # as one that is gone already has it counted
    text = host.page()
    assert value(text, series.format("oom_kills_total")) == 2
    assert value(text, series.format("memory_high_breaches_total")) == 1
    assert value(text, series.format("last_oom_kill_timestamp_seconds")) is not None


def test_without_a_watcher_there_is_nothing_to_tell(host: Host) -> None:
    """`--once` says nothing of what happened between scans, rather than 0."""
    assert host.pod("oom_kills_total") is None


def test_missing_watches_are_counted_and_the_walk_goes_on(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When watches run out it is said, and what scans see is counted all the same."""

    def add(self: Inotify, path: str, mask: int) -> Unwatched:
        del self, path, mask
        return Unwatched.OUT_OF_WATCHES

    monkeypatch.setattr(Inotify, "add", add)
    host.exporter.watch()
    host.make(f"{POD}/{ONE}")
    host.page()
    host.kill(f"{POD}/{ONE}", 2)
    assert host.pod("oom_kills_total") == 2
    host.remove(f"{POD}/{ONE}")
    text = host.page()
    assert value(text, f'cgexporter_pod_oom_kills_total{{uid="{UID}"}}') == 2
    missing = value(text, 'cgexporter_watches_missing{reason="out of watches"}')
    assert missing is not None
    assert missing > 3
    assert value(text, "cgexporter_watches") == 0


def test_no_more_is_watched_than_is_read(host: Host) -> None:
    """--scan.max-cgroups bounds the watches too."""
    for n in range(60):
        host.make(f"{POD}/{n:064x}")
    host.exporter.watch()
    text = host.page()
    reason = 'cgexporter_watches_missing{reason="more cgroups than --scan.max-cgroups"}'
    missing = value(text, reason)
    assert missing is not None
    assert missing >= 13


def test_an_overflow_is_counted_and_all_is_read(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the kernel drops notifications every cgroup is read at once."""
    host.make(f"{POD}/{ONE}")
    host.exporter.watch()
    host.page()

    def only_overflow(self: Inotify) -> Iterator[Event]:
        for event in read(self):
            yield event._replace(watch=-1, mask=inotify.OVERFLOW, name="")

    read: Callable[[Inotify], Iterator[Event]] = Inotify.read
    monkeypatch.setattr(Inotify, "read", only_overflow)
    host.kill(f"{POD}/{ONE}", 2)
    host.settled()
    host.remove(f"{POD}/{ONE}")
    host.settled()
    text = host.page()
    assert (value(text, "cgexporter_watch_overflows_total") or 0) > 0
    assert value(text, f'cgexporter_pod_oom_kills_total{{uid="{UID}"}}') == 2


def test_what_fails_for_a_while_is_made_up_for(
    host: Host, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a descriptor nothing can be read; once there is one, all is, and it goes on."""
    host.make(f"{POD}/{ONE}")
    host.exporter.watch()
    host.page()

    def no_descriptor(path: str) -> bytes:
        raise OSError(errno.EMFILE, "Too many open files", path)

    with monkeypatch.context() as without:
        without.setattr(kernel, "read_path", no_descriptor)
        host.kill(f"{POD}/{ONE}", 2)
        host.settled()
    assert caplog.text.count("may be missed for a while: [Errno 24]") == 1
    watcher = host.exporter.watcher
    assert watcher is not None
    assert eventually(lambda: not watcher._is_behind)
    host.remove(f"{POD}/{ONE}")
    host.settled()
    host.make(f"{POD}/{TWO}")
    host.settled()
    host.kill(f"{POD}/{TWO}", 3)
    host.settled()
    host.remove(f"{POD}/{TWO}")
    host.settled()
    text = host.page()
    assert value(text, "cgexporter_watch_overflows_total") == 1
    assert value(text, f'cgexporter_pod_oom_kills_total{{uid="{UID}"}}') == 5


def test_no_instance_is_no_end(
    host: Host, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without an inotify instance the exporter works, and says what is missing."""

    def refuse(self: Inotify) -> None:
        del self
        raise OSError(errno.EMFILE, "no more instances")

    monkeypatch.setattr(Inotify, "__init__", refuse)
    host.exporter.watch()
    assert "what happens between scans is not seen" in caplog.text
    assert host.pod("pids_current") == 1


def test_nothing_is_left_open(host: Host) -> None:
    """Watching and closing leaves no descriptor behind."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    host.exporter.watch()
    _between(host)
    host.page()
    host.exporter.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_nothing_is_kept_while_nobody_asks(host: Host) -> None:
    """Of containers that come and go between two scans nothing is left but what they counted."""
    host.exporter.watch()
    host.page()
    watcher = host.exporter.watcher
    assert watcher is not None
    for _ in range(20):
        host.make(f"{POD}/{TWO}")
        host.settled()
        host.remove(f"{POD}/{TWO}")
        host.settled()
    assert not watcher._new
    assert f"/{POD}/{TWO}" not in watcher._tracked
