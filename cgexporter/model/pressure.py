"""Pressure stall information of a cgroup: `some` is waiting, `full` is stalled."""

from typing import NamedTuple

from cgexporter.model.units import MICROSECONDS, seconds
from cgexporter.parse.psi import Pressure as File


class Pressure(NamedTuple):
    """Seconds in which tasks waited for a resource, or all of them were stalled on it.

    The ``_ratio`` fields are the kernel's average of the last 10 s, for people who look
    once; Prometheus computes better ones from the totals.
    """

    cpu_waiting_seconds: float | None = None
    cpu_stalled_seconds: float | None = None
    memory_waiting_seconds: float | None = None
    memory_stalled_seconds: float | None = None
    io_waiting_seconds: float | None = None
    io_stalled_seconds: float | None = None
    irq_stalled_seconds: float | None = None
    cpu_waiting_ratio: float | None = None
    memory_stalled_ratio: float | None = None
    io_stalled_ratio: float | None = None


_NO_FILE = File()


def _ratio(percent: float | None) -> float | None:
    return None if percent is None else percent / 100


def pressure(
    cpu: File | None,
    memory: File | None,
    io: File | None,
    irq: File | None,
) -> Pressure:
    """Build from the ``*.pressure`` files."""
    cpu, memory, io, irq = cpu or _NO_FILE, memory or _NO_FILE, io or _NO_FILE, irq or _NO_FILE
    return Pressure(
        seconds(cpu.some_total_usec, MICROSECONDS),
        seconds(cpu.full_total_usec, MICROSECONDS),
        seconds(memory.some_total_usec, MICROSECONDS),
        seconds(memory.full_total_usec, MICROSECONDS),
        seconds(io.some_total_usec, MICROSECONDS),
        seconds(io.full_total_usec, MICROSECONDS),
        seconds(irq.full_total_usec, MICROSECONDS),
        _ratio(cpu.some_avg10),
        _ratio(memory.full_avg10),
        _ratio(io.full_avg10),
    )
