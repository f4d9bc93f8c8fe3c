"""View → exposition formats: a loop over the metric table, fast.

What follows a sample's name (labels, value, line end) is kept as text while the section it
is from does not change, so that a family is one `str.join` with its name between, and a family
of which no text changed is the same bytes as in the last page. Sources: Prometheus text format
0.0.4, OpenMetrics 1.0.
"""

import enum
import functools
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import compress, repeat
from operator import attrgetter, is_not, itemgetter, ne
from typing import Any

from cgexporter.correlate.each import Each
from cgexporter.correlate.facts import Facts, label_name
from cgexporter.correlate.tiers import Tier
from cgexporter.correlate.view import Container, Pod, View
from cgexporter.metric import PREFIX, Kind, Level, Metric
from cgexporter.metrics import DECLARED, METRICS
from cgexporter.model import Cgroup
from cgexporter.model.effective import Effective


class Format(enum.Enum):
    """Exposition formats, by their exact content types."""

    TEXT = "text/plain; version=0.0.4; charset=utf-8"
    OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


# What a sample's name has behind its family's.
SUFFIXES = {Kind.COUNTER: "_total", Kind.INFO: "_info", Kind.GAUGE: ""}

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


_ODD = re.compile("[\N{REPLACEMENT CHARACTER}\ud800-\udfff]")
_NOT_PLAIN = re.compile('[\\\\"\n\N{REPLACEMENT CHARACTER}\ud800-\udfff]')


def label_value(text: str) -> str:
    """A label's value, escaped.

    A byte that is not UTF-8 becomes U+FFFD and its two hexadecimal digits, and so does each
    byte of U+FFFD itself: names that differ stay different, and no series is there twice.
    """
    if not _NOT_PLAIN.search(text):  # nearly always
        return text
    text = _ODD.sub(
        lambda odd: "".join(
            f"\N{REPLACEMENT CHARACTER}{byte:02X}"
            for byte in odd[0].encode("utf-8", "surrogateescape")
        ),
        text,
    )
    return text.translate(_ESCAPES)


def labels(pairs: Iterable[tuple[str, str | None]]) -> str:
    """Labels in alphabetical order, without those whose value is absent or empty."""
    present = sorted((name, value) for name, value in pairs if value)
    inner = ",".join(f'{name}="{label_value(value)}"' for name, value in present)
    return f"{{{inner}}}" if inner else ""


@functools.cache
def header(name: str, kind: Kind, unit: str, text: str, form: Format) -> str:
    """The lines in front of a family's samples. `name` is without ``_total``, ``_info``."""
    text = text.replace("\\", r"\\").replace("\n", r"\n")
    if form is Format.TEXT:
        name += SUFFIXES[kind]
        word = "gauge" if kind is Kind.INFO else kind.value
        return f"# HELP {name} {text}\n# TYPE {name} {word}\n"
    text = text.replace('"', r"\"")
    units = f"# UNIT {name} {unit}\n" if unit else ""
    return f"# HELP {name} {text}\n# TYPE {name} {kind.value}\n{units}"


Pairs = Sequence[tuple[str, str | None]]


# What follows the name in a sample's line, for each row of a section; "" where absent.
_Texts = Sequence[str]


class _Subject:
    """What is kept of one container, pod or cgroup between pages.

    Attributes:
        path: of its cgroup.
        names: what its labels are made of.
        labels: those of each of its samples, as text.
        info: what follows the name in the sample of its info family.
        setters: the same of what sets its limits.
        cgroup: as it was rendered last.
        sections: of that cgroup, what there is of each section of its level.
        texts: of the sections without a label of their own, one behind the other; "" where there is
            no value.
        elements: of the others, by section: the texts of each element.
    """

    __slots__ = (
        *("cgroup", "elements", "info", "labels", "names", "pairs", "path", "sections"),
        *("setters", "texts"),
    )

    def __init__(self, path: str, names: object, pairs: Pairs, info: Pairs) -> None:
        self.path = path
        self.names = names
        self.pairs = pairs
        self.labels = labels(pairs)
        self.info = f"{labels((*pairs, *info))} 1\n" if info else ""
        self.cgroup: Cgroup | None = None
        self.sections: Sequence[Any] = ()
        self.texts: list[str] = []
        self.elements: dict[str, Sequence[_Texts]] = {}
        self.setters = ""


