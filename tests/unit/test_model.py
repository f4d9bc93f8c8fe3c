"""Sections in base units, built from v1 or v2 files in one shape."""

import math
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgexporter.model.cpu import Cpu, cpu_v1, cpu_v2
from cgexporter.model.cpu import with_payload as cpu_with_payload
from cgexporter.model.io import DeviceIo, io_v1, io_v2
from cgexporter.model.limits import least
from cgexporter.model.memory import Memory, memory_v1, memory_v2, working_set
from cgexporter.model.memory import with_payload as memory_with_payload
from cgexporter.model.pressure import Pressure, pressure
from cgexporter.model.tasks import Core, Cpuset, Pids, core, cpuset, pids
from cgexporter.model.tasks import with_payload as pids_with_payload
from cgexporter.model.units import MICROSECONDS, NANOSECONDS, seconds
from cgexporter.parse import cpu as parse_v2
from cgexporter.parse.core import CgroupEvents, CgroupStat
from cgexporter.parse.io import IoStat
from cgexporter.parse.memory import MemoryEvents, MemoryStat
from cgexporter.parse.psi import Pressure as PressureFile
from cgexporter.parse.v1 import cpu as parse_v1
from cgexporter.parse.v1.memory import MemoryStat as MemoryStatV1

COUNTS = st.integers(0, 2**64 - 1)


def test_one_division() -> None:
    """14036781 µs are 14.036781 s; dividing twice by 1000 would give 14.036781000000001."""
    assert seconds(14_036_781, MICROSECONDS) == 14.036781
    assert repr(seconds(14_036_781, MICROSECONDS)) == "14.036781"
    assert seconds(19_272_248_383, NANOSECONDS) == 19.272248383
    assert seconds(0, MICROSECONDS) == 0.0
    assert seconds(None, MICROSECONDS) is None


@given(COUNTS, st.sampled_from([MICROSECONDS, NANOSECONDS]))
def test_seconds_are_the_nearest_float(count: int, unit: int) -> None:
    """No other float is nearer to the kernel's number, however large it is."""
    assert seconds(count, unit) == float(f"{count}e-{len(str(unit)) - 1}")


@pytest.mark.parametrize(
    ("one", "other", "stricter"),
    [
        (None, None, None),
        (None, 5, 5),
        (5, None, 5),
        (math.inf, None, math.inf),
        (math.inf, 5, 5),
        (7, 5, 5),
        (0, 5, 0),
        (None, 0, 0),
    ],
)
def test_least(one: float | None, other: float | None, stricter: float | None) -> None:
    """Not known is no limit and no unlimited; 0 is the strictest of all."""
    assert least(one, other) == stricter
    assert least(other, one) == stricter


def test_cpu_v2() -> None:
    """Microseconds become seconds, a quota of a period becomes cores."""
    built = cpu_v2(
        parse_v2.CpuStat(
            usage_usec=14_036_781,
            user_usec=13_000_001,
            system_usec=1_036_780,
            nr_periods=225,
            nr_throttled=220,
            throttled_usec=16_158_440,
            nr_bursts=3,
            burst_usec=1_500,
        ),
        15_000_000,
        parse_v2.CpuMax(20_000, 100_000),
        5_000,
        20,
        0,
    )
    assert built == Cpu(
        usage_seconds=14.036781,
        user_seconds=13.000001,
        system_seconds=1.03678,
        periods=225,
        throttled_periods=220,
        throttled_seconds=16.15844,
        throttled_local_seconds=15.0,
        bursts=3,
        burst_seconds=0.0015,
        limit_cores=0.2,
        period_seconds=0.1,
        burst_limit_seconds=0.005,
        weight=20,
        shares=None,
        idle=0,
    )


