"""No sum counts a cgroup twice, whatever the tree."""

import re
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import example, given, settings
from hypothesis import strategies as st

from cgexporter.exporter import Exporter, Names, Settings
from cgexporter.publish import Format

IDS = [digit * 64 for digit in "abc"]
UIDS = [f"{n}{n}111111-2222-3333-4444-555555555555" for n in (1, 2)]
PARTS = st.sampled_from(
    [
        *("kubepods", "burstable", "docker", "system.slice", "x.service", "init.scope", "kubelet"),
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


def page(tree: list[str]) -> str:
    """The page of a host whose every cgroup itself, without those below, used one byte."""
    with TemporaryDirectory() as directory:
        top = Path(directory, "cgroup")
        for path in tree:
            (top / path).mkdir(parents=True, exist_ok=True)
        for place in [top, *(p for p in top.rglob("*") if p.is_dir())]:
            below = sum(1 for p in place.rglob("*") if p.is_dir())
            (place / "cgroup.procs").write_text("")
            (place / "memory.current").write_text(f"{1 + below}\n")
        (Path(directory) / "proc/1").mkdir(parents=True)
        (Path(directory) / "proc/1/mountinfo").write_text(
            "30 20 0:30 / /sys/fs/cgroup rw - cgroup2 none rw\n"
        )
        exporter = Exporter(
            Settings(cgroupfs=str(top), procfs=f"{directory}/proc", names=Names.BOTH)
        )
        text = exporter.render(exporter.look(), Format.TEXT)
        exporter.close()
        everything = 1 + sum(1 for p in top.rglob("*") if p.is_dir())
    return f"{text}everything {everything}\n"


NESTED = f"kubepods/pod{UIDS[0]}/{IDS[0]}/kubelet/kubepods/pod{UIDS[1]}/{IDS[1]}"


@example([NESTED])
@example([NESTED, f"docker/{IDS[2]}"])
@example([f"docker/{IDS[0]}/docker/{IDS[1]}", f"docker/{IDS[2]}"])
@example([f"libpod-{IDS[0]}.scope/container"])
@given(TREES)
@settings(max_examples=60, deadline=None)
def test_no_cgroup_counts_twice(tree: list[str]) -> None:
    """Each cgroup is in one series of a family, and containers and pods do not overlap.

    So the sum over a family of containers or pods is at most what the whole tree uses. The
    families of cgroups are the tree itself: there each cgroup has one series.
    """
    text = page(tree)
    most = int(text.rsplit(maxsplit=1)[1])
    for level in ("container", "pod"):
        pattern = rf"^cgexporter_{level}_memory_current_bytes\{{.*\}} (\d+)$"
        assert sum(map(int, re.findall(pattern, text, re.MULTILINE))) <= most
    # One series for a cgroup: its path is in one of them.
    series = Counter(re.findall(r"^(cgexporter_\w+)\{(.*)\} ", text, re.MULTILINE))
    assert set(series.values()) <= {1}
    theirs = re.findall(r'^container_memory_usage_bytes\{.*id="([^"]*)".*\} ', text, re.MULTILINE)
    assert len(theirs) == len(set(theirs))
    # Rows of containers alone, as rules with container!="" or image!="" select, do not overlap.
    paths = re.findall(r'^cgexporter_container_info\{(?:.*,)?cgroup="([^"]*)"', text, re.MULTILINE)
    pods = re.findall(r'^cgexporter_pod_info\{(?:.*,)?cgroup="([^"]*)"', text, re.MULTILINE)
    for group in (paths, pods):
        for path in group:
            assert not any(other.startswith(path + "/") for other in group)
