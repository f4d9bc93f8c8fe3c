"""Archives of recordings: what is written is read again, and nothing else is."""

import io
import json
import lzma
import random
import tarfile
from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from cgexporter.cli import main
from cgexporter.correlate.facts import Declared, Facts, Port
from cgexporter.parse.rtnetlink import Link
from cgexporter.recording import Entry, Name, Recording, RecordingError, Scan, Status
from cgexporter.recording.archive import MAX_BYTES, read, write

_DIRECTORY = 0o040755
_CGROUP = "/docker/" + "5" * 64
_MOUNTS = b"31 22 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"


def tiny(started: float = 1.5) -> Scan:
    """One container on a host that has not much besides."""
    top = "/sys/fs/cgroup"
    files = {
        "/proc": Entry(status=Status(_DIRECTORY, 1, 5, 0, 0.0), names=(Name("7", 9, True),)),
        "/proc/1/mountinfo": Entry(data=_MOUNTS),
        "/proc/7/ns/net": Entry(link="net:[4026532281]"),
        "/proc/7/ns/mnt": Entry(errors={"readlink": 13}),
        "/proc/7/stat": Entry(data=b"7 (a\xff) S " + b"0 " * 18 + b"5 0\n"),
        top: Entry(
            status=Status(_DIRECTORY, 1, 3, 0, 0.0),
            names=(Name("docker", 2, True), Name("odd\udcff", 4, True)),
        ),
        f"{top}/cgroup.procs": Entry(data=b"", status=Status(0o100644, 8, 1, 0, 0.0)),
        f"{top}/docker": Entry(
            status=Status(_DIRECTORY, 2, 3, 0, 0.0), names=(Name("5" * 64, 3, True),)
        ),
        f"{top}{_CGROUP}": Entry(status=Status(_DIRECTORY, 3, 2, 1000, 9.25)),
        f"{top}{_CGROUP}/cgroup.procs": Entry(data=b"7\n"),
        f"{top}{_CGROUP}/cpu.stat": Entry(data=b"usage_usec 5\n"),
        f"{top}{_CGROUP}/memory.max": Entry(errors={"open": 13}),
        f"{top}/odd\udcff": Entry(status=Status(_DIRECTORY, 4, 2, 0, 0.0)),
    }
    facts = Facts(
        name="web",
        image="shop:1",
        restart_count=2,
        labels={"a": "b"},
        declared=Declared(cpu_limit_cores=0.5),
        ports=(Port("127.0.0.1", 8080, 80, "tcp"),),
    )
    links = (Link(4, "veth1", "veth", 2, 0, None),)
    return Scan(started, files, {(_CGROUP, 3): facts}, {"docker": "may not read"}, links, {7: 0})


def recording(*scans: Scan) -> Recording:
    """A recording of the tiny host."""
    note = {"kernel": "6.1"}
    return Recording("/sys/fs/cgroup", "/proc", 4711, note, scans or (tiny(),))


def test_every_fact() -> None:
    """Whatever a source tells of a container is there again, and what is empty is not unknown."""
    values: dict[str, Any] = {
        "labels": {"a": "b"},
        "declared": Declared(memory_limit_bytes=1.0),
        "ports": (),
        "sandbox": False,
        "restart_count": 0,
    }
    facts = Facts(**{field.name: values.get(field.name, "text") for field in fields(Facts)})
    scan = replace(tiny(), told={(_CGROUP, 3): facts})
    (again,) = read(io.BytesIO(packed(recording(scan)))).scans
    assert again.told == scan.told


def packed(of: Recording) -> bytes:
    """Its archive."""
    file = io.BytesIO()
    write(of, file)
    return file.getvalue()


def rebuilt(change: Callable[[list[tuple[tarfile.TarInfo, bytes]]], None]) -> bytes:
    """The archive with other members; the manifest tells their number."""
    members = []
    with tarfile.open(fileobj=io.BytesIO(lzma.decompress(packed(recording())))) as archive:
        for info in archive:
            file = archive.extractfile(info)
            members.append((info, file.read() if file else b""))
    change(members)
    manifest = json.loads(members[0][1])
    manifest["members"] = len(members) - 1
    data = json.dumps(manifest).encode()
    members[0][0].size = len(data)
    members[0] = (members[0][0], data)
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return lzma.compress(raw.getvalue())


def member(name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = "") -> bytes:
    """The archive with one member more."""
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = len(data), kind, link
    return rebuilt(lambda members: members.append((info, data)))


def test_what_is_written_is_read() -> None:
    """A recording survives its archive whole: times, names, errnos, odd bytes, later scans."""
    later = tiny(3.5)
    files = dict(later.files)
    files[f"/sys/fs/cgroup{_CGROUP}/cpu.stat"] = Entry(errors={"read": 19})
    whole = recording(tiny(), Scan(3.5, files, later.told, {}, (), {}, 13))
    assert read(io.BytesIO(packed(whole))) == Recording(
        whole.cgroupfs, whole.procfs, whole.pid, whole.note, list(whole.scans)
    )