def test_cpu_v1() -> None:
    """Nanoseconds, ticks and microseconds become seconds."""
    hertz = os.sysconf("SC_CLK_TCK")
    built = cpu_v1(
        5_390_404_919,
        parse_v1.CpuacctStat(user=505, system=33),
        parse_v1.CpuStat(
            nr_periods=264,
            nr_throttled=258,
            throttled_time=19_272_248_383,
            nr_bursts=1,
            burst_time=2_000_000,
        ),
        7_000_000_000,
        20_000,
        100_000,
        0,
        512,
        1,
    )
    assert built == Cpu(
        usage_seconds=5.390404919,
        user_seconds=505 / hertz,
        system_seconds=33 / hertz,
        periods=264,
        throttled_periods=258,
        throttled_seconds=19.272248383,
        throttled_local_seconds=7.0,
        bursts=1,
        burst_seconds=0.002,
        limit_cores=0.2,
        period_seconds=0.1,
        burst_limit_seconds=0.0,
        weight=None,
        shares=512,
        idle=1,
    )


def test_no_cpu_limit() -> None:
    """Unlimited is infinity on both; not known is None."""
    assert cpu_v2(None, None, parse_v2.CpuMax(math.inf, 100_000), None, None, None) == Cpu(
        limit_cores=math.inf, period_seconds=0.1
    )
    v1 = cpu_v1(None, None, None, None, math.inf, 100_000, None, None, None)
    assert v1 == Cpu(limit_cores=math.inf, period_seconds=0.1)
    assert cpu_v1(None, None, None, None, 20_000, None, None, None, None).limit_cores is None
    assert cpu_v1(None, None, None, None, None, 100_000, None, None, None).limit_cores is None


def test_absent_stays_absent() -> None:
    """Without a file nothing is 0."""
    assert cpu_v2(None, None, None, None, None, None) == Cpu()
    assert cpu_v1(None, None, None, None, None, None, None, None, None) == Cpu()
    assert memory_v2(*[None] * 11) == Memory()
    assert memory_v1(*[None] * 9, leaf=True) == Memory()
    assert pressure(None, None, None, None) == Pressure()
    assert pids(None, None, None, None) == Pids()
    assert core(None, None, None) == Core()
    assert cpuset(None, None) == Cpuset()
    assert io_v2(None) == ()
    assert io_v1(None, None, None, None, leaf=True) == ()


def test_zero_stays_zero() -> None:
    """0 is a measurement."""
    stat = parse_v2.CpuStat(usage_usec=0, nr_throttled=0)
    built = cpu_v2(stat, 0, parse_v2.CpuMax(0, 100_000), 0, 0, 0)
    assert (built.usage_seconds, built.throttled_periods, built.throttled_local_seconds) == (
        0,
        0,
        0,
    )
    assert (built.limit_cores, built.burst_limit_seconds, built.weight, built.idle) == (0, 0, 0, 0)
    assert memory_v2(None, 0, 0, 0, 0, 0, 0, 0, 0, None, None).max_bytes == 0
    assert pids(0, 0, 0, 0) == Pids(0, 0, 0, 0)
    assert core(CgroupEvents(0, 0), CgroupStat(0, 0), None) == Core(0, 0, 0, 0)
    assert cpuset(frozenset(), frozenset({0})) == Cpuset(cpus=0, mems=1)


@pytest.mark.parametrize(
    ("current", "inactive_file", "result"),
    [(380_928, 4_096, 376_832), (100, 100, 0), (100, 101, 0), (None, 5, None), (5, None, None)],
)
def test_working_set(current: int | None, inactive_file: int | None, result: int | None) -> None:
    """Two files read one after the other may disagree: the working set is never below 0."""
    assert working_set(current, inactive_file) == result


