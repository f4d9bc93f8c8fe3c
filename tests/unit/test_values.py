"""From bytes to samples: each value, on v1 and v2, in our names and in cAdvisor's."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from cgexporter.exporter import Exporter, Names, Settings
from cgexporter.metrics import COLLECTORS
from cgexporter.publish import Format

ID = "ab" * 32
V1 = ("cpu", "cpuacct", "cpuset", "memory", "blkio", "pids", "freezer", "hugetlb", "misc")


def page(directory: Path, version: str, files: Mapping[str, str], names: Names) -> str:
    """The page of a host with one container that has these files."""
    mounts = []
    for number, controller in enumerate(["unified"] if version == "v2" else V1):
        top = directory / "cgroup" / ("" if version == "v2" else controller)
        place = top / "docker" / ID
        place.mkdir(parents=True)
        for where in (top, top / "docker", place):
            (where / "cgroup.procs").write_text("")
        fstype, options = ("cgroup2", "rw") if version == "v2" else ("cgroup", f"rw,{controller}")
        point = "/sys/fs/cgroup" + ("" if version == "v2" else f"/{controller}")
        mounts.append(f"{30 + number} 20 0:{30 + number} / {point} rw - {fstype} none {options}\n")
        for name, content in files.items():
            its = name.partition(".")[0]
            if version == "v2" or its == controller or (its == "tasks" and controller == "cpu"):
                for where in (top / "docker", place):
                    (where / name).write_text(content)
    proc = directory / "proc"
    (proc / "1").mkdir(parents=True)
    (proc / "1/mountinfo").write_text("".join(mounts))
    (proc / "partitions").write_text("major minor  #blocks  name\n\n 254 0 1 vda\n")
    (proc / "meminfo").write_text("MemTotal: 4096 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n")
    exporter = Exporter(
        Settings(
            cgroupfs=f"{directory}/cgroup",
            procfs=str(proc),
            names=names,
            collectors=frozenset(COLLECTORS),
        )
    )
    text = exporter.render(exporter.look(), Format.TEXT)
    exporter.close()
    return text


def sample(text: str, family: str, more: str = "") -> str | None:
    """The value of a family's sample of the container, as written; None where there is none."""
    for line in text.splitlines():
        match = re.match(rf"{family}(?:_total)?\{{(.*)\}} (\S+)$", line)
        if match and ("ab" * 6 in match[1]) and more in match[1]:
            return match[2]
    return None


STAT_V2 = "anon 1001\nfile 2002\nfile_mapped 303\ninactive_file 404\nactive_file 505\n"
STAT_V1 = (
    "cache 1\nrss 2\ntotal_cache 2002\ntotal_rss 1001\ntotal_mapped_file 303\ntotal_swap 606\n"
    "total_inactive_file 404\ntotal_active_file 505\ntotal_pgfault 7\ntotal_pgmajfault 3\n"
)
CPU_V2 = (
    "usage_usec 14036781\nuser_usec 5\nsystem_usec 7\nnr_periods 10\nnr_throttled 4\n"
    "throttled_usec 1904833\nnr_bursts 2\nburst_usec 30\n"
)
PRESSURE = (
    "some avg10=1.00 avg60=2.00 avg300=3.00 total=1500001\n"
    "full avg10=1.00 avg60=2.00 avg300=3.00 total=500001\n"
)
MAX = {"cpu.max": "20000 100000\n"}

