"""What a metric is: the type of the table's rows."""

import enum
from typing import NamedTuple

PREFIX = "cgexporter"


class Kind(enum.Enum):
    """Types of the exposition formats."""

    COUNTER = "counter"
    GAUGE = "gauge"
    INFO = "info"


class Level(enum.Enum):
    """What a series is about; it stands in front of a row's name."""

    CONTAINER = "container"
    POD = "pod"
    # Of what is neither: see correlate.tiers.
    NODE = "node"
    SLICE = "slice"
    CGROUP = "cgroup"
    HOLDER = "holder"

    # Enum's own is a function of Python, and each subject of each page asks for it.
    __hash__ = object.__hash__


class Metric(NamedTuple):
    """One row.

    Attributes:
        name: without prefix, level and ``_total``; ends with the unit where there is one.
        unit: base unit, "" for a plain count.
        field: section and field of `model.Cgroup`. A value of None gives no sample.
        v2, v1: kernel file and key; None where that version does not count it.
        since: first kernel that has the v2 file and key.
        collector: the group that ``--no-collector.NAME`` switches off.
        label: the label that tells the elements of a section of many (a device), or "". It is
            the name of the elements' field too.
        levels: for which it may be published.
    """

    name: str
    kind: Kind
    unit: str
    field: str
    v2: str | None
    v1: str | None
    since: str
    help: str
    collector: str
    label: str = ""
    levels: tuple[Level, ...] = tuple(Level)

    @property
    def section(self) -> str:
        """The section of `model.Cgroup` it is read from."""
        return self.field.partition(".")[0]

    @property
    def attribute(self) -> str:
        """The field of that section."""
        return self.field.partition(".")[2]

    def family(self, level: Level) -> str:
        """Name of the family on a level, without ``_total``."""
        return f"{PREFIX}_{level.value}_{self.name}"


COUNTER, GAUGE = Kind.COUNTER, Kind.GAUGE
