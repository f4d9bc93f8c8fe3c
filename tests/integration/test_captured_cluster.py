"""Pods of a captured Kubernetes node, seen by a user without any right."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PODS = {
    "guar-5c9f56c79d-j4zbl": ("apps", "65d065af-ae73-47db-b13a-2485901d6eb7", "925b06e21729"),
    "burst-786f948c54-fpn8t": ("apps", "6379596c-6187-4328-83db-f6b7731d4741", "f8cc91c7aae2"),
    "lab1-q7fvg": ("mon", "c3727bbf-626a-44c6-b16c-e6cab16b73aa", "093e339ca1b4"),
    "beste-6b9fddf4cd-fpvjn": ("apps", "62f890ee-4a3c-4bee-862f-7f3b4967622a", "e225add29cab"),
}


@pytest.fixture
def root(tmp_path: Path, fixtures: Path) -> Path:
    """The log links that this node's kubelet had made, by its CRI's list of that moment."""
    links = tmp_path / "root/var/log/containers"
    links.mkdir(parents=True)
    paths = [path.name for path in (fixtures / "v2-6.1-kubernetes").rglob("cri-containerd-*.scope")]
    for pod, (namespace, uid, prefix) in PODS.items():
        (name,) = (name for name in paths if name.startswith(f"cri-containerd-{prefix}"))
        id_ = name.removeprefix("cri-containerd-").removesuffix(".scope")
        target = f"/var/log/pods/{namespace}_{pod}_{uid}/main/0.log"
        (links / f"{pod}_{namespace}_main-{id_}.log").symlink_to(target)
    for directory in (tmp_path, *tmp_path.parents):
        if directory.stat().st_uid == os.geteuid():
            directory.chmod(directory.stat().st_mode | 0o011)
    return tmp_path / "root"


def test_names_for_nobody(root: Path, fixtures: Path) -> None:
    """Uid 65534 without capabilities sees each pod and container by name, and no sandbox."""
    prefix: list[str] = []
    if os.geteuid() == 0 and shutil.which("setpriv"):
        prefix = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        prefix += ["--bounding-set=-all", "--inh-caps=-all"]
        tried = [
            *prefix,
            sys.executable,
            "-c",
            f"import cgexporter, os; os.listdir({str(fixtures)!r})",
        ]
        if subprocess.run(tried, capture_output=True, check=False).returncode:
            prefix = []  # this checkout or Python is not for every user; the files are
    tree = fixtures / "v2-6.1-kubernetes"
    done = subprocess.run(
        [
            *(*prefix, sys.executable, "-m", "cgexporter", "--once", "--format", "json"),
            *("--path.cgroupfs", tree / "sys/fs/cgroup", "--path.procfs", tree / "proc"),
            *("--identity.root", root),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    containers = {each["pod"]: each for each in seen["containers"]}
    assert containers.keys() == PODS.keys()
    for pod, (namespace, uid, prefix_of_id) in PODS.items():
        found = containers[pod]
        assert (found["namespace"], found["container"], found["pod_uid"]) == (
            namespace,
            "main",
            uid,
        )
        assert found["id"] == prefix_of_id
        assert found["restart_count"] == 0
    assert {pod["pod"] for pod in seen["pods"]} == PODS.keys()
    assert len(seen["sandboxes"]) == len(PODS)
    assert {each["pod"] for each in seen["sandboxes"]} == PODS.keys()
    assert all("container" not in each for each in seen["sandboxes"])
