"""Families of which each sample is made anew for each page: what is not a resource of a cgroup."""

import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from cgexporter.metric import Kind
from cgexporter.publish import SUFFIXES, Format, Pairs, header, labels, line

# The exporter's own are the same in each page.
_labels = functools.lru_cache(1024)(labels)

# Labels, or their text where that is known already, and a value.
Samples = Iterable[tuple[Pairs | str, float | None]]


class Row(Protocol):
    """A row of a table of such families."""

    @property
    def name(self) -> str:
        """What its samples are found by."""

    @property
    def family(self) -> str:
        """Name of the family, without ``_total`` and ``_info``."""

    @property
    def kind(self) -> Kind:
        """Its type."""

    @property
    def unit(self) -> str:
        """Its base unit, or ""."""

    @property
    def help(self) -> str:
        """What it says."""


def families(rows: Iterable[Row], values: Mapping[str, Samples], form: Format) -> Iterator[str]:
    """The text of each family that has a sample.

    Args:
        rows: of the table.
        values: by a row's name, labels and values; None is no sample.
        form: how.
    """
    for row in rows:
        name = row.family + SUFFIXES[row.kind]
        lines = [
            line(pairs if isinstance(pairs, str) else _labels(tuple(pairs)), value)
            for pairs, value in values[row.name]
        ]
        text = "".join(f"{name}{end}" for end in lines if end)
        if text:
            yield header(row.family, row.kind, row.unit, row.help, form) + text