def test_later_scans_hold_what_changed() -> None:
    """An idle host's second scan adds next to nothing."""
    one, many = packed(recording(tiny())), packed(recording(*(tiny(float(n)) for n in range(50))))
    assert len(many) < len(one) + 50 * 100


def sized(info: tarfile.TarInfo, data: bytes) -> tuple[tarfile.TarInfo, bytes]:
    """A member with another content."""
    info.size = len(data)
    return info, data


BAD = {
    "empty": (b"", "cut short"),
    "text": (b"hello\n" * 100, "no xz file"),
    "no tar": (lzma.compress(b"x" * 5000), "no tar file"),
    "path traversal": (member("1/cgroup/../../etc/passwd"), "no name that a recording has"),
    "absolute": (member("/etc/passwd"), "no name that a recording has"),
    "other place": (member("1/etc/passwd"), "no name that a recording has"),
    "symbolic link": (member("1/proc/x", kind=tarfile.SYMTYPE, link="/etc"), "no regular file"),
    "hard link": (member("1/proc/x", kind=tarfile.LNKTYPE, link="/etc"), "no regular file"),
    "device": (member("1/proc/x", kind=tarfile.CHRTYPE), "no regular file"),
    "fifo": (member("1/proc/x", kind=tarfile.FIFOTYPE), "no regular file"),
    "directory": (member("1/proc/x", kind=tarfile.DIRTYPE), "no regular file"),
    "duplicate": (member("1/told.json", b"{}"), "is in it twice"),
    "not in the index": (member("1/proc/x", b"x"), "is in no index"),
    "scan of no manifest": (member("2/told.json", b"{}"), "is in no index"),
    "nested": (rebuilt(lambda m: m.__setitem__(1, sized(m[1][0], b"[" * 100_000))), "not as"),
    "no stat": (
        rebuilt(lambda m: m.__setitem__(1, sized(m[1][0], b'{"proc":{"stat":[1]}}'))),
        "not as cgexporter writes it",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_archives(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is no recording is refused in one line that says why, with exit status 1."""
    data, why = BAD[name]
    file = tmp_path / "bad"
    file.write_bytes(data)
    assert main(["--once", "--from", str(file)]) == 1
    told = capsys.readouterr()
    assert not told.out
    assert told.err.count("\n") == 1
    assert told.err.startswith(f"cgexporter: --from {file}")
    assert why in told.err


def test_bombs_are_not_unpacked() -> None:
    """A stream that unpacks to more than a recording may have is given up early."""
    header = tarfile.TarInfo("manifest.json")
    header.size = MAX_BYTES * 4
    bomb = lzma.compress(header.tobuf() + bytes(1 << 20))
    with pytest.raises(RecordingError, match="more than"):
        read(io.BytesIO(bomb))
    long_name = tarfile.TarInfo("././@LongLink")
    long_name.type, long_name.size = tarfile.GNUTYPE_LONGNAME, MAX_BYTES
    with pytest.raises(RecordingError):
        read(io.BytesIO(lzma.compress(long_name.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 20))))


@pytest.mark.parametrize("bytes_left", [0, 1, 10, 100, 300, -1, -20])
def test_cut_short(bytes_left: int) -> None:
    """An archive that was not copied to its end is refused."""
    with pytest.raises(RecordingError):
        read(io.BytesIO(packed(recording())[:bytes_left]))


@pytest.mark.parametrize("name", ["missing", "."])
def test_no_file(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No file, or a directory, is said in one line."""
    assert main(["namespaces", "--from", str(tmp_path / name)]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def mutations(data: bytes, tries: int, seed: int) -> Iterable[bytes]:
    """The same bytes with some changed, left out, doubled or put in."""
    chance = random.Random(seed)
    for _ in range(tries):
        changed = bytearray(data)
        for _ in range(chance.choice((1, 1, 2, 8))):
            place = chance.randrange(len(changed))
            match chance.randrange(4):
                case 0:
                    changed[place] = chance.randrange(256)
                case 1:
                    del changed[place : place + chance.choice((1, 512, 3000))]
                case 2:
                    changed[place:place] = changed[place : place + chance.choice((1, 512))]
                case _:
                    changed[place:place] = chance.choice((b"-1", b"null", b"[]", b"{", b"\0", b"9"))
            if not changed:
                break
        yield bytes(changed)


def test_ten_thousand_archives(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Whatever an archive holds, there is an output or one line, and never a traceback."""
    # Changed within: xz notices what is changed without, and so would hide what is behind it.
    raw = lzma.decompress(packed(recording(tiny(1.0), tiny(2.0))))
    file = tmp_path / "odd"
    outcomes = {0: 0, 1: 0}
    for number, data in enumerate(mutations(raw, 10_000, seed=8)):
        packed_again = lzma.compress(data, check=lzma.CHECK_NONE, preset=0)
        file.write_bytes(packed_again)
        command = (["--once", "--format", "json"], ["namespaces", "--format", "json"])[number % 2]
        status = main([*command, "--log.level", "error", "--from", str(file)])
        told = capsys.readouterr()
        outcomes[status] += 1
        assert bool(told.out) == (status == 0)
        assert told.err.count("\n") == status
    assert min(outcomes.values()) > 500
