"""Many files by few system calls: the same bytes as one by one, whatever happens to the files."""

import errno
import os
import random
import tempfile
import threading
from array import array
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgexporter import aio
from cgexporter.aio import Batch, News, Reader, Requests, by_request
from cgexporter.kernel import opened


@pytest.fixture
def files(tmp_path: Path) -> Iterator[list[int]]:
    """Descriptors of 1,100 files: three chunks."""
    found = []
    for number in range(1100):
        path = tmp_path / f"{number}"
        path.write_text(f"{number}\n" * (number % 7))
        found.append(os.open(path, os.O_RDONLY))
    yield found
    for fd in found:
        os.close(fd)


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    """A reader of such files."""
    (tmp_path / "like").write_text("x")
    with opened(f"{tmp_path}/like") as fd:
        made = Reader(fd)
    yield made
    made.close()


def grouped(files: list[int], size: int = 64) -> list[Requests]:
    """Requests for ten files each."""
    groups = [files[at : at + 10] for at in range(0, len(files), 10)]
    return [Requests(group, [size] * len(group), [None] * len(group)) for group in groups]


def joined(read: list[News]) -> list[bytes]:
    """What is new of each, one after the other."""
    return [data for each in read for _, data in each]


def news(reader: Reader, requests: list[Requests]) -> list[News]:
    """What is read and was not known; now it is."""
    with reader.reading(Batch(requests)) as reading:
        found = [each.news(reading) for each in requests]
    for each, its in zip(requests, found, strict=True):
        for place, data in its:
            each.known[place] = data
    return found


def all_of(files: list[int]) -> News:
    """News of all of one's files."""
    return [(place, os.pread(fd, 64, 0)) for place, fd in enumerate(files)]


def test_as_one_by_one(files: list[int], reader: Reader) -> None:
    """All bytes of all files, in whatever order they are wanted."""
    expected = [os.pread(fd, 64, 0) for fd in files]
    assert joined(news(reader, grouped(files))) == expected
    shuffled = grouped(files)
    with reader.reading(Batch(shuffled)) as reading:
        order = list(enumerate(shuffled))
        random.Random(1).shuffle(order)
        found = {number: each.news(reading) for number, each in order}
    assert joined([found[number] for number in range(110)]) == expected


def test_only_what_changed(files: list[int], reader: Reader, tmp_path: Path) -> None:
    """What has no byte that is new is no news; a shorter file is, too."""
    requests = grouped(files)
    assert all(news(reader, requests))
    assert not any(news(reader, requests))
    (tmp_path / "13").write_text("31\n" * 6)  # as long as before
    (tmp_path / "26").write_text("26\n")  # 5 of them before
    expected = {1: [(3, b"31\n" * 6)], 2: [(6, b"26\n")]}
    assert {n: its for n, its in enumerate(news(reader, requests)) if its} == expected
    assert not any(news(reader, requests))


def test_what_is_known_is_no_news(files: list[int], reader: Reader) -> None:
    """What was read in another way before."""
    known = [b"1\n", b"known", b"3\n" * 3]
    (found,) = news(reader, [Requests(files[1:4], [64] * 3, known)])
    assert found == [(1, b"2\n2\n")]


def test_not_taken_is_not_forgotten(files: list[int], reader: Reader, tmp_path: Path) -> None:
    """What nobody took of one reading is new in the next, unless it is again what it was."""
    requests = grouped(files)
    news(reader, requests)
    before = (tmp_path / "13").read_text()
    (tmp_path / "13").write_text("31\n" * 6)
    for _ in range(2):
        with reader.reading(Batch(requests)):
            pass
    again = news(reader, requests)
    assert {n: its for n, its in enumerate(again) if its} == {1: [(3, b"31\n" * 6)]}
    with reader.reading(Batch(requests)):
        pass
    (tmp_path / "13").write_text(before)
    with reader.reading(Batch(requests)):
        pass
    assert joined(news(reader, requests)) == [before.encode()]
    assert not any(news(reader, requests))


@given(st.lists(st.lists(st.binary(max_size=9), min_size=3, max_size=3), max_size=8))
def test_news_are_what_differs(readings: list[list[bytes]]) -> None:
    """Whatever each file was before, and however short it becomes."""
    with tempfile.TemporaryDirectory() as directory:
        paths = [Path(directory, str(number)) for number in range(3)]
        for path in paths:
            path.touch()
        fds = [os.open(path, os.O_RDONLY) for path in paths]
        reader = Reader(fds[0])
        known: list[bytes] = [b"", b"x", b""]
        requests = Requests(fds, [9] * 3, known)
        for contents in readings:
            for path, content in zip(paths, contents, strict=True):
                path.write_bytes(content)
            before = known.copy()
            (found,) = news(reader, [requests])
            differs = [n for n, each in enumerate(contents) if each != before[n]]
            assert [place for place, data in found if data != before[place]] == differs
            assert known == contents
        reader.close()
        for fd in fds:
            os.close(fd)


