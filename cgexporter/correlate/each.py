"""A function of each element of a list, called again for those that are other objects."""

from collections.abc import Callable, Sequence
from itertools import compress, count
from operator import is_not
from typing import Generic, TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Each(Generic[_Item, _Result]):
    """Results for lists of which most elements are the same objects, at the same places, as before.

    Args:
        function: gives the same for the same object, until `forget`.
    """

    def __init__(self, function: Callable[[_Item], _Result]) -> None:
        self._function = function
        self._items: Sequence[_Item] = ()
        self._results: list[_Result] = []

    def of(self, items: Sequence[_Item]) -> list[_Result]:
        """The result for each; the same list as before where all are the same."""
        if len(items) != len(self._items):
            self._results = [self._function(item) for item in items]
        elif places := list(compress(count(), map(is_not, items, self._items))):
            self._results = self._results.copy()
            for place in places:
                self._results[place] = self._function(items[place])
        self._items = items
        return self._results

    def forget(self) -> None:
        """Call the function for each of the next list."""
        self._items, self._results = (), []
