"""What a recorder keeps of what it is told, and what it does not."""

import os
from pathlib import Path

import pytest

from cgexporter.recording import Recording, Scan
from cgexporter.recording.recorder import Recorder, kept
from cgexporter.recording.replay import Replay

_MOUNTS = (
    b"24 1 8:1 / / rw - ext4 /dev/vda1 rw\n"
    b"31 24 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
    b"40 24 0:40 / /secret/customer rw - cifs //server/share rw,username=bob\n"
    b"41 24 0:4 net:[4026532281] /run/netns/a rw - nsfs nsfs rw\n"
)


def test_mounts_of_others_are_not_kept() -> None:
    """Of a process's mounts those of cgroups and namespaces are kept, and no other."""
    lines = kept("/proc/1/mountinfo", _MOUNTS).decode().splitlines()
    assert [line.split(" - ")[1].split()[0] for line in lines] == ["cgroup2", "nsfs"]


def test_addresses_are_not_kept() -> None:
    """Of /proc/PID/stat what comes after the start time is not kept; names stay whole."""
    stat = b"7 (a) b) S " + b" ".join(b"%d" % n for n in range(4, 53)) + b"\n"
    assert (
        kept("/proc/7/stat", stat)
        == b"7 (a) b) S " + b" ".join(b"%d" % n for n in range(4, 23)) + b"\n"
    )
    assert kept("/proc/stat", stat) == stat


def replayed(recorder: Recorder) -> Replay:
    """What answers from what was recorded."""
    scan = Scan(1.0, recorder.files(), {}, {})
    return Replay(Recording("/sys/fs/cgroup", "/proc", 1, {}, [scan]))


def test_descriptors(tmp_path: Path) -> None:
    """Of what descriptors stand for namespaces are kept: no file name, no address."""
    fds = tmp_path / "7/fd"
    fds.mkdir(parents=True)
    (fds / "3").symlink_to("/home/bob/diary")
    (fds / "4").symlink_to("net:[4026532281]")
    (fds / "5").symlink_to("socket:[77]")
    recorder = Recorder("/sys/fs/cgroup")
    fd = recorder.open(str(fds), os.O_RDONLY)
    for name in recorder.listdir(fd):
        recorder.readlink(name, dir_fd=fd)
    recorder.close(fd)
    replay = replayed(recorder)
    assert replay.listdir(str(fds)) == ["4"]
    assert replay.readlink(f"{fds}/4") == "net:[4026532281]"
    assert "diary" not in repr(recorder.files())


def test_answers_are_those_of_the_host(tmp_path: Path) -> None:
    """Content, status, names and errnos are answered as they were."""
    (tmp_path / "file").write_bytes(b"x" * 5000)
    (tmp_path / "directory").mkdir()
    recorder = Recorder("/sys/fs/cgroup")
    fd = recorder.open(str(tmp_path / "file"), os.O_RDONLY)
    assert recorder.pread(fd, 4096, 0) == b"x" * 4096
    assert recorder.pread(fd, 8192, 0) == b"x" * 5000
    status = recorder.fstat(fd)
    recorder.close(fd)
    with pytest.raises(FileNotFoundError):
        recorder.open(f"{tmp_path}/none", os.O_RDONLY)
    with pytest.raises(NotADirectoryError):
        recorder.scandir(f"{tmp_path}/file")
    entries = {entry.name: entry.is_dir() for entry in recorder.scandir(str(tmp_path))}
    replay = replayed(recorder)
    fd = replay.open("file", os.O_RDONLY, dir_fd=replay.open(str(tmp_path), os.O_RDONLY))
    assert replay.read(fd, 4096) + replay.read(fd, 4096) == b"x" * 5000
    assert replay.fstat(fd).st_ino == status.st_ino
    assert replay.fstat(fd).st_mtime == status.st_mtime
    replay.close(fd)
    with pytest.raises(FileNotFoundError):
        replay.open(f"{tmp_path}/none", os.O_RDONLY)
    with pytest.raises(NotADirectoryError):
        replay.scandir(f"{tmp_path}/file")
    assert {e.name: e.is_dir() for e in replay.scandir(str(tmp_path))} == entries
    with pytest.raises(OSError, match="Bad file descriptor"):
        replay.pread(fd, 1, 0)


def test_a_cgroup_that_goes_while_it_is_recorded(tmp_path: Path) -> None:
    """What the scan read of it stays, until the next scan finds it gone."""
    group = tmp_path / "group"
    group.mkdir()
    (group / "cpu.stat").write_text("usage_usec 5\n")
    recorder = Recorder(str(tmp_path))

    def look() -> None:
        fd = recorder.open(f"{group}/cpu.stat", os.O_RDONLY)
        recorder.read(fd, 4096)
        recorder.read(fd, 4096)
        recorder.close(fd)

    recorder.begin()
    recorder.stat(str(group))
    look()
    (group / "cpu.stat").unlink()
    group.rmdir()
    for ask in (lambda: recorder.stat(str(group)), look):
        with pytest.raises(FileNotFoundError):
            ask()
    assert recorder.files()[f"{group}/cpu.stat"].data == b"usage_usec 5\n"
    replayed(recorder).stat(str(group))
    recorder.begin()
    with pytest.raises(FileNotFoundError):
        recorder.stat(str(group))
    with pytest.raises(FileNotFoundError):
        replayed(recorder).stat(str(group))
