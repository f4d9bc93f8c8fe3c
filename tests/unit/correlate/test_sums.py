"""No sum counts a cgroup twice, whatever the tree."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import example, given, settings
from hypothesis import strategies as st

from cgexporter.correlate.tiers import Tier, tiers
from cgexporter.exporter import Exporter, Names, Settings
from cgexporter.publish import Format

IDS = [digit * 64 for digit in "abc"]
UIDS = [f"{n}{n}111111-2222-3333-4444-555555555555" for n in (1, 2)]
PARTS = st.sampled_from(
    [
        *("kubepods", "burstable", "docker", "x.service", "init.scope", "kubelet"),
        *("system.slice", "user.slice", "user-1000.slice", "session-1.scope", "a", "b"),
        *("kubepods.slice", "kubepods-burstable.slice"),
        *(f"pod{uid}" for uid in UIDS),
        *(f"kubepods-pod{uid.replace('-', '_')}.slice" for uid in UIDS),
        *IDS,
        *(f"docker-{i}.scope" for i in IDS),
        *(f"cri-containerd-{i}.scope" for i in IDS),
        *(f"libpod-{i}.scope" for i in IDS),
        "container",
    ]
)
TREES = st.lists(st.lists(PARTS, min_size=1, max_size=6).map("/".join), min_size=1, max_size=12)
DEPTHS = st.lists(st.integers(0, 4), max_size=40)
# Of each sum, the file and how it says a number.
FILES = {
    "memory_current_bytes": ("memory.current", "{}\n"),
    "pids_current": ("pids.current", "{}\n"),
    "cpu_throttled_periods_total": ("cpu.stat", "usage_usec 1\nnr_throttled {}\n"),
    "memory_anon_bytes": ("memory.stat", "anon {}\n"),
    "io_read_bytes_total": ("io.stat", "8:0 rbytes={} wbytes=0 rios=0 wios=0 dbytes=0 dios=0\n"),
}


def page(tree: list[str], depths: Sequence[int] = ()) -> tuple[str, int]:
    """The page of a host, and how many cgroups it has.

    `depths` says of the first cgroups in order how deep in PID namespaces their process is; 0
    is for none.

    Each cgroup itself used a power of two of everything, and counts as the kernel does what
    those below it used: a sum tells which cgroups are in it, and whether one is there twice.
    """
    with TemporaryDirectory() as directory:
        top = Path(directory, "cgroup")
        for path in tree:
            (top / path).mkdir(parents=True, exist_ok=True)
        places = [top, *sorted(p for p in top.rglob("*") if p.is_dir())]
        for pid, (place, depth) in enumerate(zip_longest(places, depths[: len(places)]), 100):
            used = sum(1 << n for n, p in enumerate(places) if p.is_relative_to(place))
            (place / "cgroup.procs").write_text(f"{pid}\n" if depth else "")
            if depth:
                process = Path(directory, "proc", str(pid))
                process.mkdir(parents=True)
                (process / "stat").write_text(f"{pid} (sh) S{' 0' * 18} {pid} 0\n")
                (process / "status").write_text(f"NSpid:\t{pid}" + "\t1" * (depth - 1) + "\n")
            for name, text in FILES.values():
                (place / name).write_text(text.format(used))
        (Path(directory) / "proc/1").mkdir(parents=True, exist_ok=True)
        (Path(directory) / "proc/1/mountinfo").write_text(
            "30 20 0:30 / /sys/fs/cgroup rw - cgroup2 none rw\n"
        )
        exporter = Exporter(
            Settings(cgroupfs=str(top), procfs=f"{directory}/proc", names=Names.BOTH)
        )
        exporter.watch()
        text = exporter.render(exporter.look(), Format.TEXT)
        exporter.close()
        return text, len(places)


def series(text: str) -> Iterator[tuple[str, Mapping[str, str], float]]:
    """Name, labels and value of each series under our names."""
    for line in text.splitlines():
        if match := re.fullmatch(r"(cgexporter_\w+)(?:\{(.*)\})? (\S+)", line):
            name, labels, value = match.groups()
            number = int(value) if value.isdecimal() else float(value)
            yield name, dict(re.findall(r'(\w+)="([^"]*)"', labels or "")), number


NESTED = f"kubepods/pod{UIDS[0]}/{IDS[0]}/kubelet/kubepods/pod{UIDS[1]}/{IDS[1]}"
SLICES = "user.slice/user-1000.slice/session-1.scope"


@example([NESTED], [])
@example([NESTED, f"docker/{IDS[2]}"], [])
@example([f"docker/{IDS[0]}/docker/{IDS[1]}", f"docker/{IDS[2]}"], [])
@example([f"docker/{IDS[0]}/docker/{IDS[1]}", f"docker/{IDS[2]}"], [0, 0, 2, 0, 2, 2])
@example([f"docker/{IDS[0]}/docker/{IDS[1]}", f"docker/{IDS[2]}"], [0, 0, 2, 0, 3, 2])
@example([f"docker/{IDS[0]}/docker/{IDS[1]}/docker/{IDS[2]}"], [])
@example([f"docker/{IDS[0]}/docker/{IDS[1]}/docker/{IDS[2]}"], [0, 0, 2, 0, 2, 0, 3])
@example([f"libpod-{IDS[0]}.scope/container"], [])
@example([SLICES, "system.slice/x.service", "init.scope", "a/b/a/b/a"], [])
@example([f"kubepods.slice/kubepods-burstable.slice/docker-{IDS[0]}.scope/{IDS[1]}"], [])
@given(TREES, DEPTHS)
@settings(max_examples=80, deadline=None)
def test_no_cgroup_counts_twice(tree: list[str], depths: list[int]) -> None:
    """The sum over all series of any family has each cgroup in it at most once."""
    text, count = page(tree, depths)
    found = list(series(text))
    levels = {name.split("_")[1] for name, _, _ in found}
    for level in levels:
        for what in FILES:
            values = [
                int(value) for name, _, value in found if name == f"cgexporter_{level}_{what}"
            ]
            together = 0
            for value in values:
                together |= value
            assert sum(values) == together, f"{level}_{what}"
    assert ("cgexporter_node_memory_current_bytes", {}, (1 << count) - 1) in found
    # The same of every other family: of the cgroups it is about none lies in another.
    path_of = {
        (level, labels[key]): labels["cgroup"]
        for name, labels, _ in found
        for level, key in (("container", "id"), ("pod", "uid"))
        if name == f"cgexporter_{level}_info"
    }
    families: dict[str, set[str]] = defaultdict(set)
    for name, labels, _ in found:
        level = name.split("_")[1]
        if level in ("container", "pod"):
            families[name].add(path_of[level, labels["id" if level == "container" else "uid"]])
        elif level in ("slice", "cgroup", "holder"):
            families[name].add(labels["cgroup"])
    for name, paths in families.items():
        for path in paths:
            assert not any(other.startswith(path + "/") for other in paths), name


@example([NESTED], [])
@given(TREES, DEPTHS)
@settings(max_examples=40, deadline=None)
def test_no_series_twice(tree: list[str], depths: list[int]) -> None:
    """Each series is there once, under our names and under cAdvisor's."""
    text = page(tree, depths)[0]
    counts = Counter(line.rpartition(" ")[0] for line in text.splitlines() if line[0] != "#")
    assert set(counts.values()) <= {1}
    theirs = re.findall(r'^container_memory_usage_bytes\{.*id="([^"]*)".*\} ', text, re.MULTILINE)
    assert len(theirs) == len(set(theirs))


