"""Recordings as archives: a tar file in xz, the same bytes for the same recording.

``manifest.json`` says what and when; ``N/`` is the Nth scan, which after the first holds only
what changed. In it ``proc/`` and ``cgroup/`` hold files as they were read, at their places below
--path.procfs and --path.cgroupfs, ``index.json`` what the kernel said beside their content,
``told.json`` the names of containers and pods, ``links.json`` the host's interfaces.

An archive may come from anyone: nothing of it is ever written to a file system, sizes are bounded,
and what has not the form is refused.
"""

import io
import json
import lzma
import math
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, BinaryIO, get_type_hints

from cgexporter.correlate.facts import NOTHING as NO_FACTS
from cgexporter.correlate.facts import Declared, Facts, Key, Port, Told
from cgexporter.parse.rtnetlink import Link
from cgexporter.recording import (
    NOTHING,
    Entry,
    Files,
    Name,
    Recording,
    RecordingError,
    Scan,
    Status,
)

FORMAT = 1
# 5,000 containers fit: 500 take 83 MiB, 0.8 MiB packed.
MAX_BYTES = 1 << 30
MAX_FILE_BYTES = 64 << 20
_MAX_SCANS = 1000
_XZ_MEMORY = 256 << 20
_PRESET = 2  # twice as fast as 6, and a tenth larger
_CHUNK = 1 << 16
_CALLS = frozenset({"open", "read", "stat", "list", "readlink"})
_MEMBER = re.compile(
    r"manifest\.json|[1-9]\d{0,3}/(?:index\.json|told\.json|links\.json|(?:proc|cgroup)/.+)",
    re.DOTALL,
)
_FACTS = {name: hint for name, hint in get_type_hints(Facts).items() if name != "labels"}
_DECLARED = get_type_hints(Declared)


@dataclass(frozen=True, slots=True)
class _Places:
    """Where files are: by the reader's paths, and in the archive."""

    procfs: str
    cgroupfs: str

    def member(self, path: str) -> str | None:
        """Name in the archive; None for what is in neither tree."""
        for name, top in (("proc", self.procfs), ("cgroup", self.cgroupfs)):
            if path == top or path.startswith(top + "/"):
                return name + path[len(top) :]
        return None

    def path(self, member: str) -> str:
        """The reader's path."""
        name, slash, below = member.partition("/")
        return (self.procfs if name == "proc" else self.cgroupfs) + slash + below


def _dump(content: object) -> bytes:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), check_circular=False)
    return text.encode() + b"\n"


def _entry_json(entry: Entry) -> dict[str, object]:
    said: dict[str, object] = {}
    if entry.status is not None:
        said["stat"] = list(entry.status)
    if entry.names is not None:
        said["list"] = [list(name) for name in entry.names]
    if entry.link is not None:
        said["link"] = entry.link
    if entry.errors:
        said["errors"] = dict(entry.errors)
    return said


def _facts_json(facts: Facts) -> dict[str, object]:
    known = {name: value for name, value in asdict(facts).items() if value not in (None, {})}
    if declared := known.get("declared"):
        known["declared"] = {name: n for name, n in declared.items() if n is not None}
    return known


def _members(recording: Recording) -> Iterator[tuple[str, bytes]]:
    """Each file of the archive but the manifest, in order."""
    places = _Places(recording.procfs, recording.cgroupfs)
    before: Files = {}
    for number, scan in enumerate(recording.scans, 1):
        index: dict[str, object] = {}
        contents = []
        for path in sorted(scan.files):
            entry = scan.files[path]
            member = places.member(path)
            if member is None or before.get(path) == entry:
                continue
            said = _entry_json(entry)
            if entry.data is not None:
                contents.append((f"{number}/{member}", entry.data))
                said["data"] = True
            index[member] = said
        yield f"{number}/index.json", _dump(index)
        told = [[*key, _facts_json(facts)] for key, facts in sorted(scan.told.items())]
        yield f"{number}/told.json", _dump({"told": told, "missing": dict(scan.missing)})
        links = {
            "links": [list(link) for link in scan.links],
            "nsids": [list(pair) for pair in sorted(scan.nsids.items())],
            "errno": scan.links_errno,
        }
        yield f"{number}/links.json", _dump(links)
        yield from contents
        before = scan.files


