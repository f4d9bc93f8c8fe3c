"""Conversions between what runtimes are asked, cgroup v1 and cgroup v2, both ways.

Sources: opencontainers/cgroups utils.go (ConvertCPUSharesToCgroupV2Value,
ConvertBlkIOToIOWeightValue, ConvertMemorySwapToCgroupV2Value), crun cgroup-internal.h,
kubernetes pkg/kubelet/cm/helpers_linux.go and cgroup_manager_linux.go.
"""

import math

# What the kernel takes: kernel/sched/sched.h MIN_SHARES and MAX_SHARES.
MIN_SHARES, MAX_SHARES = 2, 262_144
MIN_WEIGHT, MAX_WEIGHT = 1, 10_000
DEFAULT_SHARES, DEFAULT_WEIGHT = 1024, 100
# Microseconds: what Docker and the kubelet take for cpu.max unless told otherwise, and the least
# quota they ask for.
PERIOD_USEC = 100_000
MIN_QUOTA_USEC = 1000
NANO = 10**9

_SYSTEMD_STEP_USEC = 10_000
# Who converts shares how, for people.
LINEAR_BY = "runc < 1.3.2, crun < 1.23"
QUADRATIC_BY = "runc >= 1.3.2, crun >= 1.23"
CGROUPFS = "driver cgroupfs"
# Who writes quotas in steps of 10 ms a second, as systemd keeps them: opencontainers/cgroups since
# 0.0.2 ("systemd: Write rounded CPU quota to cgroupfs").
ROUNDED_BY = "driver systemd, runc >= 1.3.2"
EXACT_BY = "driver cgroupfs, runc < 1.3.2 or crun"
KUBELET_ROUNDED_BY = "driver systemd, Kubernetes >= 1.35"
KUBELET_EXACT_BY = "driver cgroupfs or Kubernetes < 1.35"


def weight_linear(shares: int) -> int:
    """``cpu.weight`` from ``cpu.shares`` as it was done first: ends meet, the defaults do not.

    1024 shares, the default of v1, become 39, less than half of v2's default of 100. The kubelet
    does so for the cgroups of pods and QoS tiers (getCPUWeight; still so in 1.35).
    """
    if shares >= MAX_SHARES:
        return MAX_WEIGHT
    return 1 + (max(shares, MIN_SHARES) - MIN_SHARES) * (MAX_WEIGHT - 1) // (
        MAX_SHARES - MIN_SHARES
    )


def weight_quadratic(shares: int) -> int:
    """``cpu.weight`` from ``cpu.shares`` so that least, greatest and default meet.

    runc since 1.3.2 (and 1.4.0-rc.2), by opencontainers/cgroups 0.0.4; crun since 1.23.
    """
    if shares <= MIN_SHARES:
        return MIN_WEIGHT
    if shares >= MAX_SHARES:
        return MAX_WEIGHT
    log = math.log2(shares)
    return math.ceil(10 ** ((log * log + 125 * log) / 612 - 7 / 34))


def shares_linear(weight: int) -> int:
    """``cpu.shares`` from ``cpu.weight``, as the kubelet reads it back (cpuWeightToCPUShares)."""
    return (weight - 1) * (MAX_SHARES - MIN_SHARES) // (MAX_WEIGHT - 1) + MIN_SHARES


def shares_quadratic(weight: int) -> int:
    """The fewest ``cpu.shares`` that `weight_quadratic` makes this ``cpu.weight`` of."""
    low, high = MIN_SHARES, MAX_SHARES
    while low < high:
        middle = (low + high) // 2
        if weight_quadratic(middle) < weight:
            low = middle + 1
        else:
            high = middle
    return low


def milli_to_shares(millicores: int) -> int:
    """``cpu.shares`` of a CPU request (MilliCPUToShares)."""
    return min(max(millicores * DEFAULT_SHARES // 1000, MIN_SHARES), MAX_SHARES)


def shares_to_milli(shares: int) -> int:
    """The least CPU request, in thousandths of a core, that becomes these shares; 0 for 2."""
    return 0 if shares <= MIN_SHARES else -(-shares * 1000 // DEFAULT_SHARES)


def milli_to_quota(millicores: int, period_usec: int = PERIOD_USEC) -> int:
    """The quota of a CPU limit (MilliCPUToQuota), in microseconds a period; 0 for no limit."""
    if not millicores:
        return 0
    return max(millicores * period_usec // 1000, MIN_QUOTA_USEC)


def quota_by_systemd(quota_usec: int, period_usec: int = PERIOD_USEC) -> int:
    """A quota as the systemd driver rounds it: up to the next 10 ms a second (addCPUQuota)."""
    per_second = quota_usec * 1_000_000 // period_usec
    if per_second % _SYSTEMD_STEP_USEC == 0:
        return quota_usec
    return -(-per_second // _SYSTEMD_STEP_USEC) * _SYSTEMD_STEP_USEC * period_usec // 1_000_000


def nano_to_quota(nanocores: int) -> int:
    """The quota of Docker's ``--cpus`` (getCPUResources), in microseconds a period."""
    return nanocores * PERIOD_USEC // NANO


def cores(quota_usec: float, period_usec: int) -> float:
    """The cores that a quota and period are."""
    return quota_usec / period_usec


def io_weight(blkio_weight: int) -> int:
    """``io.weight`` (1 to 10000) from v1's blkio weight (10 to 1000); 0 is "not set"."""
    return 0 if not blkio_weight else 1 + (blkio_weight - 10) * 9999 // 990


def blkio_weight(weight: int) -> int:
    """The least blkio weight that becomes this ``io.weight``."""
    return 10 + -(-(weight - 1) * 990 // 9999)


def swap_max(memory_and_swap: float, memory: float) -> float:
    """v2's limit of swap from v1's of memory and swap together."""
    return memory_and_swap if memory_and_swap == math.inf else memory_and_swap - memory


def memory_and_swap(swap: float, memory: float) -> float:
    """v1's limit of memory and swap together from v2's of swap."""
    return swap + memory


def pages(size: int, page: int = 4096) -> int:
    """Bytes as the kernel enforces them: whole pages, rounded down (page_counter_memparse)."""
    return size // page * page
