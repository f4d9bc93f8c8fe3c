"""View → exposition formats: a loop over the metric table, fast.

The parts of a line that stay (name, labels) are kept; the values of a section that did not
change since the last scrape are kept as text. Sources: Prometheus text format 0.0.4,
OpenMetrics 1.0.
"""

import enum
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from cgexporter.correlate.identity import Container, Pod, View
from cgexporter.metrics import METRICS, PREFIX, Kind, Level, Metric
from cgexporter.model import Cgroup


class Format(enum.Enum):
    """Exposition formats, by their exact content types."""

    TEXT = "text/plain; version=0.0.4; charset=utf-8"
    OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


def number(value: float) -> str:
    """A sample's value. Integers keep all digits; an unlimited limit is +Inf."""
    if value == math.inf:
        return "+Inf"
    return repr(value)


_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


def label_value(text: str) -> str:
    """A label's value, escaped; bytes that are not UTF-8 become U+FFFD."""
    clean = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return clean.translate(_ESCAPES)


def labels(pairs: Iterable[tuple[str, str | None]]) -> str:
    """Labels in alphabetical order, without those whose value is absent or empty."""
    present = sorted((name, value) for name, value in pairs if value)
    inner = ",".join(f'{name}="{label_value(value)}"' for name, value in present)
    return f"{{{inner}}}" if inner else ""


def header(name: str, kind: Kind, unit: str, text: str, form: Format) -> str:
    """The lines in front of a family's samples. `name` is without ``_total``, ``_info``."""
    text = text.replace("\\", r"\\").replace("\n", r"\n")
    if form is Format.TEXT:
        name += {Kind.COUNTER: "_total", Kind.INFO: "_info", Kind.GAUGE: ""}[kind]
        word = "gauge" if kind is Kind.INFO else kind.value
        return f"# HELP {name} {text}\n# TYPE {name} {word}\n"
    text = text.replace('"', r"\"")
    units = f"# UNIT {name} {unit}\n" if unit else ""
    return f"# HELP {name} {text}\n# TYPE {name} {kind.value}\n{units}"


Pairs = Sequence[tuple[str, str | None]]


@dataclass(slots=True)
class _Line:
    """What stays the same of one cgroup's samples, and the text of its last values."""

    identity: tuple[object, ...]
    pairs: Pairs
    labels: str
    sections: dict[str, object] = field(default_factory=dict)
    texts: dict[str, list[tuple[str, list[str | None]]]] = field(default_factory=dict)


class _Section:
    """The rows of one section of `model.Cgroup`, rendered together."""

    def __init__(self, name: str, rows: Sequence[Metric]) -> None:
        self.name = name
        self.rows = rows
        self.label = rows[0].label
        # Of one name attrgetter gives no tuple: the last is asked for twice.
        self._values: Callable[[object], tuple[float | None, ...]] = attrgetter(
            *(row.attribute for row in rows), rows[-1].attribute
        )

    def _text(self, section: object) -> list[str | None]:
        return [
            None if value is None else "+Inf" if value == math.inf else repr(value)
            for value in self._values(section)
        ]

    def texts(self, line: _Line, section: object, devices: Mapping[str, str]) -> None:
        """Bring a line's text of this section up to date."""
        line.sections[self.name] = section
        if section is None:
            line.texts[self.name] = []
        elif self.label:
            line.texts[self.name] = [
                (
                    labels(
                        [*line.pairs, (self.label, devices.get(element.device, element.device))]
                    ),
                    self._text(element),
                )
                for element in section  # type: ignore[attr-defined]
            ]
        else:
            line.texts[self.name] = [(line.labels, self._text(section))]


def _sections(rows: Iterable[Metric]) -> list[_Section]:
    by_section: dict[str, list[Metric]] = {}
    for row in rows:
        by_section.setdefault(row.section, []).append(row)
    return [_Section(name, its) for name, its in by_section.items()]


def container_pairs(container: Container) -> Pairs:
    """Labels of each of a container's samples."""
    return (("container", container.name), ("id", container.id))


def pod_pairs(pod: Pod) -> Pairs:
    """Labels of each of a pod's samples."""
    return (("uid", pod.uid),)


