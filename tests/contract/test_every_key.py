"""Nothing that a cgroup's files say is passed over in silence."""

import re
import shutil
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import pytest

from cgexporter.exporter import Exporter, Settings
from cgexporter.metrics import COLLECTORS, METRICS, Metric
from cgexporter.sources import SIZE, files_in

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
TREES = sorted(p for p in FIXTURES.iterdir() if (p / "sys").is_dir())

# Several numbers without a key, or a list: one thing to publish or not.
_WHOLE = re.compile(
    r"cpu\.max|cpuset\.|cpuacct\.usage_|cgroup\.(procs|threads|controllers|subtree_control|type)"
    r"|tasks|misc\.(current|max|peak|capacity|events)|.*_device|io\.weight|io\.bfq\.weight"
    r"|blkio\.bfq\.(weight|time|sectors)"
)
_NODES = re.compile(r"(?:\S+\.)?numa_stat")
_OPERATORS = frozenset({"/", "-", "and", "or", "least", "of", "here"})


class Key(NamedTuple):
    """One thing a kernel file says; `key` is "" where it says only one."""

    version: str  # v1 or v2
    file: str
    key: str


def keys_of(name: str, text: str, version: str) -> Iterator[Key]:
    """What a file says."""
    file = re.sub(r"^hugetlb\.\w+?\.", f"hugetlb.{SIZE}.", name)
    if not text.strip() or _WHOLE.match(name):
        yield Key(version, file, "")
        return
    for line in text.splitlines():
        for key in _keys_of_line(name, line.split()):
            yield Key(version, file, key)


def _keys_of_line(name: str, words: list[str]) -> list[str]:
    if name.endswith(".pressure"):
        return [f"{words[0]} {pair.partition('=')[0]}" for pair in words[1:]]
    if _NODES.fullmatch(name):
        return [words[0].partition("=")[0]]
    if len(words) > 1 and "=" in words[1]:
        return [pair.partition("=")[0] for pair in words[1:]]
    if len(words) == 3:  # DEVICE OPERATION VAL
        return [words[1]]
    if len(words) == 2:
        # The sum at the end of v1's files by device and operation is no key.
        return [] if name.startswith("blkio.") and words[0] == "Total" else [words[0]]
    return [""]


def files_of(tree: Path) -> Iterator[tuple[Path, str]]:
    """Each cgroup file of a tree, and its version."""
    mounts = (tree / "proc/1/mountinfo").read_text().splitlines()
    tops = {
        line.split()[4]: line.split(" - ")[1].split()[0] for line in mounts if " - cgroup" in line
    }
    for top, kind in sorted(tops.items()):
        for file in sorted((tree / top.lstrip("/")).rglob("*")):
            inside = [t for t in tops if t != top and t.startswith(top + "/")]
            if file.is_file() and not any(str(file).startswith(f"{tree}{t}/") for t in inside):
                yield file, "v2" if kind == "cgroup2" else "v1"


def sources(row: Metric) -> Iterator[Key]:
    """What a row is read from."""
    for version, source in (("v2", row.v2), ("v1", row.v1)):
        names = files_in(row.section, source or "")
        file, key = "", [""]
        for word in [*(source or "").partition(" (")[0].split(), "and"]:
            if word in names or word in _OPERATORS:
                if file:
                    yield Key(version, file, " ".join(key))
                file, key = (word if word in names else ""), []
            else:
                key.append(word)


PUBLISHED = {key: row for row in METRICS for key in sources(row)}


def is_published(key: Key) -> bool:
    """Whether some row has it, be its collector on or off."""
    if key in PUBLISHED:
        return True
    return any(
        known.version == key.version
        and known.file == key.file
        and ((not key.key) or fnmatchcase(key.key, known.key))
        for known in PUBLISHED
    )


