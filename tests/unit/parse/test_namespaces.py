"""Parsers of procfs files about namespaces."""

import pytest

from cgexporter.parse.formats import ParseError
from cgexporter.parse.namespaces import (
    Birth,
    CgroupLine,
    IdRange,
    NamespaceMount,
    outside_id,
    parse_birth,
    parse_cgroup_lines,
    parse_id_map,
    parse_namespace_mounts,
)

_STAT = b" S 1 7 7 0 -1 %d 1 0 0 0 0 0 0 0 20 0 1 0 4711 8192 100 18446744073709551615 1 1"


def test_birth() -> None:
    """A command's name may hold anything, parentheses too."""
    assert parse_birth(b"7 (a) S 1) (b)" + _STAT % 4194560) == Birth("a) S 1) (b", 4711)
    assert parse_birth(b"2 (kthreadd)" + _STAT % 2129984) == Birth("kthreadd", 4711, True)


@pytest.mark.parametrize("data", [b"", b"7 (sh) S", b"7 sh" + _STAT % 0])
def test_malformed_birth(data: bytes) -> None:
    """A line without its fields is refused."""
    with pytest.raises(ParseError):
        parse_birth(data)


def test_cgroup_lines() -> None:
    """Controllers and path; a path may hold colons, the unified hierarchy has no controllers."""
    data = b"4:memory:/a:b\n2:cpu,cpuacct:/../..\n1:name=systemd:/\n0::/../x\n"
    assert parse_cgroup_lines(data) == [
        CgroupLine(frozenset({"memory"}), "/a:b"),
        CgroupLine(frozenset({"cpu", "cpuacct"}), "/../.."),
        CgroupLine(frozenset({"name=systemd"}), "/"),
        CgroupLine(frozenset(), "/../x"),
    ]


@pytest.mark.parametrize("data", [b"x::/\n", b"0:/\n", b"0\n"])
def test_malformed_cgroup_lines(data: bytes) -> None:
    """A line of another form is refused."""
    with pytest.raises(ParseError):
        parse_cgroup_lines(data)


def test_id_map() -> None:
    """Root is who its range says, or nobody."""
    mapped = parse_id_map(b"         0     100000      65536\n     70000          5          1\n")
    assert mapped == (IdRange(0, 100_000, 65_536), IdRange(70_000, 5, 1))
    assert [outside_id(mapped, i) for i in (0, 65_535, 65_536, 70_000)] == [
        100_000,
        165_535,
        None,
        5,
    ]
    assert outside_id(parse_id_map(b""), 0) is None


def test_malformed_id_map() -> None:
    """A line of two numbers is refused."""
    with pytest.raises(ParseError):
        parse_id_map(b"0 0\n")


def test_namespace_mounts() -> None:
    """Bind mounts of namespaces are found among others; blanks in paths are octal."""
    data = (
        b"22 27 0:21 / /proc rw - proc proc rw\n"
        b"90 27 0:4 net:[4026532542] /run/netns/a\\040b rw shared:5 - nsfs nsfs rw\n"
        b"91 27 0:4 mnt:[4026532543] /run/x rw - nsfs nsfs rw\n"
    )
    assert parse_namespace_mounts(data) == [
        NamespaceMount("net", 4_026_532_542, "/run/netns/a b"),
        NamespaceMount("mnt", 4_026_532_543, "/run/x"),
    ]