def cgroup_pairs(cgroup: Cgroup) -> Pairs:
    """Labels of each of a cgroup's samples."""
    return (("cgroup", cgroup.path),)


def container_info(container: Container) -> Pairs:
    """What is said once of a container."""
    place = container.place
    full = place.container_id
    return (
        *container_pairs(container),
        ("cgroup", container.cgroup.path),
        ("container_id", f"{place.runtime}://{full}" if full and place.runtime else full),
        ("driver", place.driver),
        ("parent_cgroup", place.parent_path),
        ("pod_uid", place.pod_uid),
        ("qos_class", place.qos_class),
        ("runtime", place.runtime),
    )


def pod_info(pod: Pod) -> Pairs:
    """What is said once of a pod."""
    return (
        *pod_pairs(pod),
        ("cgroup", pod.cgroup.path),
        ("driver", pod.place.driver),
        ("parent_cgroup", pod.place.parent_path),
        ("qos_class", pod.place.qos_class),
    )


INFOS = (
    (Level.CONTAINER, "A container: its full ID, runtime, cgroup, pod and QoS class."),
    (Level.POD, "A pod: its cgroup and QoS class."),
)


class Publisher:
    """Renders views; keeps text from one to the next.

    Args:
        rows: the metrics to publish.
        levels: the levels to publish them for.
    """

    def __init__(
        self, rows: Sequence[Metric] = METRICS, levels: Sequence[Level] = tuple(Level)
    ) -> None:
        self._levels = levels
        self._sections = _sections(rows)
        self._lines: dict[str, _Line] = {}
        self._devices: Mapping[str, str] = {}

    def render(self, view: View, form: Format) -> str:
        """Render all families of the table and the info families, without ``# EOF``."""
        if self._devices != view.snapshot.devices:
            self._devices = view.snapshot.devices
            self._lines = {}  # device names are in them
        lines: dict[str, _Line] = {}
        by_level: dict[Level, list[tuple[_Line, Cgroup]]] = {level: [] for level in Level}
        for level, cgroup, pairs in _subjects(view):
            identity = (cgroup.inode, *pairs)
            line = self._lines.get(cgroup.path)
            if line is None or line.identity != identity:
                line = _Line(identity, pairs, labels(pairs))
            lines[cgroup.path] = line
            by_level[level].append((line, cgroup))
        self._lines = lines
        parts: list[str] = []
        for level in self._levels:
            for section in self._sections:
                parts.extend(self._families(level, section, by_level[level], form))
        parts.extend(self._infos(view, form))
        return "".join(parts)

    def _families(
        self,
        level: Level,
        section: _Section,
        subjects: Sequence[tuple[_Line, Cgroup]],
        form: Format,
    ) -> Iterator[str]:
        name = section.name
        columns: list[tuple[str, list[str | None]]] = []
        for line, cgroup in subjects:
            current = getattr(cgroup, name)
            if name not in line.sections or line.sections[name] is not current:
                section.texts(line, current, self._devices)
            columns.extend(line.texts[name])
        for index, row in enumerate(section.rows):
            family = row.family(level)
            sample = family + "_total" if row.kind is Kind.COUNTER else family
            samples = [
                f"{sample}{labelled} {values[index]}\n"
                for labelled, values in columns
                if values[index] is not None
            ]
            if samples:
                yield header(family, row.kind, row.unit, row.help, form)
                yield "".join(samples)

    def _infos(self, view: View, form: Format) -> Iterator[str]:
        for level, text in INFOS:
            if level not in self._levels:
                continue
            pairs = (
                [container_info(container) for container in view.containers]
                if level is Level.CONTAINER
                else [pod_info(pod) for pod in view.pods]
            )
            if pairs:
                family = f"{PREFIX}_{level.value}"
                yield header(family, Kind.INFO, "", text, form)
                yield "".join(f"{family}_info{labels(each)} 1\n" for each in pairs)


def _subjects(view: View) -> Iterator[tuple[Level, Cgroup, Pairs]]:
    for container in view.containers:
        yield Level.CONTAINER, container.cgroup, container_pairs(container)
    for pod in view.pods:
        yield Level.POD, pod.cgroup, pod_pairs(pod)
    for cgroup in view.cgroups:
        yield Level.CGROUP, cgroup, cgroup_pairs(cgroup)