class _Section:
    """The rows of one section of `model.Cgroup`, rendered together.

    Args:
        name: of the section.
        rows: of the metric table.
        start: where its texts begin in those of a subject.
    """

    def __init__(self, name: str, rows: Sequence[Metric], start: int) -> None:
        self.name = name
        self.rows = rows
        self.labelled = bool(rows[0].label)
        self._label = rows[0].label
        self._place = slice(start, start + len(rows))
        self._places = range(start, start + len(rows))
        self.everything = set(self._places)
        # For each row its text out of those of a subject.
        self._picks = [itemgetter(place) for place in self._places]
        self._fields: Sequence[int] = ()
        # By field its index, and the places of the texts that show it.
        self._shown: Sequence[tuple[int, Sequence[int]]] = ()

    def _learn(self, element: Any) -> None:
        """Find out which field each row shows: an attribute is looked up by its name."""
        self._fields = [element._fields.index(row.attribute) for row in self.rows]
        places: list[list[int]] = [[] for _ in element]
        for place, index in zip(self._places, self._fields, strict=True):
            places[index].append(place)
        self._shown = tuple(enumerate(places))

    def update(self, subject: _Subject, then: Any, now: Any, changed: set[int]) -> None:
        """Bring a subject's texts of this section up to date.

        Args:
            subject: whose texts to change.
            then: the section that they were made of; None: they are empty.
            now: as it is now; None where the host has none.
            changed: gets the places of texts that may be new.
        """
        texts = subject.texts
        if now is None:
            texts[self._place] = [""] * len(self.rows)
            changed |= self.everything
            return
        if not self._fields:
            self._learn(now)
        # Of many values few change: what did not keeps its text.
        differ = repeat(True) if then is None else map(ne, now, then)
        for index, shown_at in compress(self._shown, differ):
            for place in shown_at:
                texts[place] = line(subject.labels, now[index])
                changed.add(place)

    def update_elements(
        self, subject: _Subject, section: object, devices: Mapping[str, str]
    ) -> None:
        """Make a subject's texts of a section of many elements anew."""
        subject.elements[self.name] = [
            self._texts(
                labels([*subject.pairs, (self._label, _label_of(element, self._label, devices))]),
                element,
            )
            for element in section or ()  # type: ignore[attr-defined]
        ]

    def columns(
        self, subjects: Sequence[_Subject], changed: AbstractSet[int]
    ) -> Iterator[tuple[str, ...] | None]:
        """By row, the texts of all subjects; none at all where nobody has an element.

        None stands for those that are not `changed`.
        """
        if self.labelled:
            elements = (
                element for each in subjects for element in each.elements.get(self.name, ())
            )
            return zip(*elements, strict=True)
        texts = [subject.texts for subject in subjects]
        return (
            tuple(map(pick, texts)) if place in changed else None
            for place, pick in zip(self._places, self._picks, strict=True)
        )

    def _texts(self, labelled: str, element: Any) -> list[str]:
        if not self._fields:
            self._learn(element)
        return [line(labelled, element[index]) for index in self._fields]


def line(labelled: str, value: float | None) -> str:
    """A sample's line behind its name."""
    if value is None:
        return ""
    return f"{labelled} {value!r}\n" if value != math.inf else f"{labelled} +Inf\n"


def _label_of(element: object, label: str, devices: Mapping[str, str]) -> str:
    value: str = getattr(element, label)
    return devices.get(value, value) if label == "device" else value


def _sections(rows: Iterable[Metric], level: Level) -> list[_Section]:
    by_section: dict[str, list[Metric]] = {}
    for row in rows:
        if level in row.levels:
            by_section.setdefault(row.section, []).append(row)
    sections = []
    start = 0
    for name, its in by_section.items():
        sections.append(_Section(name, its, start))
        start += 0 if sections[-1].labelled else len(its)
    return sections


class _Rows:
    """What a level publishes.

    Attributes:
        sections: in the order of the table.
        sections_of: of a cgroup each of them and its effective limits; and one more, for a tuple.
        width: how many texts a subject has.
    """

    def __init__(self, rows: Iterable[Metric], level: Level) -> None:
        self.sections = _sections(rows, level)
        self.sections_of = attrgetter(*(each.name for each in self.sections), "effective", "path")
        self.width = sum(len(each.rows) for each in self.sections if not each.labelled)


def container_pairs(container: Container) -> Pairs:
    """Labels of each of a container's samples."""
    facts = container.facts
    return (
        ("namespace", facts.namespace),
        ("pod", facts.pod),
        ("container", container.name),
        ("id", container.id),
    )


def pod_pairs(pod: Pod) -> Pairs:
    """Labels of each of a pod's samples."""
    return (("namespace", pod.facts.namespace), ("pod", pod.facts.pod), ("uid", pod.uid))


def cgroup_pairs(cgroup: Cgroup) -> Pairs:
    """Labels of each of a cgroup's samples; the node has none."""
    return () if cgroup.path == "/" else (("cgroup", cgroup.path),)


