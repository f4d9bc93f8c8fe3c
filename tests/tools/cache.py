"""A folder outside the checkout for what takes long to make, by a digest of what makes it."""

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

_HOME = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cgexporter"
ROOT = Path(os.environ.get("CGEXPORTER_CACHE") or _HOME)


def digest(*parts: str | Path) -> str:
    """Twelve digits for texts and contents of files and folders; other parts, other digits."""
    found = hashlib.sha256()
    for part in parts:
        files = [part] if isinstance(part, str) else _files(part)
        for file in files:
            content = file.encode() if isinstance(file, str) else file.read_bytes()
            found.update(b"%d\0%s" % (len(content), content))
    return found.hexdigest()[:12]


def _files(path: Path) -> list[str | Path]:
    if path.is_file():
        return [path]
    below = sorted(p for p in path.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    return [part for file in below for part in (str(file.relative_to(path)), file)]


@contextlib.contextmanager
def making(target: Path) -> Iterator[Path | None]:
    """Make something once, whoever asks, and have it whole or not at all.

    Args:
        target: where it shall be; below `ROOT`.

    Yields:
        A place of the same parent to make it at, moved to `target` when the block ends well; None
        where it is there already.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / f".{target.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if target.exists():
            yield None
            return
        place = target.with_name(f".{target.name}.making")
        _remove(place)
        try:
            yield place
            place.rename(target)
        finally:
            _remove(place)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def forget_others(target: Path, pattern: str) -> None:
    """Remove what an earlier version of the checkout made in place of `target`."""
    for other in target.parent.glob(pattern):
        if other != target:
            _remove(other)