def reasons() -> list[tuple[str, str, str]]:
    """File, key and reason of each row of docs/NOT_PUBLISHED.md; "" for "-"."""
    text = (FIXTURES.parents[1] / "docs/NOT_PUBLISHED.md").read_text()
    found = re.findall(r"^\| `([^`]+)` \| (?:`([^`]+)`|-) \| (.+) \|$", text, re.MULTILINE)
    return [(file, key, reason) for file, key, reason in found]


def has_reason(key: Key) -> bool:
    """Whether docs/NOT_PUBLISHED.md says why it is not published."""
    for file, pattern, _ in reasons():
        name, _, version = file.partition(" (")
        if version and version.rstrip(")") != key.version:
            continue
        if fnmatchcase(key.file, name) and fnmatchcase(key.key, pattern):
            return True
    return False


def report(tree: Path) -> list[str]:
    """A line for each key that is neither published nor left out for a reason."""
    unknown: dict[Key, None] = {}
    for file, version in files_of(tree):
        for key in keys_of(file.name, file.read_text(), version):
            if not is_published(key) and not has_reason(key):
                unknown[key] = None
    return [f"{key.version} {key.file} {key.key}".rstrip() for key in unknown]


@pytest.mark.parametrize("tree", TREES, ids=lambda tree: tree.name)
def test_every_key_is_published_or_has_a_reason(tree: Path) -> None:
    """Each key of each file of a captured host is published, by default or not, or explained."""
    assert report(tree) == []


@pytest.mark.parametrize(
    ("file", "line", "expected"),
    [
        ("memory.stat", "brand_new_key 17\n", "v2 memory.stat brand_new_key"),
        ("io.stat", "254:0 rbytes=1 zbytes=7\n", "v2 io.stat zbytes"),
        ("memory.brand_new", "17\n", "v2 memory.brand_new"),
        ("cpu.pressure", "most avg10=0.00 total=1\n", "v2 cpu.pressure most avg10"),
    ],
)
def test_a_new_key_is_reported(tmp_path: Path, file: str, line: str, expected: str) -> None:
    """What a newer kernel adds turns up as a line of the report."""
    tree = tmp_path / "tree"
    shutil.copytree(FIXTURES / "v2-6.1-kubepods-runc", tree, symlinks=True)
    with (tree / "sys/fs/cgroup/kubepods.slice" / file).open("a") as content:
        content.write(line)
    assert expected in report(tree)


def test_reasons_are_of_use() -> None:
    """No reason is given for what is published after all."""
    for file, key, reason in reasons():
        name, _, version = file.partition(" (")
        assert reason
        if "*" not in name + key:
            for one in [version.rstrip(")")] if version else ["v1", "v2"]:
                assert Key(one, name, key) not in PUBLISHED or (one, name) == ("v2", "memory.stat")


@pytest.mark.parametrize("tree", TREES, ids=lambda tree: tree.name)
def test_what_is_published_is_there(tree: Path) -> None:
    """Where a file has the key of a row, that row has a value."""
    exporter = Exporter(
        Settings(
            cgroupfs=f"{tree}/sys/fs/cgroup",
            procfs=f"{tree}/proc",
            collectors=frozenset(COLLECTORS),
        )
    )
    view = exporter.look()
    exporter.close()
    read = {c.path: c for c in (*view.cgroups, *(p.cgroup for p in view.pods))}
    read |= {c.cgroup.path: c.cgroup for c in view.containers}
    hierarchies = exporter.hierarchies
    checked = 0
    for path, cgroup in read.items():
        for hierarchy in hierarchies.all:
            version = "v2" if hierarchy.unified else "v1"
            files = [f for f in Path(hierarchy.directory(path)).glob("*.*") if f.is_file()]
            for file in files:
                for key in keys_of(file.name, file.read_text(), version):
                    row = PUBLISHED.get(key)
                    if row is None or not file.read_text().strip() or row.section == "kept":
                        continue
                    section = getattr(cgroup, row.section)
                    elements = section if row.label else [section]
                    values = [getattr(each, row.attribute) for each in elements]
                    assert any(v is not None for v in values), f"{path} {key}: {row.name}"
                    checked += 1
    assert checked > 100
