"""The kernel's file formats, read strictly."""

import math
from collections.abc import Callable, Mapping, Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cgexporter.parse.formats import (
    FlatKeyed,
    ParseError,
    decimal,
    flat_keyed,
    limit,
    nested_keyed,
    ranges,
    single_limit,
    single_value,
    text_of,
    value_list,
    word_list,
)

Fixture = Callable[[str], bytes]

V2 = "v2-6.1-systemd/sys/fs/cgroup"
D_CPU = f"{V2}/system.slice/docker-8714cc23d00282e75e1f1210381f4a61db12858c635d7dd64f30d314b7c4e6ed"

U64_MAX = 2**64 - 1
NO_NUMBERS = ["", " ", "x", "-1", "+1", " 1", "1 ", "1_000", "0x10", "1.5", "1e3", "max1", "1\n2"]


@given(st.integers(0, U64_MAX))
def test_decimal_keeps_all_digits(value: int) -> None:
    """A 64-bit counter arrives with every digit; a float would lose some above 2**53."""
    assert decimal(str(value)) == value
    assert single_value(f"{value}\n".encode()) == value
    assert flat_keyed(f"key {value}\n".encode()) == {"key": value}


@pytest.mark.parametrize("word", NO_NUMBERS)
def test_decimal_refuses(word: str) -> None:
    """What int() would read although the kernel never prints it is no decimal."""
    with pytest.raises(ParseError):
        decimal(word)


def test_decimal_refuses_other_scripts() -> None:
    """The kernel's digits are ASCII."""
    with pytest.raises(ParseError):
        decimal("٣")


@pytest.mark.parametrize("read", [single_value, single_limit, value_list, ranges, flat_keyed])
def test_endless_number(read: Callable[[bytes], object]) -> None:
    """No number, however long, gets past the parser as another exception."""
    data = b"9" * 5000
    with pytest.raises(ParseError):
        read(b"key " + data if read is flat_keyed else data)


@pytest.mark.parametrize(
    ("data", "value"),
    [(b"0\n", 0), (b"380928\n", 380_928), (b"18446744073709551615\n", U64_MAX), (b"7", 7)],
)
def test_single_value(data: bytes, value: int) -> None:
    """A single value is the whole file, with or without a line end."""
    assert single_value(data) == value
    assert single_limit(data) == value


@pytest.mark.parametrize("data", [b"", b"\n", b"max", b"max\n", b"1\n\n", b"1 2\n", b"-1\n"])
def test_single_value_refuses(data: bytes) -> None:
    """An empty file is no 0, and `max` is no value."""
    with pytest.raises(ParseError):
        single_value(data)


def test_max_is_no_limit() -> None:
    """`max` is infinity, and nothing else is."""
    assert single_limit(b"max\n") == single_limit(b"max") == limit("max") == math.inf
    assert limit("67108864") == 67_108_864
    for data in (b"", b"\n", b"MAX\n", b"max max\n", b"inf\n", b"-1\n"):
        with pytest.raises(ParseError):
            single_limit(data)


def test_a_limit_is_an_integer() -> None:
    """A limit near 2**63 keeps its digits: only `max` becomes a float."""
    assert single_limit(b"9223372036854771711\n") == 9_223_372_036_854_771_711


def test_value_list() -> None:
    """One value a line; none in an empty file."""
    assert value_list(b"1226\n1355\n") == [1226, 1355]
    assert value_list(b"") == []
    for data in (b"1\nx\n", b"1\n\n", b"1 2\n"):
        with pytest.raises(ParseError):
            value_list(data)


def test_word_list(fixture: Fixture) -> None:
    """Controllers stand in one line."""
    assert word_list(fixture(f"{D_CPU}.scope/cgroup.controllers")) == (
        ["cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma", "misc"]
    )
    assert word_list(b"") == word_list(b"\n") == []


@pytest.mark.parametrize(
    ("data", "numbers"),
    [
        (b"0-1\n", {0, 1}),
        (b"0\n", {0}),
        (b"0-3,8\n", {0, 1, 2, 3, 8}),
        (b"1,3,5-6\n", {1, 3, 5, 6}),
        (b"\n", set()),
        (b"", set()),
        (b"8191\n", {8191}),
    ],
)
def test_ranges(data: bytes, numbers: set[int]) -> None:
    """CPUs and nodes are listed as numbers and ranges; an empty list means none."""
    assert ranges(data) == numbers