def test_memory_v2() -> None:
    """Each file reaches the field of its name."""
    built = memory_v2(
        MemoryStat(
            anon=1,
            file=2,
            kernel=3,
            sock=4,
            shmem=5,
            file_mapped=6,
            file_dirty=7,
            file_writeback=8,
            inactive_file=9,
            slab_reclaimable=10,
            slab_unreclaimable=11,
            workingset_refault_anon=12,
            workingset_refault_file=13,
            pgfault=14,
            pgmajfault=15,
        ),
        100,
        200,
        math.inf,
        300,
        20,
        10,
        40,
        500,
        MemoryEvents(low=21, high=22, max=23, oom=24, oom_kill=25, oom_group_kill=26),
        MemoryEvents(low=31, high=32, max=33, oom=34, oom_kill=35, oom_group_kill=36),
    )
    assert built == Memory(
        current_bytes=100,
        working_set_bytes=91,
        peak_bytes=200,
        max_bytes=math.inf,
        high_bytes=300,
        low_bytes=20,
        min_bytes=10,
        soft_limit_bytes=None,
        swap_current_bytes=40,
        swap_max_bytes=500,
        failures=None,
        anon_bytes=1,
        file_bytes=2,
        kernel_bytes=3,
        sock_bytes=4,
        shmem_bytes=5,
        file_mapped_bytes=6,
        file_dirty_bytes=7,
        file_writeback_bytes=8,
        inactive_file_bytes=9,
        slab_reclaimable_bytes=10,
        slab_unreclaimable_bytes=11,
        refaults_anon=12,
        refaults_file=13,
        page_faults=14,
        major_page_faults=15,
        events_low=21,
        events_high=22,
        events_max=23,
        events_oom=24,
        events_oom_kill=25,
        events_oom_group_kill=26,
        events_local_low=31,
        events_local_high=32,
        events_local_max=33,
        events_local_oom=34,
        events_local_oom_kill=35,
        events_local_oom_group_kill=36,
    )


STAT_V1 = MemoryStatV1(
    total_cache=1,
    total_rss=2,
    total_shmem=3,
    total_mapped_file=4,
    total_dirty=5,
    total_writeback=6,
    total_inactive_file=7,
    total_swap=8,
    total_workingset_refault_anon=9,
    total_workingset_refault_file=10,
    total_pgfault=11,
    total_pgmajfault=12,
)


def test_memory_v1() -> None:
    """The v1 files reach the fields that v2's twins have; what v1 lacks is absent."""
    built = memory_v1(STAT_V1, 100, 200, 1000, 600, 3000, 4, 50, 6, leaf=True)
    assert built == Memory(
        current_bytes=100,
        working_set_bytes=93,
        peak_bytes=200,
        max_bytes=1000,
        soft_limit_bytes=600,
        swap_current_bytes=8,
        swap_max_bytes=2000,
        failures=4,
        anon_bytes=2,
        file_bytes=1,
        kernel_bytes=50,
        shmem_bytes=3,
        file_mapped_bytes=4,
        file_dirty_bytes=5,
        file_writeback_bytes=6,
        inactive_file_bytes=7,
        refaults_anon=9,
        refaults_file=10,
        page_faults=11,
        major_page_faults=12,
        events_oom_kill=6,
        events_local_oom_kill=6,
    )


@pytest.mark.parametrize(
    ("limit", "memsw_limit", "swap_max"),
    [
        (67_108_864, 134_217_728, 67_108_864),
        (67_108_864, 67_108_864, 0),
        (67_108_864, math.inf, math.inf),
        (math.inf, math.inf, math.inf),
        (67_108_864, None, None),  # swap accounting is off
        (None, 67_108_864, None),
    ],
)
def test_swap_limit_v1(
    limit: float | None, memsw_limit: float | None, swap_max: float | None
) -> None:
    """v1 limits memory and swap together: the swap limit is the difference."""
    built = memory_v1(None, None, None, limit, None, memsw_limit, None, None, None, leaf=True)
    assert built.swap_max_bytes == swap_max


@pytest.mark.parametrize(("limit", "memsw_limit"), [(math.inf, 1000), (2000, 1000)])
def test_swap_limit_while_limits_change(limit: float, memsw_limit: float) -> None:
    """The two files are not read at one moment: their difference is never shown below 0."""
    built = memory_v1(None, None, None, limit, None, memsw_limit, None, None, None, leaf=True)
    assert built.swap_max_bytes is None or built.swap_max_bytes >= 0