def container_info(container: Container) -> Pairs:
    """What is said once of a container, beside its labels."""
    place, facts = container.place, container.facts
    full = container.container_id
    restarts = facts.restart_count
    return (
        ("cgroup", container.cgroup.path),
        ("compose_project", facts.compose_project),
        ("compose_service", facts.compose_service),
        ("container_id", f"{container.runtime}://{full}" if full and container.runtime else full),
        ("driver", place.driver),
        ("image", facts.image),
        ("parent_cgroup", place.parent_path),
        ("pod_uid", place.pod_uid or facts.pod_uid),
        ("qos_class", container.qos_class),
        ("restart_count", None if restarts is None else str(restarts)),
        ("runtime", container.runtime),
        *_passed_labels(facts),
    )


def pod_info(pod: Pod) -> Pairs:
    """What is said once of a pod, beside its labels."""
    facts = pod.facts
    return (
        ("cgroup", pod.cgroup.path),
        ("driver", pod.place.driver),
        ("owner_kind", facts.owner_kind),
        ("owner_name", facts.owner_name),
        ("parent_cgroup", pod.place.parent_path),
        ("qos_class", pod.qos_class),
        *_passed_labels(facts),
    )


def _passed_labels(facts: Facts) -> Pairs:
    return tuple((label_name(name), value) for name, value in facts.labels.items())


