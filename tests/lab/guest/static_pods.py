"""In the guest: let the kubelet run static pods, and print what the kernel says of them.

    static_pods.py < WANTED

WANTED is JSON: `manifests`, of each pod by its name; `running`, names of the containers of each
that shall run; `files`, names of files to read; `are_the_last`, whether the guest ends with these.
Printed is JSON too: `uids` of the pods, `paths` of the cgroups of their containers, and `files` by
cgroup. The pods are gone afterwards, but for the last.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

_MANIFESTS = Path("/etc/kubernetes/manifests")
_ROOT = Path("/sys/fs/cgroup")
_PODS = _ROOT / "kubepods.slice"
_PATIENCE_SECONDS = 600


def _write(manifests: dict[str, str]) -> list[Path]:
    """Write the manifests, each at once: the kubelet looks whenever it likes."""
    files = [_MANIFESTS / f"{name}.yaml" for name in manifests]
    for file, text in zip(files, manifests.values(), strict=True):
        draft = Path("/lab") / file.name
        draft.write_text(text)
        os.rename(draft, file)
    return files


def _containers(pods: dict[str, list[str]]) -> dict[str, dict[str, dict[str, str]]]:
    """The running containers of each pod, by name, with their labels and IDs."""
    # A runtime that starts many does not answer within the two seconds that crictl waits.
    command = ["crictl", "--timeout", "60s", "ps", "-o", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, dict[str, dict[str, str]]] = {name: {} for name in pods}
    for each in json.loads(done.stdout)["containers"]:
        labels = each["labels"]
        pod = labels["io.kubernetes.pod.name"].rpartition("-")[0]  # without the node's name
        if pod in found:
            labels["id"] = each["id"]
            found[pod][labels["io.kubernetes.container.name"]] = labels
    return found


def _scopes() -> dict[str, Path]:
    """Cgroups of containers and sandboxes, by name."""
    return {path.name: path for path in _PODS.rglob("cri-containerd-*.scope")}


def _wait(pods: dict[str, list[str]], before: int) -> dict[str, dict[str, dict[str, str]]]:
    """Wait until all run. Asking takes the CPU that they want, so it is done when they may."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    needed = before + sum(1 + len(wanted) for wanted in pods.values())  # each has a sandbox
    while True:
        lacking: object = f"{needed - len(_scopes())} cgroups"
        if len(_scopes()) >= needed:
            found = _containers(pods)
            lacking = {
                name: sorted(set(wanted) - found[name].keys())
                for name, wanted in pods.items()
                if not set(wanted) <= found[name].keys()
            }
            if not lacking:
                return found
        if time.monotonic() > deadline:
            raise TimeoutError(f"these do not run: {lacking}")
        time.sleep(4)


def _read(directory: Path, files: list[str]) -> dict[str, str]:
    processes = (directory / "cgroup.procs").read_text().split()
    found = {}
    for name in files:
        file = directory / name
        if name.startswith("/proc/"):
            if not processes:
                continue
            file = Path(name.replace("/PID/", f"/{processes[0]}/"))
        if file.exists():
            found[name] = file.read_text()
    return found


def _remove(written: list[Path], directories: list[Path]) -> None:
    """Remove the manifests, and wait until nothing of their pods is left."""
    for file in written:
        file.unlink()
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while left := [str(directory) for directory in directories if directory.exists()]:
        if time.monotonic() > deadline:
            raise TimeoutError(f"these are still there: {left}")
        time.sleep(0.5)


def main() -> None:
    """Start, read, remove."""
    wanted = json.load(sys.stdin)
    before = len(_scopes())
    written = _write(wanted["manifests"])
    pods = _wait(wanted["running"], before)
    scopes = _scopes()
    paths: dict[str, dict[str, str]] = {}
    uids = {}
    kept = {"/kubepods.slice": _read(_PODS, wanted["files"])}
    for tier in ("burstable", "besteffort"):
        directory = _PODS / f"kubepods-{tier}.slice"
        kept[f"/{directory.relative_to(_ROOT)}"] = _read(directory, wanted["files"])
    above = []
    for pod, containers in pods.items():
        for name, labels in containers.items():
            scope = scopes[f"cri-containerd-{labels['id']}.scope"]
            uids[pod] = labels["io.kubernetes.pod.uid"]
            paths.setdefault(pod, {})[name] = f"/{scope.relative_to(_ROOT)}"
            above.append(scope.parent)
            for directory in (scope, scope.parent):
                kept[f"/{directory.relative_to(_ROOT)}"] = _read(directory, wanted["files"])
    if not wanted["are_the_last"]:
        _remove(written, above)
    json.dump({"uids": uids, "paths": paths, "files": kept}, sys.stdout)


main()