def test_longer_than_asked_for(files: list[int], reader: Reader) -> None:
    """As much as was asked for, by which its reader knows that there may be more."""
    (found,) = news(reader, [Requests(files[1002:1003], [4], [None])])
    assert found == [(0, b"1002")]


def test_more_than_at_once(files: list[int], reader: Reader) -> None:
    """A cgroup with more files than are read by one call has all of them."""
    many = files[:1000]
    (found,) = news(reader, [Requests(many, [64] * len(many), [None] * len(many))])
    assert found == all_of(many)


def test_one_cpu(files: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no second CPU, no second thread is made."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    threads = threading.active_count()
    with opened(f"{tmp_path}/13") as fd:
        reader = Reader(fd)
    assert joined(news(reader, grouped(files))) == [os.pread(fd, 64, 0) for fd in files]
    assert threading.active_count() == threads
    reader.close()


def test_errors(files: list[int], reader: Reader, tmp_path: Path) -> None:
    """One that cannot be read costs its neighbours in other requests nothing."""
    directory = os.open(tmp_path, os.O_RDONLY)
    try:
        (good,), (last,) = grouped(files[:3]), grouped(files[4:6])
        bad = Requests([files[3], 1_000_000], [64] * 2, [None] * 2)
        worse = Requests([directory], [64], [None])
        with reader.reading(Batch([good, bad, worse, last])) as reading:
            assert good.news(reading) == all_of(files[:3])
            with pytest.raises(OSError, match="Bad file descriptor") as exc:
                bad.news(reading)
            assert exc.value.errno == errno.EBADF
            with pytest.raises(OSError, match=r"directory|Invalid argument"):
                worse.news(reading)
            assert last.news(reading) == all_of(files[4:6])
    finally:
        os.close(directory)


def test_kernel_that_does_not_tell(
    files: list[int], reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of such a chunk counts as read, and nobody waits for it."""

    def take(context: aio._Context, count: int) -> "array[int]":
        raise OSError(errno.EFAULT, "no")

    monkeypatch.setattr(aio._Context, "_take", take)
    requests = grouped(files)
    with reader.reading(Batch(requests)) as reading:
        for each in requests:
            with pytest.raises(OSError, match="Bad address"):
                each.news(reading)


def test_nothing_under_way_afterwards(files: list[int], reader: Reader) -> None:
    """Whoever breaks off waits for what the kernel still writes, and begins nothing else."""
    requests = grouped(files)
    with pytest.raises(ValueError, match="broken off"), reader.reading(Batch(requests)):
        raise ValueError("broken off")
    assert reader._helper is None or reader._helper.submit(int).result() == 0
    assert joined(news(reader, requests)) == [os.pread(fd, 64, 0) for fd in files]


def test_again_and_again(files: list[int], reader: Reader, tmp_path: Path) -> None:
    """A batch is read as often as one likes, and nobody takes one reading for another."""
    requests = grouped(files)
    batch = Batch(requests)
    for number in range(5):
        (tmp_path / "3").write_text(f"{number}\n")
        with reader.reading(batch) as reading:
            found = [each.news(reading) for each in requests]
        for each, its in zip(requests, found, strict=True):
            for place, data in its:
                each.known[place] = data
        assert (3, f"{number}\n".encode()) in found[0]
        assert all(found[1:]) is not bool(number)
    later = Batch(requests[1:])
    assert [each.asked for each in requests[:2]] == [batch.number, later.number]
    with reader.reading(later) as reading, pytest.raises(AssertionError, match="not in the batch"):
        requests[0].news(reading)


@given(st.lists(st.integers(-200, 4096), max_size=50), st.randoms())
def test_events_in_any_order(results: list[int], randomly: random.Random) -> None:
    """Each request has its own result, whichever ended first."""
    pointers = array("q", range(4096, 4096 + 64 * len(results), 64))
    ended = list(zip(pointers, results, strict=True))
    randomly.shuffle(ended)
    events = array("q", [word for pointer, result in ended for word in (7, pointer, result, 0)])
    assert list(by_request(events, pointers)) == results


def test_not_to_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where files cannot be read so, it says why, and leaves nothing behind."""
    threads = threading.active_count()
    with opened(f"{tmp_path}") as directory:
        with pytest.raises(OSError, match=r"directory|Invalid argument"):
            Reader(directory)
        monkeypatch.setattr(aio, "_SYSCALLS", {})
        with pytest.raises(OSError, match="io_submit is not known on"):
            Reader(directory)
        # A number of no system call: what a kernel without it answers, or a filter (seccomp).
        monkeypatch.setattr(aio, "_SYSCALLS", {os.uname().machine: (9999,) * 4})
        with pytest.raises(OSError, match="not implemented"):
            Reader(directory)
    assert threading.active_count() == threads