@pytest.mark.parametrize(
    "data", [b"3-1\n", b"-1\n", b"1-\n", b"a\n", b"0-1-2\n", b"0 1\n", b"0-99999999999\n", b"\xb2"]
)
def test_ranges_refuse(data: bytes) -> None:
    """A range that runs backwards, or over more CPUs than there can be, is refused."""
    with pytest.raises(ParseError):
        ranges(data)


@given(st.sets(st.integers(0, 200)))
def test_ranges_read_what_the_kernel_prints(numbers: set[int]) -> None:
    """Any set, printed as bitmap_print_to_pagebuf does, is read back."""
    parts: list[str] = []
    for number in sorted(numbers):
        if number - 1 not in numbers:
            parts.append(str(number))
        elif number + 1 not in numbers:
            parts[-1] += f"-{number}"
    assert ranges(f"{','.join(parts)}\n".encode()) == numbers


def test_not_ascii() -> None:
    """A file of numbers that is not ASCII is refused with the line at fault."""
    with pytest.raises(ParseError, match=r"line 2: expected ASCII, found b'b \\xff'"):
        text_of(b"a 1\nb \xff\nc 3\n")


@pytest.mark.parametrize(
    "line", ["usage_usec", "usage_usec ", "usage_usec x", "a 1 2", " 1", "a  1", "", "a -1", "a 1 "]
)
def test_flat_keyed_names_the_line(line: str) -> None:
    """A line the format does not allow is refused, never half read, and the message names it."""
    with pytest.raises(ParseError, match="line 2: expected KEY VAL") as caught:
        flat_keyed(f"good 1\n{line}\nsecret 42\n".encode())
    assert "secret" not in str(caught.value)


def test_a_long_line_is_cut() -> None:
    """The message of a refused file stays short, whatever the file holds."""
    with pytest.raises(ParseError) as caught:
        flat_keyed(b"x" * 1_000_000)
    assert len(str(caught.value)) < 200


def test_flat_keyed(fixture: Fixture) -> None:
    """Every key of a file arrives, known or not."""
    assert flat_keyed(fixture(f"{D_CPU}.scope/cpu.stat")) == {
        "usage_usec": 4_580_396,
        "user_usec": 4_445_792,
        "system_usec": 134_604,
        "nr_periods": 225,
        "nr_throttled": 220,
        "throttled_usec": 16_158_440,
        "nr_bursts": 0,
        "burst_usec": 0,
    }
    assert flat_keyed(b"") == {}


# Two wanted keys, keys that are not wanted, keys that look like values.
KEYS = ("wanted", "other", "x", "wanted_too", "5", "18446744073709551615")
WANTED = ("wanted", "wanted_too", "never", "5")
FLAT = st.lists(st.tuples(st.sampled_from(KEYS), st.integers(0, U64_MAX)), max_size=8)
# Pieces of flat keyed files, put together as no kernel does.
SOUP = st.lists(
    st.sampled_from([*KEYS, *" \n\t\r\v\f\x1c\x1f", "1", "22", "x", "-1"]), max_size=16
).map(lambda words: "".join(words).encode())


def strict(data: bytes) -> Sequence[int | None] | None:
    """What the slow parser takes out of a file; None where it refuses it."""
    try:
        values: Mapping[str, int] = flat_keyed(data)
    except ParseError:
        return None
    return tuple(map(values.get, WANTED))


@example([[("5", 1)], [("18446744073709551615", 2)], [("5", 3), ("wanted", 4)]])
@given(st.lists(FLAT, min_size=1, max_size=5))
def test_flat_keyed_learns_no_wrong_place(files: list[list[tuple[str, int]]]) -> None:
    """Keys may come, go, repeat and change places between two readings: each value stays its own.

    The file's layout is learnt, so the readings before must not show in this one.
    """
    take = FlatKeyed(WANTED)
    for pairs in files:
        data = "".join(f"{key} {value}\n" for key, value in pairs).encode()
        assert take(data) == strict(data)


