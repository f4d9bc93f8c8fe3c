"""Named values out of JSON, and nothing else."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgexporter.names.pick import STRINGS, VALUE, Each, Pairs, Shape, pick
from cgexporter.parse.formats import ParseError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=30,
)


@given(JSON, JSON, st.text(), st.booleans())
def test_any_document(before: object, after: object, value: str, indented: bool) -> None:
    """Whatever stands around it, the named value is found."""
    document = {"a": before, "wanted": {"b": after, "name": value}, "z": after}
    written = json.dumps(document, indent=2 if indented else None)
    shape = {"wanted": {"name": VALUE}}
    assert pick(bytearray(written.encode()), shape) == {"wanted": {"name": value}}


@given(st.binary())
def test_any_bytes(data: bytes) -> None:
    """What is no JSON is refused as such, and takes no longer than its length."""
    try:
        pick(bytearray(data), {"a": Each({"b": VALUE}), "c": Pairs(frozenset({"d"}))})
    except ParseError as exc:
        assert str(exc).startswith("not JSON at byte ")  # noqa: PT017 - other errors must escape


def test_each_kind_of_shape() -> None:
    """Objects, lists of objects, pairs in both spellings, and lists of strings."""
    document = {
        "id": "x",
        "number": 3,
        "labels": ["a=1", "b=2=3", "secret=4", "no pair", 5],
        "annotations": {"a": "1", "secret": "2"},
        "names": ["n", "m"],
        "paths": {"": "/p"},
        "items": [{"k": 1, "l": 2}, {"k": None}, 7],
        "env": ["secret=4"],
    }
    shape: Shape = {
        "id": VALUE,
        "number": VALUE,
        "labels": Pairs(frozenset({"a", "b"})),
        "annotations": Pairs(frozenset({"a"})),
        "names": STRINGS,
        "paths": STRINGS,
        "items": Each({"k": VALUE}),
        "absent": VALUE,
    }
    assert pick(bytearray(json.dumps(document).encode()), shape) == {
        "id": "x",
        "number": 3,
        "labels": {"a": "1", "b": "2=3"},
        "annotations": {"a": "1"},
        "names": ["n", "m"],
        "paths": {"": "/p"},
        "items": [{"k": 1}, {"k": None}, None],
    }


@pytest.mark.parametrize(
    "document", [b'{"a": {"b": 1}}', b'{"a": [1]}', b'{"a": null}', b"[]", b"3", b'"a"']
)
def test_other_types_are_none(document: bytes) -> None:
    """A value of another type than asked for is left out."""
    picked = pick(bytearray(document), {"a": VALUE})
    assert picked in ({"a": None}, None)


@pytest.mark.parametrize(
    "document",
    [b"", b"{", b'{"a"', b'{"a":', b'{"a":1', b'{"a" 1}', b"{} {}", b'{"a":"b', b"{1:2}"],
)
def test_torn_documents(document: bytes) -> None:
    """A file that is being written is refused, not half read."""
    with pytest.raises(ParseError):
        pick(bytearray(document), {"a": VALUE})


def test_bytes_that_are_not_utf8() -> None:
    """They become surrogates, as in paths, and U+FFFD where they are published."""
    assert pick(bytearray(b'{"a": "\xff"}'), {"a": VALUE}) == {"a": "\udcff"}
