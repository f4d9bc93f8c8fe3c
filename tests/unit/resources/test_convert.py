"""Conversions between shares and weight, cores and quota, and v1's and v2's limits."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgexporter.resources import convert

SHARES = st.integers(convert.MIN_SHARES, convert.MAX_SHARES)
WEIGHT = st.integers(convert.MIN_WEIGHT, convert.MAX_WEIGHT)


@pytest.mark.parametrize(
    ("shares", "linear", "quadratic"),
    [
        # opencontainers/cgroups TestConvertCPUSharesToCgroupV2Value, and its code run in Go
        (2, 1, 1),
        (100, 4, 17),
        (500, 19, 58),
        (1024, 39, 100),
        (2000, 77, 170),
        (4096, 157, 303),
        (100_000, 3815, 4340),
        (262_144, 10_000, 10_000),
        (0, 1, 1),
        (300_000, 10_000, 10_000),
    ],
)
def test_known_weights(shares: int, linear: int, quadratic: int) -> None:
    """Both conversions give what runc and crun give."""
    assert convert.weight_linear(shares) == linear
    assert convert.weight_quadratic(shares) == quadratic


@given(SHARES)
def test_weights_are_what_the_kernel_takes(shares: int) -> None:
    """No conversion leaves v2's range, and more shares are no less weight."""
    for weight in (convert.weight_linear, convert.weight_quadratic):
        assert convert.MIN_WEIGHT <= weight(shares) <= convert.MAX_WEIGHT
        assert weight(shares) >= weight(max(convert.MIN_SHARES, shares - 1))


@given(WEIGHT)
def test_there_and_back(weight: int) -> None:
    """A weight read back as shares becomes the same weight, or the next below it that exists."""
    assert convert.weight_linear(convert.shares_linear(weight)) in (weight, weight - 1)
    assert convert.weight_quadratic(convert.shares_quadratic(weight)) >= weight
    few = convert.shares_quadratic(weight)
    assert few == convert.MIN_SHARES or convert.weight_quadratic(few - 1) < weight


@given(st.integers(0, 256_000))
def test_requests_there_and_back(millicores: int) -> None:
    """The request that is read from shares is the least that becomes them."""
    shares = convert.milli_to_shares(millicores)
    least = convert.shares_to_milli(shares)
    assert least <= millicores
    assert convert.milli_to_shares(least) == shares


@pytest.mark.parametrize(
    ("millicores", "quota"), [(0, 0), (1, 1000), (10, 1000), (11, 1100), (1500, 150_000)]
)
def test_quota_of_a_limit(millicores: int, quota: int) -> None:
    """A limit is a share of 100 ms, never less than 1 ms."""
    assert convert.milli_to_quota(millicores) == quota


@pytest.mark.parametrize(
    ("quota", "period", "rounded"),
    [
        (123_456, 100_000, 124_000),  # runc's issue 4622
        (12_300, 100_000, 13_000),  # a kubelet 1.35 made this of a pod's 123m
        (13_000, 100_000, 13_000),
        (1_000, 100_000, 1_000),
        (5_001, 10_000, 5_100),
        (1_000, 1_000_000, 10_000),
    ],
)
def test_quota_by_systemd(quota: int, period: int, rounded: int) -> None:
    """In systemd quotas are hundredths of a CPU; its driver rounds up to them."""
    assert convert.quota_by_systemd(quota, period) == rounded


@given(st.integers(1_000, 10_000_000), st.integers(1_000, 1_000_000))
def test_systemd_takes_nothing_away(quota: int, period: int) -> None:
    """A rounded quota is no less than what was asked, and less than 10 ms a second more."""
    rounded = convert.quota_by_systemd(quota, period)
    assert quota <= rounded <= quota + period // 100


@given(st.integers(10, 1000))
def test_io_weights(weight: int) -> None:
    """A block I/O weight read back is the one that was set."""
    assert 1 <= convert.io_weight(weight) <= 10_000
    assert convert.blkio_weight(convert.io_weight(weight)) == weight


def test_swap() -> None:
    """v1 limits memory and swap together, v2 swap alone."""
    assert convert.swap_max(3, 1) == 2
    assert convert.memory_and_swap(2, 1) == 3
    assert convert.swap_max(math.inf, 1) == math.inf
    assert convert.pages(8191) == 4096