INFOS = (
    (Level.CONTAINER, "A container: its full ID, image, runtime, cgroup, pod and QoS class."),
    (Level.POD, "A pod: its cgroup, owner and QoS class."),
)
LIMITS_INFO = (
    "What sets the limit that acts: self, an ancestor by its path, the cpuset or the machine."
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
        self._rows = {level: _Rows(rows, level) for level in levels}
        self._tells_limits = any(row.section == "effective" for row in rows)
        self._subjects: dict[str, _Subject] = {}
        self._containers: Each[Container, _Subject] = Each(self._keeper(Level.CONTAINER))
        self._pods: Each[Pod, _Subject] = Each(self._keeper(Level.POD))
        self._devices: Mapping[str, str] = {}
        # By sample name, the texts of its last lines and those lines.
        self._lines: dict[str, tuple[tuple[str, ...], bytes]] = {}
        # Whom each level showed last, in order.
        self._shown: dict[Level, list[_Subject]] = {}
        # Of what a text may be new since the last page: places by section.
        self._changed: defaultdict[_Section, set[int]] = defaultdict(set)

    def render(self, view: View, form: Format) -> list[bytes]:
        """Render all families of the table and the info families, without ``# EOF``.

        Returns:
            Parts of the page. Lines that are as they were are the same object as before.
        """
        self._take(view)
        parts: list[bytes] = []
        for level in self._levels:
            self._families(level, form, parts)
        if Level.CONTAINER in self._levels:
            parts += map(str.encode, _declared(view, form))
        for level, text in INFOS:
            if level in self._levels:
                self._info(f"{PREFIX}_{level.value}", text, level, "info", form, parts)
        for level in self._levels if self._tells_limits else ():
            self._info(f"{PREFIX}_{level.value}_limits", LIMITS_INFO, level, "setters", form, parts)
        return parts

    def _take(self, view: View) -> None:
        """Bring the texts of whoever there is something to say of up to date."""
        self._changed.clear()
        if self._devices != view.snapshot.devices:
            self._devices = view.snapshot.devices
            self._subjects = {}  # device names are in their texts
            self._containers.forget()
            self._pods.forget()
        shown: dict[Level, list[_Subject]] = {level: [] for level in Level}
        shown[Level.CONTAINER] = self._containers.of(view.containers)
        shown[Level.POD] = self._pods.of(view.pods)
        tiers = view.tiers
        for cgroup in view.cgroups:
            if level := _LEVELS.get(tiers[cgroup.path]):
                shown[level].append(self._kept(self._rows.get(level), cgroup, level, cgroup))
        if len(self._subjects) > sum(map(len, shown.values())):
            self._subjects = {each.path: each for its in shown.values() for each in its}
        for level in self._levels:
            # By identity: subjects have no other equality.
            if shown[level] != self._shown.get(level):
                self._changed.update((each, each.everything) for each in self._rows[level].sections)
        self._shown = shown

    def _keeper(self, level: Level) -> Callable[[Any], _Subject]:
        rows = self._rows.get(level)
        return lambda owner: self._kept(rows, owner.cgroup, level, owner)

    def _kept(
        self, rows: _Rows | None, cgroup: Cgroup, level: Level, owner: Container | Pod | Cgroup
    ) -> _Subject:
        """What is kept of an owner, with its texts as they are now where its level has rows."""
        last = self._subjects.get(cgroup.path)
        subject = _subject(level, cgroup, owner, last)
        if subject is not last:
            self._subjects[cgroup.path] = subject
        if rows is not None and subject.cgroup is not cgroup:
            self._update(rows, subject, cgroup)
        return subject

    def _update(self, rows: _Rows, subject: _Subject, cgroup: Cgroup) -> None:
        """Make the texts anew of the sections that are no longer the same object."""
        now = rows.sections_of(cgroup)
        if not subject.sections:
            subject.texts = [""] * rows.width
            subject.sections = (None,) * len(now)
        then = subject.sections
        subject.cgroup, subject.sections = cgroup, now
        if now[-2] is not then[-2]:
            subject.setters = _setters(subject, cgroup.effective)
        three = zip(rows.sections, then, now, strict=False)
        for section, before, its in compress(three, map(is_not, now, then)):
            changed = self._changed[section]
            if section.labelled:
                section.update_elements(subject, its, self._devices)
            else:
                section.update(subject, before, its, changed)

    def _families(self, level: Level, form: Format, parts: list[bytes]) -> None:
        subjects, changed = self._shown[level], self._changed
        for section in self._rows[level].sections:
            columns: Iterator[tuple[str, ...] | None] = repeat(None)
            if section in changed:
                columns = section.columns(subjects, changed[section])
            for row in section.rows:
                family = row.family(level)
                sample = family + SUFFIXES[row.kind]
                column = next(columns, ())  # without elements there is none
                lines = self._lines[sample][1] if column is None else self._joined(sample, column)
                if lines:
                    parts.append(header(family, row.kind, row.unit, row.help, form).encode())
                    parts.append(lines)

    def _info(
        self,
        family: str,
        text: str,
        level: Level,
        attribute: str,
        form: Format,
        parts: list[bytes],
    ) -> None:
        """An info family, where it has a sample: that attribute of each subject of a level."""
        texts = tuple(map(attrgetter(attribute), self._shown[level]))
        if lines := self._joined(f"{family}_info", texts):
            parts.append(header(family, Kind.INFO, "", text, form).encode())
            parts.append(lines)

    def _joined(self, sample: str, texts: tuple[str, ...]) -> bytes:
        """The lines of one sample name; where no text changed, the same object as before."""
        known = self._lines.get(sample)
        if known is None or known[0] != texts:
            present = list(filter(None, texts))
            lines = sample + sample.join(present) if present else ""
            known = self._lines[sample] = (texts, lines.encode())
        return known[1]


def _setters(subject: _Subject, effective: Effective | None) -> str:
    """What sets a cgroup's limits, as labels; "" where none is known."""
    if effective is None:
        return ""
    by = (effective.cpu_limit_by, effective.memory_limit_by, effective.pids_limit_by)
    pairs = tuple(zip(("cpu", "memory", "pids"), by, strict=True))
    return f"{labels((*subject.pairs, *pairs))} 1\n" if any(by) else ""


def _declared(view: View, form: Format) -> Iterator[str]:
    """What pods' manifests ask for, where a source knows them."""
    asking = [(c, c.facts.declared) for c in view.containers if c.facts.declared is not None]
    for row in DECLARED:
        samples = [
            f"{row.family}{labels(container_pairs(container))} {value!r}\n"
            for container, declared in asking
            if (value := getattr(declared, row.field)) is not None
        ]
        if samples:
            yield header(row.family, Kind.GAUGE, row.unit, row.help, form)
            yield "".join(samples)


_LEVELS: Mapping[Tier, Level] = {
    tier: Level(tier.value) for tier in Tier if tier is not Tier.BETWEEN
}


def _subject(
    level: Level, cgroup: Cgroup, owner: Container | Pod | Cgroup, last: _Subject | None
) -> _Subject:
    """What is kept of an owner; the same as before while its labels are."""
    # A level has its rows, so another one is another subject.
    names: tuple[object, ...]
    if isinstance(owner, Container):
        names = (cgroup.inode, owner.id, owner.place, owner.facts)
    elif isinstance(owner, Pod):
        names = (cgroup.inode, owner.uid, owner.place, owner.facts)
    else:
        names = (level, cgroup.inode)
    if last is not None and last.names == names:
        return last
    return _Subject(cgroup.path, names, *_describe(owner))


def _describe(owner: Container | Pod | Cgroup) -> tuple[Pairs, Pairs]:
    """Labels of an owner's samples, and those of its info family."""
    if isinstance(owner, Container):
        return container_pairs(owner), container_info(owner)
    if isinstance(owner, Pod):
        return pod_pairs(owner), pod_info(owner)
    return cgroup_pairs(owner), ()
