"""cgexporter as a process of its own, serving on loopback."""

import contextlib
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_PATIENCE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Served:
    """One running server."""

    process: subprocess.Popen[bytes]
    log: Path
    url: str

    def page(self) -> str:
        """Scrape it."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=30) as response:
            text: str = response.read().decode()
        return text

    def memory(self) -> Iterator[bytes]:
        """All that is in its memory now, in pieces that overlap by a page."""
        pid = self.process.pid
        with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
            for line in maps:
                found = re.match(r"([0-9a-f]+)-([0-9a-f]+) r", line)
                if found is None or line.rstrip().endswith(("[vvar]", "[vsyscall]")):
                    continue
                start, end = (int(text, 16) for text in found.groups())
                for position in range(start, end, 1 << 24):
                    with contextlib.suppress(OSError):  # unmapped meanwhile
                        memory.seek(position)
                        yield memory.read(min(end - position, (1 << 24) + 4096))

    def resident_bytes(self) -> int:
        """Memory that is its own now, without what it shares with others."""
        text = Path(f"/proc/{self.process.pid}/smaps_rollup").read_text()
        return 1024 * sum(
            int(found[1])
            for found in re.finditer(r"^Private_(?:Clean|Dirty): +(\d+) kB", text, re.MULTILINE)
        )

    def eventually(self, wanted: Callable[[str], bool]) -> str:
        """Scrape until a page is as wanted; the last page where none is."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            page = self.page()
            if wanted(page) or time.monotonic() > deadline:
                return page
            time.sleep(0.05)


@contextlib.contextmanager
def served(log: Path, flags: Sequence[str | Path], prefix: Sequence[str] = ()) -> Iterator[Served]:
    """Start one for the time of a `with` block.

    Args:
        log: file for its logs.
        flags: of the command line.
        prefix: a command that starts it, such as setpriv.
    """
    command = [*prefix, sys.executable, "-m", "cgexporter", "--web.listen-address", "127.0.0.1:0"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, *map(str, flags)], stderr=output, env=os.environ | {"PYTHONUNBUFFERED": "1"}
        )
    try:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while (found := re.search(r"listening on (127\.0\.0\.1:\d+)", log.read_text())) is None:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield Served(process, log, f"http://{found[1]}")
    finally:
        process.terminate()
        process.wait(20)