# Family, version, files, more labels, the sample as it is written.
THEIRS = [
    (
        "container_memory_working_set_bytes",
        "v2",
        {"memory.current": "9000\n", "memory.stat": STAT_V2},
        "",
        "8596",
    ),
    (
        "container_memory_working_set_bytes",
        "v2",
        {"memory.current": "9\n", "memory.stat": STAT_V2},
        "",
        "0",
    ),
    (
        "container_memory_working_set_bytes",
        "v1",
        {"memory.usage_in_bytes": "9000\n", "memory.stat": STAT_V1},
        "",
        "8596",
    ),
    ("container_memory_usage_bytes", "v2", {"memory.current": "9000\n"}, "", "9000"),
    ("container_memory_usage_bytes", "v1", {"memory.usage_in_bytes": "9000\n"}, "", "9000"),
    ("container_memory_rss", "v2", {"memory.stat": STAT_V2}, "", "1001"),
    ("container_memory_rss", "v1", {"memory.stat": STAT_V1}, "", "1001"),
    ("container_memory_cache", "v2", {"memory.stat": STAT_V2}, "", "2002"),
    ("container_memory_cache", "v1", {"memory.stat": STAT_V1}, "", "2002"),
    ("container_memory_mapped_file", "v2", {"memory.stat": STAT_V2}, "", "303"),
    ("container_memory_mapped_file", "v1", {"memory.stat": STAT_V1}, "", "303"),
    ("container_memory_total_active_file_bytes", "v1", {"memory.stat": STAT_V1}, "", "505"),
    ("container_memory_total_inactive_file_bytes", "v2", {"memory.stat": STAT_V2}, "", "404"),
    ("container_memory_swap", "v2", {"memory.swap.current": "606\n"}, "", "606"),
    ("container_memory_swap", "v1", {"memory.stat": STAT_V1}, "", "606"),
    ("container_memory_max_usage_bytes", "v2", {"memory.peak": "9001\n"}, "", "9001"),
    ("container_memory_max_usage_bytes", "v1", {"memory.max_usage_in_bytes": "9001\n"}, "", "9001"),
    ("container_memory_max_usage_bytes", "v2", {"memory.current": "1\n"}, "", None),
    ("container_memory_failcnt", "v1", {"memory.failcnt": "12\n"}, "", "12"),
    ("container_memory_failcnt", "v2", {"memory.events": "max 12\noom_kill 3\n"}, "", "12"),
    (
        "container_memory_failures_total",
        "v1",
        {"memory.stat": STAT_V1},
        'failure_type="pgmajfault",id',
        None,
    ),
    ("container_memory_failures", "v1", {"memory.stat": STAT_V1}, 'failure_type="pgmajfault"', "3"),
    ("container_oom_events", "v2", {"memory.events": "max 12\noom_kill 3\n"}, "", "3"),
    (
        "container_oom_events",
        "v1",
        {"memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"},
        "",
        "3",
    ),
    ("container_cpu_usage_seconds", "v2", {"cpu.stat": CPU_V2}, 'cpu="total"', "14.036781"),
    (
        "container_cpu_usage_seconds",
        "v1",
        {"cpuacct.usage": "14036781000\n"},
        'cpu="total"',
        "14.036781",
    ),
    ("container_cpu_user_seconds", "v1", {"cpuacct.stat": "user 250\nsystem 1\n"}, "", "2.5"),
    ("container_cpu_cfs_periods", "v2", {"cpu.stat": CPU_V2, **MAX}, "", "10"),
    ("container_cpu_cfs_periods", "v2", {"cpu.stat": CPU_V2, "cpu.max": "max 100000\n"}, "", None),
    ("container_cpu_cfs_throttled_seconds", "v2", {"cpu.stat": CPU_V2, **MAX}, "", "1.904833"),
    (
        "container_cpu_cfs_throttled_seconds",
        "v1",
        {
            "cpu.stat": "nr_periods 9\nnr_throttled 4\nthrottled_time 1904833000\n",
            "cpu.cfs_quota_us": "20000\n",
            "cpu.cfs_period_us": "100000\n",
        },
        "",
        "1.904833",
    ),
    ("container_cpu_cfs_burst_seconds", "v2", {"cpu.stat": CPU_V2, **MAX}, "", "3e-05"),
    (
        "container_fs_reads_bytes",
        "v2",
        {"io.stat": "254:0 rbytes=8 wbytes=9 rios=1 wios=2\n"},
        'device="/dev/vda"',
        "8",
    ),
    (
        "container_fs_writes",
        "v2",
        {"io.stat": "254:0 rbytes=8 wbytes=9 rios=1 wios=2\n"},
        'device="/dev/vda"',
        "2",
    ),
    (
        "container_fs_writes_bytes",
        "v1",
        {"blkio.throttle.io_service_bytes_recursive": "254:0 Read 8\n254:0 Write 9\nTotal 17\n"},
        'device="/dev/vda"',
        "9",
    ),
    (
        "container_fs_writes_bytes",
        "v1",
        {"blkio.throttle.io_service_bytes": "254:0 Read 8\n254:0 Write 9\nTotal 17\n"},
        'device="/dev/vda"',
        "9",
    ),
    (
        "container_fs_reads_bytes",
        "v2",
        {"io.stat": "7:0 rbytes=8 wbytes=9 rios=1 wios=2\n"},
        'device=""',
        "8",
    ),
    (
        "container_blkio_device_usage",
        "v2",
        {"io.stat": "254:0 rbytes=8 wbytes=9 rios=1 wios=2\n"},
        'operation="Write"',
        "9",
    ),
    (
        "container_fs_io_cost_usage_seconds",
        "v2",
        {"io.stat": "254:0 rbytes=8 cost.usage=1500000\n"},
        'device="/dev/vda"',
        "1.5",
    ),
    ("container_pressure_cpu_waiting_seconds", "v2", {"cpu.pressure": PRESSURE}, "", "1.500001"),
    (
        "container_pressure_memory_stalled_seconds",
        "v2",
        {"memory.pressure": PRESSURE},
        "",
        "0.500001",
    ),
    ("container_pressure_io_waiting_seconds", "v2", {"memory.pressure": PRESSURE}, "", None),
    ("container_threads", "v2", {"pids.current": "17\n"}, "", "17"),
    ("container_threads_max", "v2", {"pids.max": "max\n"}, "", "0"),
    ("container_threads_max", "v1", {"pids.max": "50\n"}, "", "50"),
    ("container_spec_cpu_quota", "v2", MAX, "", "20000"),
    ("container_spec_cpu_quota", "v2", {"cpu.max": "max 100000\n"}, "", None),
    ("container_spec_cpu_period", "v2", MAX, "", "100000"),
    ("container_spec_cpu_shares", "v2", {"cpu.weight": "100\n"}, "", "2597"),
    ("container_spec_cpu_shares", "v1", {"cpu.shares": "512\n"}, "", "512"),
    ("container_spec_memory_limit_bytes", "v2", {"memory.max": "max\n"}, "", "0"),
    (
        "container_spec_memory_limit_bytes",
        "v1",
        {"memory.limit_in_bytes": "9223372036854771712\n"},
        "",
        "0",
    ),
    (
        "container_spec_memory_swap_limit_bytes",
        "v1",
        {"memory.limit_in_bytes": "100\n", "memory.memsw.limit_in_bytes": "300\n"},
        "",
        "300",
    ),
    (
        "container_spec_memory_swap_limit_bytes",
        "v2",
        {"memory.max": "100\n", "memory.high": "max\n", "memory.swap.max": "200\n"},
        "",
        "200",
    ),
    (
        "container_spec_memory_reservation_limit_bytes",
        "v1",
        {"memory.soft_limit_in_bytes": "77\n"},
        "",
        "77",
    ),
    ("container_spec_memory_reservation_limit_bytes", "v2", {"memory.min": "77\n"}, "", "77"),
    (
        "container_hugetlb_usage_bytes",
        "v1",
        {"hugetlb.2MB.usage_in_bytes": "4096\n"},
        'pagesize="2MB"',
        "4096",
    ),
    (
        "container_memory_numa_pages",
        "v2",
        {"memory.numa_stat": "anon N0=8192 N1=0\n"},
        'node="0"',
        "2",
    ),
]


