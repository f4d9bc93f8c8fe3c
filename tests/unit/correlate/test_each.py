"""A function of each element, called for those that are new."""

from hypothesis import given
from hypothesis import strategies as st

from cgexporter.correlate.each import Each


@given(st.lists(st.lists(st.integers(0, 3), max_size=5), max_size=6))
def test_any_lists(lists: list[list[int]]) -> None:
    """The results are those of the function, called for what is another object at its place."""
    called: list[int] = []

    def double(item: int) -> int:
        called.append(item)
        return 2 * item

    each = Each(double)
    before: list[int] = []
    for items in lists:
        called.clear()
        last = each.of(before)
        called.clear()
        results = each.of(items)
        assert results == [2 * item for item in items]
        same = len(items) == len(before)
        new = [i for i, old in zip(items, before, strict=True) if i != old] if same else items
        assert called == new
        assert last == [2 * item for item in before]  # who has it still sees what it was
        assert (results is last) == (same and not new)
        before = items
    each.forget()
    called.clear()
    each.of(before)
    assert called == before