def test_oom_kills_v1() -> None:
    """v1 counts kills of the cgroup itself: those with descendants only where it has none."""
    for leaf, hierarchical in ((True, 6), (False, None)):
        built = memory_v1(None, None, None, None, None, None, None, None, 6, leaf=leaf)
        assert built.events_local_oom_kill == 6
        assert built.events_oom_kill == hierarchical


def test_io_v2() -> None:
    """One element a device, in a fixed order, so that series keep their places."""
    stat = {
        "8:16": IoStat(rbytes=1, wbytes=2, rios=3, wios=4, dbytes=5, dios=6),
        "254:0": IoStat(rbytes=0),
    }
    expected = (
        DeviceIo("254:0", read_bytes=0),
        DeviceIo(
            "8:16",
            read_bytes=1,
            written_bytes=2,
            discarded_bytes=5,
            reads=3,
            writes=4,
            discards=6,
        ),
    )
    assert io_v2(stat) == expected
    assert io_v2(dict(reversed(stat.items()))) == expected


BYTES = {"8:0": {"Read": 1, "Write": 2, "Discard": 3, "Sync": 99, "Total": 6}}
OPERATIONS = {"8:0": {"Read": 4, "Write": 5, "Discard": 6}, "8:16": {"Read": 7}}


def test_io_v1() -> None:
    """Bytes and operations meet by device; each may lack what the other has."""
    expected = (
        DeviceIo(
            "8:0",
            read_bytes=1,
            written_bytes=2,
            discarded_bytes=3,
            reads=4,
            writes=5,
            discards=6,
        ),
        DeviceIo("8:16", reads=7),
    )
    assert io_v1(BYTES, OPERATIONS, {}, {}, leaf=False) == expected
    assert io_v1(BYTES, OPERATIONS, None, None, leaf=True) == expected


def test_io_v1_without_recursive_files() -> None:
    """Before Linux 4.16 the plain files count for a cgroup without children, and no other."""
    assert io_v1(None, None, BYTES, OPERATIONS, leaf=True) == (
        io_v1(BYTES, OPERATIONS, None, None, leaf=True)
    )
    assert io_v1(None, None, BYTES, OPERATIONS, leaf=False) == ()


def test_io_v1_idle() -> None:
    """Recursive files without a device say 0 devices; the plain ones are not asked then."""
    assert io_v1({}, {}, BYTES, OPERATIONS, leaf=True) == ()


def test_pressure() -> None:
    """`some` is waiting and `full` is stalled; averages become shares of 1."""
    built = pressure(
        PressureFile(1_000_001, 2_000_000, 54.45, 1.0),
        PressureFile(3_000_000, 4_000_000, 2.0, 22.81),
        PressureFile(5_000_000, 6_000_000, 3.0, 0.0),
        PressureFile(full_total_usec=7_000_000, full_avg10=4.0),
    )
    assert built == Pressure(
        cpu_waiting_seconds=1.000001,
        cpu_stalled_seconds=2.0,
        memory_waiting_seconds=3.0,
        memory_stalled_seconds=4.0,
        io_waiting_seconds=5.0,
        io_stalled_seconds=6.0,
        irq_stalled_seconds=7.0,
        cpu_waiting_ratio=54.45 / 100,
        memory_stalled_ratio=22.81 / 100,
        io_stalled_ratio=0.0,
    )


def test_pressure_before_5_13() -> None:
    """Without a `full` line of the CPU its stall is absent, and not 0."""
    built = pressure(PressureFile(some_total_usec=1, some_avg10=0.0), None, None, None)
    assert built == Pressure(cpu_waiting_seconds=1e-06, cpu_waiting_ratio=0.0)


def test_tasks() -> None:
    """Counts stay as they are; lists of CPUs and nodes are counted."""
    assert pids(3, 6, 50, 2) == Pids(current=3, peak=6, max=50, events_max=2)
    assert cpuset(frozenset({0, 1, 5}), frozenset({0})) == Cpuset(cpus=3, mems=1)
    assert core(CgroupEvents(1, 0), CgroupStat(47, 33), None) == Core(
        populated=1, frozen=0, descendants=47, dying_descendants=33
    )


