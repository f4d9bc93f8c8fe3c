"""What procfs says of the whole machine. Source: proc(5)."""

import logging
from collections.abc import Callable
from typing import TypeVar

from cgexporter import kernel
from cgexporter.kernel import Missing
from cgexporter.model.machine import Machine
from cgexporter.parse.core import parse_word
from cgexporter.parse.formats import ParseError, single_value
from cgexporter.parse.proc import (
    MemInfo,
    parse_cpus,
    parse_meminfo,
    parse_oom_kills,
    parse_tasks,
)
from cgexporter.walker import is_due

log = logging.getLogger(__name__)

T = TypeVar("T")


class MachineReader:
    """Reads the machine's facts again and again; what hardly changes only now and then.

    Args:
        procfs: the host's /proc.
    """

    def __init__(self, procfs: str) -> None:
        self._procfs = procfs
        self._reads = 0
        self._warned: set[str] = set()
        self._cpus: int | None = None
        self._tasks_max: int | None = None
        self._boot_id: str | None = None
        self._kernel: str | None = None

    def read(self) -> Machine:
        """Read them."""
        if is_due(self._reads):
            self._cpus = self._fact("stat", parse_cpus)
            limits = (
                self._fact("sys/kernel/pid_max", single_value),
                self._fact("sys/kernel/threads-max", single_value),
            )
            self._boot_id = self._fact("sys/kernel/random/boot_id", parse_word)
            self._kernel = self._fact("sys/kernel/osrelease", parse_word)
            self._tasks_max = min((n for n in limits if n is not None), default=None)
        self._reads += 1
        return Machine(
            self._cpus,
            self._fact("meminfo", parse_meminfo) or MemInfo(),
            self._fact("loadavg", parse_tasks),
            self._tasks_max,
            self._fact("vmstat", parse_oom_kills),
            self._boot_id,
            self._kernel,
        )

    def _fact(self, name: str, parse: Callable[[bytes], T]) -> T | None:
        content = kernel.read_path(f"{self._procfs}/{name}")
        if isinstance(content, Missing):
            return None
        try:
            return parse(content)
        except ParseError as exc:
            if name not in self._warned:
                log.warning("%s/%s: %s", self._procfs, name, exc)
                self._warned.add(name)
            return None