@pytest.mark.parametrize(("family", "version", "files", "more", "expected"), THEIRS)
def test_cadvisor(
    tmp_path: Path,
    family: str,
    version: str,
    files: Mapping[str, str],
    more: str,
    expected: str | None,
) -> None:
    """Each of cAdvisor's values is computed as cAdvisor does."""
    assert sample(page(tmp_path, version, files, Names.CADVISOR), family, more) == expected


HUGE = 2**64 - 1
OURS = [
    # 64-bit counters keep all digits.
    ("memory_page_faults", "v2", {"memory.stat": f"pgfault {HUGE}\n"}, str(HUGE)),
    ("io_read_bytes", "v2", {"io.stat": f"254:0 rbytes={HUGE} wbytes=1\n"}, str(HUGE)),
    ("memory_stat_pgrefill", "v2", {"memory.stat": f"pgrefill {2**53 + 1}\n"}, str(2**53 + 1)),
    ("memory_page_faults", "v1", {"memory.stat": f"total_pgfault {HUGE}\n"}, str(HUGE)),
    # One division: /1000/1000 would give 14.036781000000001.
    ("cpu_usage_seconds", "v2", {"cpu.stat": "usage_usec 14036781\n"}, "14.036781"),
    ("cpu_usage_seconds", "v1", {"cpuacct.usage": "14036781000\n"}, "14.036781"),
    ("cpu_throttled_seconds", "v1", {"cpu.stat": "throttled_time 14036781000\n"}, "14.036781"),
    ("pressure_cpu_waiting_seconds", "v2", {"cpu.pressure": PRESSURE}, "1.500001"),
    ("io_cost_wait_seconds", "v2", {"io.stat": "254:0 cost.wait=14036781\n"}, "14.036781"),
    ("frozen_seconds", "v2", {"cgroup.stat.local": "frozen_usec 14036781\n"}, "14.036781"),
    # No limit is +Inf, on v2 "max", on v1 -1 or a number that depends on the page size.
    ("memory_max_bytes", "v2", {"memory.max": "max\n"}, "+Inf"),
    ("cpu_limit_cores", "v2", {"cpu.max": "max 100000\n"}, "+Inf"),
    ("pids_max", "v2", {"pids.max": "max\n"}, "+Inf"),
    ("memory_swap_high_bytes", "v2", {"memory.swap.high": "max\n"}, "+Inf"),
    ("io_limit_reads_per_second", "v2", {"io.max": "254:0 rbps=1 riops=max\n"}, "+Inf"),
    ("max_depth", "v2", {"cgroup.max.depth": "max\n"}, "+Inf"),
    ("hugetlb_max_bytes", "v2", {"hugetlb.2MB.current": "0\n", "hugetlb.2MB.max": "max\n"}, "+Inf"),
    ("misc_max", "v2", {"misc.max": "res_a max\n"}, "+Inf"),
    ("memory_max_bytes", "v1", {"memory.limit_in_bytes": "9223372036854771712\n"}, "+Inf"),
    ("memory_max_bytes", "v1", {"memory.limit_in_bytes": "9223372036854710272\n"}, "+Inf"),
    (
        "cpu_limit_cores",
        "v1",
        {"cpu.cfs_quota_us": "-1\n", "cpu.cfs_period_us": "100000\n"},
        "+Inf",
    ),
    ("cpu_rt_runtime_seconds", "v1", {"cpu.rt_runtime_us": "-1\n"}, "+Inf"),
    (
        "memory_kernel_max_bytes",
        "v1",
        {"memory.kmem.limit_in_bytes": "9223372036854771712\n"},
        "+Inf",
    ),
    # Absent is no sample, and 0 is a measurement.
    ("memory_max_bytes", "v2", {"memory.current": "1\n"}, None),
    ("memory_stat_zswap_bytes", "v2", {"memory.stat": "anon 1\n"}, None),
    ("memory_stat_zswap_bytes", "v2", {"memory.stat": "zswap 0\n"}, "0"),
    ("cpu_bursts", "v2", {"cpu.stat": "usage_usec 1\n"}, None),
    ("cpu_bursts", "v2", {"cpu.stat": "usage_usec 1\nnr_bursts 0\n"}, "0"),
    ("pressure_cpu_stalled_seconds", "v2", {"cpu.pressure": PRESSURE.splitlines()[0] + "\n"}, None),
    ("io_read_bytes", "v2", {"io.stat": ""}, None),
    # Other units and shapes.
    ("cpu_weight_nice", "v2", {"cpu.weight.nice": "-5\n"}, "-5"),
    ("cpu_uclamp_min_ratio", "v2", {"cpu.uclamp.min": "12.34\n"}, "0.1234"),
    ("cpu_uclamp_max_ratio", "v2", {"cpu.uclamp.max": "max\n"}, "1.0"),
    ("cpuset_cpus_requested", "v2", {"cpuset.cpus": "0-3,8\n"}, "5"),
    ("cpuset_cpus_requested", "v2", {"cpuset.cpus": "\n"}, "0"),
    ("cpuset_partition_root", "v2", {"cpuset.cpus.partition": "root invalid (why)\n"}, "0"),
    ("cpuset_partition_isolated", "v2", {"cpuset.cpus.partition": "isolated\n"}, "1"),
    ("cpuset_memory_pressure", "v1", {"cpuset.memory_pressure": "7\n"}, "7"),
    ("cpu_each_usage_seconds", "v1", {"cpuacct.usage_percpu": "1500000000 0 \n"}, "1.5"),
    ("memory_swap_events_fail", "v2", {"memory.swap.events": "high 1\nmax 2\nfail 3\n"}, "3"),
    ("memory_memsw_failures", "v1", {"memory.memsw.failcnt": "4\n"}, "4"),
    ("memory_tcp_current_bytes", "v1", {"memory.kmem.tcp.usage_in_bytes": "4\n"}, "4"),
    ("memory_swappiness", "v1", {"memory.swappiness": "60\n"}, "60"),
    ("memory_under_oom", "v1", {"memory.oom_control": "oom_kill_disable 0\nunder_oom 1\n"}, "1"),
    ("memory_oom_group", "v2", {"memory.oom.group": "1\n"}, "1"),
    (
        "memory_stat_anon_thp_bytes",
        "v1",
        {"memory.stat": "rss_huge 1\ntotal_rss_huge 4096\n"},
        "4096",
    ),
    ("memory_charged_pages", "v1", {"memory.stat": "pgpgin 1\ntotal_pgpgin 5\n"}, "5"),
    ("memory_numa_file_bytes", "v2", {"memory.numa_stat": "file N0=4096\n"}, "4096"),
    (
        "memory_numa_anon_bytes",
        "v1",
        {"memory.numa_stat": "anon=1 N0=1\nhierarchical_anon=2 N0=2\n"},
        "8192",
    ),
    (
        "io_limit_read_bytes_per_second",
        "v1",
        {"blkio.throttle.read_bps_device": "254:0 1048576\n"},
        "1048576",
    ),
    ("io_weight", "v1", {"blkio.bfq.weight": "100\n"}, "100"),
    ("io_weight", "v2", {"io.weight": "default 100\n"}, "100"),
    ("io_latency_target_seconds", "v2", {"io.latency": "254:0 target=75000\n"}, "0.075"),
    ("io_latency_window_seconds", "v2", {"io.stat": "254:0 depth=4 avg_lat=10 win=500\n"}, "0.5"),
    (
        "io_bfq_read_bytes",
        "v1",
        {"blkio.bfq.io_service_bytes_recursive": "254:0 Read 8\nTotal 8\n"},
        "8",
    ),
    ("io_bfq_time_seconds", "v1", {"blkio.bfq.time_recursive": "254:0 1500\n"}, "1.5"),
    (
        "hugetlb_events_max",
        "v2",
        {"hugetlb.2MB.current": "0\n", "hugetlb.2MB.events": "max 3\n"},
        "3",
    ),
    (
        "hugetlb_reserved_failures",
        "v1",
        {"hugetlb.1GB.usage_in_bytes": "0\n", "hugetlb.1GB.rsvd.failcnt": "3\n"},
        "3",
    ),
    ("rdma_objects_max", "v2", {"rdma.max": "mlx4_0 hca_handle=2 hca_object=max\n"}, "+Inf"),
    ("rdma_handles", "v2", {"rdma.current": "mlx4_0 hca_handle=2 hca_object=7\n"}, "2"),
    ("misc_current", "v2", {"misc.current": "res_a 3\n"}, "3"),
    ("misc_events_max", "v2", {"misc.current": "res_a 3\n", "misc.events": "res_a.max 2\n"}, "2"),
    ("memory_events_sock_throttled", "v2", {"memory.events": "sock_throttled 2\n"}, "2"),
    ("pids_events_local_max", "v2", {"pids.events.local": "max 2\n"}, "2"),
    ("threads", "v2", {"cgroup.threads": "12\n13\n14\n"}, "3"),
    ("processes", "v2", {"cgroup.procs": ""}, "0"),
    ("threads", "v1", {"tasks": "12\n13\n"}, "2"),
    ("pressure_enabled", "v2", {"cgroup.pressure": "0\n"}, "0"),
    (
        "controller_dying_states",
        "v2",
        {"cgroup.stat": "nr_descendants 1\nnr_subsys_memory 2\nnr_dying_subsys_memory 9\n"},
        "9",
    ),
    (
        "cpu_force_idle_seconds",
        "v2",
        {"cpu.stat": "usage_usec 1\ncore_sched.force_idle_usec 1500000\n"},
        "1.5",
    ),
]