def write(recording: Recording, target: BinaryIO) -> None:
    """Write a recording to a file or pipe.

    Raises:
        RecordingError: it is larger than `read` takes.
        OSError: the target does not take it.
    """
    members = list(_members(recording))
    size = sum(len(data) + 2048 for _, data in members)
    if size > MAX_BYTES or any(len(data) > MAX_FILE_BYTES for _, data in members):
        raise RecordingError(f"the host is too large: more than {MAX_BYTES >> 20} MiB of files")
    manifest = {
        "format": FORMAT,
        "members": len(members),
        "procfs": recording.procfs,
        "cgroupfs": recording.cgroupfs,
        "pid": recording.pid,
        "note": dict(recording.note),
        "scans": [scan.started for scan in recording.scans],
    }
    with (
        lzma.open(target, "wb", preset=_PRESET) as packed,
        tarfile.open(
            fileobj=packed, mode="w|", format=tarfile.GNU_FORMAT, encoding="utf-8"
        ) as archive,
    ):
        for name, data in [("manifest.json", _dump(manifest)), *members]:
            # All but name and size is the same for all: no time, no owner.
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


class _Unpacked(io.RawIOBase):
    """The bytes in an xz stream, no more of them than a recording may have."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._xz = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)
        self._total = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes; fewer at the end."""
        wanted = _CHUNK if size < 0 else size
        if wanted > MAX_FILE_BYTES:
            raise RecordingError(f"it has a part of more than {MAX_FILE_BYTES >> 20} MiB")
        parts, left = [], wanted
        while left and not self._xz.eof:
            packed = self._source.read(_CHUNK) if self._xz.needs_input else b""
            if self._xz.needs_input and not packed:
                raise RecordingError("it is cut short")
            part = self._xz.decompress(packed, left)
            parts.append(part)
            left -= len(part)
        self._total += wanted - left
        if self._total > MAX_BYTES:
            raise RecordingError(f"it unpacks to more than {MAX_BYTES >> 20} MiB")
        return b"".join(parts)


def read(source: BinaryIO) -> Recording:
    """Read a recording from a file or pipe.

    Raises:
        RecordingError: it is none, it is damaged, or it is not as `write` makes it.
        OSError: the source cannot be read.
    """
    try:
        return _recording(_contents(source))
    except lzma.LZMAError as exc:
        raise RecordingError(f"it is no xz file, or damaged ({exc})") from exc
    except (tarfile.TarError, EOFError, UnicodeError) as exc:
        raise RecordingError(f"it is no tar file in xz, or damaged ({exc})") from exc
    except (ValueError, KeyError, TypeError, IndexError, OverflowError, RecursionError) as exc:
        raise RecordingError(f"it is not as cgexporter writes it ({_short(exc)})") from exc


def _short(exc: BaseException) -> str:
    return f"{type(exc).__name__}: {str(exc)[:100]}".encode("ascii", "replace").decode()


def _contents(source: BinaryIO) -> dict[str, bytes]:
    contents: dict[str, bytes] = {}
    unpacked = _Unpacked(source)
    with tarfile.open(fileobj=unpacked, mode="r|", encoding="utf-8") as archive:
        for member in archive:
            name = member.name
            if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
                raise RecordingError(f"{name!r} in it is no regular file")
            if not _MEMBER.fullmatch(name) or {"..", ".", ""} & set(name.split("/")):
                raise RecordingError(f"{name!r} in it is no name that a recording has")
            if name in contents:
                raise RecordingError(f"{name!r} is in it twice")
            if not contents and name != "manifest.json":
                raise RecordingError(f"it begins with {name!r} and not with manifest.json")
            if member.size > MAX_FILE_BYTES:
                raise RecordingError(f"{name!r} in it has more than {MAX_FILE_BYTES >> 20} MiB")
            file = archive.extractfile(member)
            data = file.read() if file else b""
            if len(data) != member.size:
                raise RecordingError(f"{name!r} in it is cut short")
            contents[name] = data
            # Streams keep every header otherwise.
            archive.members.clear()  # type: ignore[attr-defined]
    while unpacked.read():  # to the end, where the checksum is
        pass
    return contents


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, found {value!r:.40}")
    value.encode("utf-8", "surrogateescape")  # what no name of a file can be is refused
    return value


def _plain_text(value: object) -> str:
    text = _text(value)
    text.encode()
    return text


def _number(value: object, least: int = 0) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value < 1 << 64:
        raise TypeError(f"expected a number, found {value!r:.40}")
    return value