def test_frozen_on_a_hybrid_host() -> None:
    """A hybrid host freezes by the v1 controller: v2's `frozen` is 0 all the time."""
    assert core(CgroupEvents(1, 0), None, 1).frozen == 1
    assert core(CgroupEvents(1, 1), None, 0).frozen == 0
    assert core(None, None, 1) == Core(frozen=1)


PAYLOAD = Cpu(
    usage_seconds=2.9,
    periods=98,
    throttled_periods=95,
    throttled_seconds=6.4,
    throttled_local_seconds=6.3,
    bursts=1,
    burst_seconds=0.5,
    limit_cores=0.3,
    period_seconds=0.2,
    burst_limit_seconds=0.01,
    weight=1,
)
OUTER = Cpu(
    usage_seconds=3.0,
    periods=0,
    throttled_periods=0,
    throttled_seconds=0.0,
    throttled_local_seconds=0.0,
    bursts=0,
    burst_seconds=0.0,
    limit_cores=math.inf,
    period_seconds=0.1,
    burst_limit_seconds=0.0,
    weight=100,
)


@pytest.mark.parametrize("outer_limit", [math.inf, None, 0.4])
def test_cpu_limit_on_the_payload(outer_limit: float | None) -> None:
    """The periods are those of the cgroup that carries the limit; usage is the whole's."""
    merged = cpu_with_payload(OUTER._replace(limit_cores=outer_limit), PAYLOAD)
    assert merged == PAYLOAD._replace(usage_seconds=3.0, weight=100)


@pytest.mark.parametrize(
    ("outer_limit", "payload_limit"),
    [(0.3, 0.3), (0.2, 0.3), (0.2, math.inf), (0.2, None), (math.inf, math.inf), (None, None)],
)
def test_cpu_limit_on_the_outer_cgroup(
    outer_limit: float | None, payload_limit: float | None
) -> None:
    """Where the payload is no stricter, all is the outer cgroup's."""
    outer = OUTER._replace(limit_cores=outer_limit)
    assert cpu_with_payload(outer, PAYLOAD._replace(limit_cores=payload_limit)) == outer


def test_memory_limits_with_payload() -> None:
    """Each limit is the stricter of both; use and events are the whole's."""
    outer = Memory(
        current_bytes=100,
        max_bytes=math.inf,
        high_bytes=50,
        swap_max_bytes=None,
        low_bytes=1,
        events_oom_kill=3,
    )
    payload = Memory(
        current_bytes=90,
        max_bytes=64,
        high_bytes=60,
        soft_limit_bytes=5,
        swap_max_bytes=0,
        low_bytes=2,
        events_oom_kill=2,
    )
    assert memory_with_payload(outer, payload) == outer._replace(
        max_bytes=64, soft_limit_bytes=5, swap_max_bytes=0
    )


def test_pids_limit_with_payload() -> None:
    """The same for tasks."""
    assert pids_with_payload(Pids(2, 3, 3492), Pids(1, 1, 60)) == Pids(2, 3, 60)
    assert pids_with_payload(Pids(2, 3, 40), Pids(1, 1, math.inf)) == Pids(2, 3, 40)


def test_refused_forks_of_a_payload() -> None:
    """Before Linux 6.11 a refused fork is counted where the task is, and not above.

    kernel/cgroup/pids.c, pids_can_fork(): the payload's cgroup, which carries the limit.
    """
    assert pids_with_payload(Pids(2, 3, 3492, 0), Pids(1, 1, 60, 9)).events_max == 9


def test_oom_kills_of_a_payload_v1() -> None:
    """On v1 a kill and a failure are counted where the limit is, and not above."""
    outer = memory_v1(None, 0, 0, math.inf, None, None, 0, None, 0, leaf=False)
    payload = memory_v1(None, 0, 0, 64, None, None, 7, None, 2, leaf=True)
    merged = memory_with_payload(outer, payload)
    assert 2 in (merged.events_oom_kill, merged.events_local_oom_kill)
    assert merged.failures == 7
