"""A bolt database is read while it is written, whatever is in it."""

import contextlib
import struct
from collections.abc import Mapping

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cgexporter.names.bolt import Bucket, fnv, look
from cgexporter.parse.formats import ParseError
from tests.tools.bolt import PAGE, Tree, database, meta

KEYS = st.text("abcdefg", min_size=1, max_size=4)
VALUES = st.binary(max_size=30) | st.integers(1000, 9000).map(lambda size: b"x" * size)
TREES: st.SearchStrategy[Tree] = st.dictionaries(
    KEYS,
    st.recursive(
        st.dictionaries(KEYS, VALUES, max_size=40),
        lambda below: st.dictionaries(KEYS, VALUES | below, max_size=8),
        max_leaves=8,
    ),
    max_size=12,
)
SMALL: Tree = {"v1": {"ns": {"containers": {"web": {"image": "lab:1", "spec": "SECRET"}}}}}


class File:
    """A file, and the buffers that were handed out of it."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.buffers: list[bytearray] = []

    def read(self, offset: int, size: int) -> bytearray:
        """As `pread` does."""
        self.buffers.append(bytearray(self.content[offset : offset + size]))
        return self.buffers[-1]


def everything(bucket: Bucket, tree: Tree) -> None:
    """Check that a bucket has what a tree has, and no bucket more."""
    below = {key for key, value in tree.items() if isinstance(value, Mapping)}
    assert {key for key, _ in bucket.buckets()} == below
    for key, value in tree.items():
        if isinstance(value, Mapping):
            found = bucket.bucket(key.encode())
            assert found is not None
            assert bucket.value(key.encode()) is None
            everything(found, value)
        else:
            got = bucket.value(key.encode())
            assert got is not None
            assert got.hex() == (value.encode() if isinstance(value, str) else value).hex()
            assert bucket.bucket(key.encode()) is None
    for absent in ("", "0", "zzz", "abcabc"):
        assert bucket.value(absent.encode()) is None


@settings(max_examples=60, deadline=None)
@given(TREES, st.sampled_from([0, 100, 4000]))
@example(SMALL, 0)
def test_any_tree(tree: Tree, inline: int) -> None:
    """Keys are found in pages, branches, inline buckets and values over several pages."""
    file = File(database(tree, inline=inline))
    look(file.read, lambda bucket: everything(bucket, tree))


def image(bucket: Bucket) -> str | None:
    """What is asked of SMALL."""
    for key in (b"v1", b"ns", b"containers", b"web"):
        found = bucket.bucket(key)
        if found is None:
            return None
        bucket = found
    return bucket.text(b"image")


def test_nothing_of_a_page_stays() -> None:
    """Pages hold values that nobody asked for: each buffer of one is zeroed."""
    file = File(database(SMALL))
    assert look(file.read, image) == "lab:1"
    assert b"SECRET" in file.content
    assert not any(b"SECRET" in buffer for buffer in file.buffers)

    def fail(bucket: Bucket) -> None:
        image(bucket)
        raise ParseError("of the visitor")

    with pytest.raises(ParseError, match="visitor"):
        look(file.read, fail)
    assert not any(b"SECRET" in buffer for buffer in file.buffers)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_any_damage(data: st.DataObject) -> None:
    """A database that is damaged or was made to harm is refused, or says what it says."""
    content = bytearray(
        database({**SMALL, "big": {f"k{n}": "v" * 400 for n in range(60)}}, inline=0)
    )
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(content) - 8))
        content[at : at + 8] = data.draw(st.binary(min_size=8, max_size=8))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content))) :]
    for number in (0, 1):  # what its owner could have written
        if data.draw(st.booleans()):
            page = meta(number, data.draw(st.integers(0, 40)), data.draw(st.integers(0, 99)), 9)
            content[number * PAGE : (number + 1) * PAGE] = page
    file = File(bytes(content))

    def visit(bucket: Bucket) -> None:
        image(bucket)
        for _, below in bucket.buckets():
            below.texts(frozenset({"k1", "k59"}))

    with contextlib.suppress(ParseError):
        look(file.read, visit)
    assert sum(map(len, file.buffers)) < 128 << 20


def test_a_page_below_itself() -> None:
    """A branch that names itself as its child ends in an error, not in a loop."""
    content = bytearray(database(SMALL, inline=0))
    number = 4
    page = struct.pack("=QHHI", number, 1, 1, 0) + struct.pack("=IIQ", 16, 0, number)
    content[number * PAGE : number * PAGE + len(page)] = page
    content[: 2 * PAGE] = meta(0, number, 9, 1) + meta(1, number, 9, 2)
    for visit in (image, lambda bucket: list(bucket.buckets())):
        with pytest.raises(ParseError, match="too deep"):
            look(File(bytes(content)).read, visit)


def test_written_meanwhile() -> None:
    """What another transaction may have overwritten is read again, to a bound."""
    file = File(database(SMALL, 7))
    new: Tree = {"v1": {"ns": {"containers": {"web": {"image": "lab:2"}}}}}

    def visit(bucket: Bucket) -> str | None:
        if file.content[: 2 * PAGE] == database(SMALL, 7)[: 2 * PAGE]:
            # The pages of this one are given away before any of them was read.
            content = bytearray(database(new, 9))
            file.content = bytes(content[: 2 * PAGE] + b"\xff" * (len(content) - 2 * PAGE))
            with pytest.raises(ParseError):
                image(bucket)
            file.content = bytes(content)
        return image(bucket)

    assert look(file.read, visit) == "lab:2"
    transactions = iter(range(8, 1000))

    def endless(bucket: Bucket) -> str | None:
        file.content = database(SMALL, next(transactions) * 2)
        return image(bucket)

    with pytest.raises(ParseError, match="faster"):
        look(file.read, endless)


@pytest.mark.parametrize("torn", [0, 1])
def test_a_torn_meta_page(torn: int) -> None:
    """Of the two meta pages the one with a right checksum counts."""
    content = bytearray(database(SMALL))
    content[torn * PAGE + 40] ^= 0xFF
    assert look(File(bytes(content)).read, image) == "lab:1"


def test_checksum() -> None:
    """FNV-1a as published: http://www.isthe.com/chongo/tech/comp/fnv."""
    assert fnv(b"") == 0xCBF29CE484222325
    assert fnv(b"foobar") == 0x85944171F73967E8


def test_not_a_database() -> None:
    """A file of another form is refused."""
    for content in (b"", b"SQLite format 3\0", bytes(3 * PAGE)):
        with pytest.raises(ParseError, match="no valid meta page"):
            look(File(content).read, image)