def _time(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e11:
        raise TypeError(f"expected a time, found {value!r:.40}")
    return float(value)


def _recording(contents: dict[str, bytes]) -> Recording:
    if not contents:
        raise RecordingError("it is empty")
    manifest = json.loads(contents["manifest.json"])
    if manifest["format"] != FORMAT:
        raise RecordingError(f"its format is {manifest['format']!r:.20}, and not {FORMAT}")
    if manifest["members"] != len(contents) - 1:
        raise RecordingError(f"it has {len(contents) - 1} parts, not {manifest['members']!r:.20}")
    places = _Places(_tree(manifest["procfs"]), _tree(manifest["cgroupfs"]))
    started = [_time(value) for value in manifest["scans"]]
    if not 0 < len(started) <= _MAX_SCANS or started != sorted(started):
        raise RecordingError("its scans are none, too many or not in order")
    used = {"manifest.json"}

    def take(name: str) -> bytes:
        used.add(name)
        return contents[name]

    scans: list[Scan] = []
    files: Files = {}
    for number, time in enumerate(started, 1):
        files = {**files, **_files(number, take, places)}
        told = json.loads(take(f"{number}/told.json"))
        links = json.loads(take(f"{number}/links.json"))
        scans.append(
            Scan(
                time,
                files,
                _told(told["told"]),
                {_plain_text(name): _plain_text(why) for name, why in told["missing"].items()},
                tuple(_link(link) for link in links["links"]),
                {_number(pid): _number(nsid) for pid, nsid in links["nsids"]},
                _number(links["errno"]),
            )
        )
    if unused := sorted(contents.keys() - used):
        raise RecordingError(f"{unused[0]!r} in it is in no index")
    return Recording(
        places.cgroupfs,
        places.procfs,
        _number(manifest["pid"]),
        {_plain_text(name): _plain_text(text) for name, text in manifest["note"].items()},
        scans,
    )


def _tree(value: object) -> str:
    path = _text(value)
    if not path or "\0" in path or path.endswith("/"):
        raise ValueError(f"no path of a tree: {path!r:.40}")
    return path


def _files(number: int, take: Callable[[str], bytes], places: _Places) -> dict[str, Entry]:
    files = {}
    for member, said in json.loads(take(f"{number}/index.json")).items():
        top = member.partition("/")[0]
        if top not in ("proc", "cgroup"):
            raise ValueError(f"no path: {member!r:.40}")
        entry = _entry(said)
        if said.get("data"):
            entry = entry._replace(data=take(f"{number}/{member}"))
        files[places.path(_text(member))] = entry
    return files


def _entry(said: Mapping[str, Any]) -> Entry:
    entry = NOTHING
    if "stat" in said:
        mode, inode, links, owner, changed = said["stat"]
        numbers = [_number(n) for n in (mode, inode, links, owner)]
        status = Status._make([*numbers, _time(changed)])
        entry = entry._replace(status=status)
    if "list" in said:
        names = tuple(Name(_name(n), _number(i), bool(d)) for n, i, d in said["list"])
        entry = entry._replace(names=names)
    if "link" in said:
        entry = entry._replace(link=_text(said["link"]))
    if "errors" in said:
        errors = {call: _number(number, 1) for call, number in said["errors"].items()}
        if errors.keys() - _CALLS or max(errors.values(), default=0) > 4095:
            raise ValueError("errors of no call")
        entry = entry._replace(errors=errors)
    return entry


def _name(value: object) -> str:
    name = _text(value)
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise ValueError(f"no name of a file: {name!r:.40}")
    return name


def _told(rows: list[Any]) -> Told:
    told: dict[Key, Facts] = {}
    for path, inode, said in rows:
        told[_text(path), _number(inode)] = _facts(said)
    return told


def _facts(said: Mapping[str, Any]) -> Facts:
    values: dict[str, Any] = {}
    for field in fields(NO_FACTS):
        value = said.get(field.name)
        if value is None:
            continue
        if field.name == "labels":
            value = {_plain_text(name): _plain_text(text) for name, text in value.items()}
        elif field.name == "declared":
            value = Declared(**{name: _quantity(value.get(name)) for name in _DECLARED})
        elif field.name == "ports":
            value = tuple(
                Port(_plain_text(ip), _number(outside), _number(inside), _plain_text(protocol))
                for ip, outside, inside, protocol in value
            )
        elif not isinstance(value, _FACTS[field.name]):
            raise TypeError(f"{field.name} is {value!r:.40}")
        elif isinstance(value, str):
            _plain_text(value)
        values[field.name] = value
    return Facts(**values)


def _quantity(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError(f"expected a quantity, found {value!r:.40}")
    return float(value)


def _link(row: list[Any]) -> Link:
    ifindex, name, kind, peer_index, peer_nsid, master = row
    others = (None if n is None else _number(n) for n in (peer_index, peer_nsid, master))
    return Link(_number(ifindex), _text(name), _text(kind), *others)
