"""An image of busybox for all engines, made without a registry.

The archive is the one of ``docker save``, which docker, podman and ctr take.
"""

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from pathlib import Path

NAME = "docker.io/library/lab:1"


def write(target: Path) -> None:
    """Write the archive."""
    busybox = shutil.which("busybox")
    assert busybox is not None, "busybox is among the tools of the laboratory"
    applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True)
    layer = _tar_of(
        {"bin/busybox": Path(busybox).read_bytes()},
        {f"bin/{name}": "busybox" for name in applets.stdout.split() if name != "busybox"},
        ("proc", "sys", "dev", "tmp", "data", "etc", "run"),
    )
    layer_id = hashlib.sha256(layer).hexdigest()
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "created": "2020-01-01T00:00:00Z",
            "config": {"Cmd": ["/bin/sleep", "1000000"], "Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer_id}"]},
        }
    ).encode()
    config_name = f"{hashlib.sha256(config).hexdigest()}.json"
    layer_name = f"{layer_id}/layer.tar"
    manifest = [{"Config": config_name, "RepoTags": [NAME], "Layers": [layer_name]}]
    files = {config_name: config, layer_name: layer, "manifest.json": json.dumps(manifest).encode()}
    target.write_bytes(_tar_of(files, {}, ()))


def _tar_of(files: dict[str, bytes], links: dict[str, str], directories: tuple[str, ...]) -> bytes:
    """A tar archive: content by path, link targets by path, empty directories."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name in directories:
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            archive.addfile(entry)
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755
            archive.addfile(entry, io.BytesIO(content))
        for name, target in links.items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            archive.addfile(entry)
    return output.getvalue()