@pytest.mark.parametrize(("name", "version", "files", "expected"), OURS)
def test_ours(
    tmp_path: Path, name: str, version: str, files: Mapping[str, str], expected: str | None
) -> None:
    """Each of our values says what the kernel says, in base units."""
    text = page(tmp_path, version, files, Names.CGEXPORTER)
    assert sample(text, f"cgexporter_container_{name}") == expected


@pytest.mark.parametrize(
    ("files", "bad"),
    [
        ({"io.max": "254:0 rbps=x\n"}, "io_limit_read_bytes_per_second"),
        ({"io.weight": "some thing\n"}, "io_weight"),
        ({"misc.current": "res_a\n"}, "misc_current"),
        ({"rdma.current": "mlx4_0 hca_handle=-1\n"}, "rdma_handles"),
        ({"memory.numa_stat": "anon N0=x\n"}, "memory_numa_anon_bytes"),
        ({"cpu.uclamp.min": "x\n"}, "cpu_uclamp_min_ratio"),
        ({"cpu.weight.nice": "--1\n"}, "cpu_weight_nice"),
    ],
)
def test_an_odd_file_costs_its_samples_alone(
    tmp_path: Path, files: Mapping[str, str], bad: str
) -> None:
    """A file that has not its format gives no sample, and the others do."""
    text = page(tmp_path, "v2", {**files, "pids.current": "1\n"}, Names.CGEXPORTER)
    assert sample(text, f"cgexporter_container_{bad}") is None
    assert sample(text, "cgexporter_container_pids_current") == "1"