def test_tiers() -> None:
    """Slices and what has nothing of its kind below are told apart from what lies between."""
    outer = "/kubepods.slice/kubepods-burstable.slice/outer"
    paths = (
        *("/", "/init.scope", "/kubepods.slice", "/kubepods.slice/kubepods-burstable.slice"),
        *(outer, f"{outer}/inner", "/user.slice", "/user.slice/user-1000.slice"),
        *("/user.slice/user-1000.slice/session-1.scope", "/user.slice/user-1000.slicer"),
    )
    assert [tier.value for tier in tiers(paths, frozenset({outer, f"{outer}/inner"})).values()] == [
        *("node", "slice", "slice", "cgroup"),
        *("holder", "between", "slice", "between"),
        *("cgroup", "cgroup"),
    ]


def test_what_is_inside_a_container_changes_nothing_outside() -> None:
    """A container that makes containers inside itself takes no cgroup around it off the page."""
    outer = "/kubepods/burstable/pod1/outer"
    around = ("/", "/kubepods", "/kubepods/burstable")
    alone = tiers(around, frozenset())
    for inner in (f"{outer}/a", f"{outer}/a/b"):
        both = tiers((*around, outer, inner), frozenset({outer, inner}))
        assert {path: both[path] for path in around} == alone
        assert both[outer] is Tier.HOLDER