@given(FLAT, st.permutations(range(8)))
def test_flat_keyed_in_any_order(pairs: list[tuple[str, int]], order: list[int]) -> None:
    """The same keys in another order give the same values."""
    unique = list(dict(pairs).items())
    take = FlatKeyed(WANTED)
    for sequence in (range(8), order):
        lines = [f"{unique[n][0]} {unique[n][1]}\n" for n in sequence if n < len(unique)]
        assert take("".join(lines).encode()) == tuple(map(dict(unique).get, WANTED))


@example([b"wanted\tx 1\n"])
@example([b"wanted\t5 1\n"])
@example([b"x\twanted 1\n", b"wanted\x1f2\n"])
@given(st.lists(SOUP, min_size=1, max_size=4))
def test_flat_keyed_on_any_bytes(files: list[bytes]) -> None:
    """Whatever bytes come one after the other: the strict result, or ParseError."""
    take = FlatKeyed(WANTED)
    for data in files:
        expected = strict(data)
        if expected is not None:
            assert take(data) == expected
            continue
        try:
            take(data)
        except ParseError:
            continue


@pytest.mark.parametrize(
    "torn",
    [
        b"a 1\nwanted x\n",
        b"a 1\nwanted\n",
        b"a 1\nwanted \n",
        b"a 1\nwanted -1\n",
        b"a 1\nwan",
        b"a 1\nwanted " + b"9" * 30 + b"\n",
    ],
)
def test_flat_keyed_refuses_after_learning(torn: bytes) -> None:
    """A layout that is known is no reason to believe a value that is no number."""
    take = FlatKeyed(["wanted"])
    assert take(b"a 1\nwanted 2\n") == (2,)
    with pytest.raises(ParseError, match="line 2"):
        take(torn)
    assert take(b"a 1\nwanted 3\n") == (3,)


def test_flat_keyed_forgets_nothing_by_an_error() -> None:
    """After a refused file the next good one is read, in whatever layout."""
    take = FlatKeyed(["wanted"])
    with pytest.raises(ParseError):
        take(b"wanted x\n")
    assert take(b"new 7\nwanted 1\n") == (1,)
    assert take(b"") == (None,)
    assert take(b"wanted 5\n") == (5,)


@pytest.mark.parametrize("odd", [b"\n", b" 5\n"])
def test_flat_keyed_learns_nothing_of_an_empty_file(odd: bytes) -> None:
    """An empty file has no layout, so that a line without a key is refused behind it too."""
    take = FlatKeyed(["wanted"])
    assert take(b"") == (None,)
    with pytest.raises(ParseError):
        take(odd)


def test_flat_keyed_knows_more_layouts_than_it_keeps() -> None:
    """Whatever the number of layouts, each file has its own values."""
    take = FlatKeyed(["wanted", "also"])
    for _ in range(2):
        for number in range(20):
            assert take(b"key%d 0\nalso 7\nwanted %d\n" % (number, number)) == (number, 7)


def test_nested_keyed(fixture: Fixture) -> None:
    """A key's pairs arrive as words; a key without any is there, and empty."""
    nested = nested_keyed(fixture(f"{V2}/io.stat"))
    assert nested["254:16"] == {
        "rbytes": "28410880",
        "wbytes": "165908480",
        "rios": "550",
        "wios": "529",
        "dbytes": "4294971392",
        "dios": "5",
    }
    assert nested["7:7"] == {}
    assert nested_keyed(b"") == {}


def test_nested_keyed_refuses_a_line_without_key() -> None:
    """A line that begins with a blank has no key."""
    with pytest.raises(ParseError, match="line 2: expected KEY SUB_KEY=VAL"):
        nested_keyed(b"8:0 rbytes=1\n rbytes=2\n")


@pytest.mark.parametrize("data", [b"\n", b"8:0 rbytes=1\n\n", b"8:0 rbytes=1\n\t\n", b" \n"])
def test_nested_keyed_refuses_an_empty_line(data: bytes) -> None:
    """An empty line has no key, and is refused as every malformed line is."""
    with pytest.raises(ParseError, match="line"):
        nested_keyed(data)
