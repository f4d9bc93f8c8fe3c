"""Families whose samples are made anew, against prometheus-client's encoder."""

import math
from collections.abc import Iterator, Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from cgexporter.families import Row, families
from cgexporter.metrics import NAMESPACES, OWN, PROCESS, Own
from cgexporter.publish import Format, Pairs
from tests.tools.lines import normalised
from tests.tools.promql import SUFFIX

TABLE: tuple[Row, ...] = (*OWN, *PROCESS, *NAMESPACES)
# What else a name may hold is in test_publish.
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufffd"), max_size=8)
VALUES = st.none() | st.integers(0, 2**60) | st.floats(0, math.inf)
# Labels and values.
_Samples = Sequence[tuple[Pairs, float | None]]


@st.composite
def values(draw: st.DrawFn) -> dict[str, _Samples]:
    """Samples for each row, no two with the same labels."""
    found: dict[str, _Samples] = {}
    for row in TABLE:
        names = row.labels if isinstance(row, Own) else ()
        labels = st.tuples(*(TEXTS for _ in names))
        samples = draw(st.dictionaries(labels, VALUES, max_size=2))
        found[row.name] = [
            (tuple(zip(names, texts, strict=True)), value) for texts, value in samples.items()
        ]
    return found


class Reference(Collector):
    """The same families, as a user of prometheus-client would write them."""

    def __init__(self, values: Mapping[str, _Samples]) -> None:
        self._values = values

    def collect(self) -> Iterator[Metric]:
        """The families that have samples."""
        for row in TABLE:
            family = Metric(row.family, row.help, row.kind.value, row.unit)
            for pairs, value in self._values[row.name]:
                if value is not None:
                    labels = {name: text for name, text in pairs if text}
                    family.add_sample(row.family + SUFFIX[row.kind], labels, value)
            if family.samples:
                yield family


@pytest.mark.parametrize("form", Format)
@given(values=values())
def test_same_as_prometheus_client(form: Format, values: Mapping[str, _Samples]) -> None:
    """Line by line the text is what prometheus-client makes of the same families."""
    registry = CollectorRegistry()
    registry.register(Reference(values))
    encode = openmetrics.generate_latest if form is Format.OPENMETRICS else generate_latest
    text: str = encode(registry).decode()
    ours = "".join(families(TABLE, values, form))
    assert normalised(ours) == normalised(text.removesuffix("# EOF\n"))
