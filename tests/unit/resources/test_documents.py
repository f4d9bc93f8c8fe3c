"""YAML that is read with bounds: text stays text, and bombs are refused."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgexporter.resources.documents import MAX_BYTES, Node, read
from cgexporter.resources.settings import ExplainError

# JSON writes others as pairs of surrogates, which are no YAML.
_TEXT = st.text(st.characters(max_codepoint=0xD7FF), max_size=6)
_OBJECTS = st.recursive(
    st.none() | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner),
    max_leaves=12,
)


def test_text_stays_text() -> None:
    """What YAML takes for a number, a date or a truth stays as it is written."""
    (found,) = read(b"{a: 1:30, b: 0o17, c: 2024-13-45, d: yes, e: '', f: ~, g: !!int x, h: }")
    expected: Node = {"a": "1:30", "b": "0o17", "c": "2024-13-45", "d": "yes", "e": "", "f": None}
    assert found == {**expected, "g": "x", "h": None}  # type: ignore[dict-item]


def test_aliases_and_merges() -> None:
    """Anchors, aliases and merge keys mean what they mean to kubectl."""
    (found,) = read(b"x: &x {a: 1, b: 2}\ny: {<<: *x, b: 3}\nz: {<<: [*x, {c: 4}]}\nw: *x")
    assert isinstance(found, dict)
    assert found["y"] == {"a": "1", "b": "3"}
    assert found["z"] == {"a": "1", "b": "2", "c": "4"}
    assert found["w"] == {"a": "1", "b": "2"}


@given(_OBJECTS)
def test_json(value: object) -> None:
    """JSON is read as it was written, but for keys that YAML merges."""
    text = json.dumps(value, ensure_ascii=True)
    if '"<<"' not in text:
        assert read(text.encode()) == [value]


def _bomb(line: str, levels: int) -> bytes:
    lines = ["a0: &a0 {x: y}"]
    lines += [f"a{n}: &a{n} " + line.replace("*", f"*a{n - 1}") for n in range(1, levels)]
    return "\n".join(lines).encode()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (_bomb("[*, *, *, *, *, *, *, *, *]", 30), "with aliases written out"),
        (_bomb("{<<: [*, *, *, *, *, *, *, *, *]}", 30), "with aliases written out"),
        (b"[" * 100_000, "nest"),
        (b"{a: " * 100_000, "nest"),
        (b"- " * 1000, "nest"),
        (b"a: &a [*a]", "inside itself"),
        (b"a: *b", "*b is not known"),
        (b"a: 1\na: 2", "line 2: the key 'a' is there twice"),
        (b"{[a]: b}", "a key is no text"),
        (b"? *x\n: y", "not known"),
        (b"a: [", "line "),
        (b"\tx", "line 1"),
        (b"a: \xff", "is not UTF-8 at byte 3"),
        (b"a: \x00", "character"),
        (b"x" * (MAX_BYTES + 1), "more than 4 MiB"),
        (b"- x\n" * 300_000, "more than 200000 values"),
    ],
)  # fmt: skip
def test_refused(data: bytes, why: str) -> None:
    """A bomb or broken YAML is refused at once, in one line that says where."""
    begun = time.process_time()
    with pytest.raises(ExplainError) as refused:
        read(data)
    assert why in str(refused.value)
    assert "\n" not in str(refused.value)
    assert time.process_time() - begun < 20
