"""Classic dashboards of Grafana, typed as far as we use them, and laid out in rows.

A few dataclasses instead of grafana-foundation-sdk: docs/decisions/0008-dashboards.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

# Grafana 11.0's own; later ones migrate it when they load it.
SCHEMA_VERSION = 39
COLUMNS = 24
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
GREEN, YELLOW, RED = "green", "yellow", "red"


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One expression and what its series are called.

    Attributes:
        expr: PromQL, with Grafana's variables.
        legend: ``{{label}}`` stands for a label's value.
        dashed: drawn as a dashed line without filling: a limit.
    """

    expr: str
    legend: str = ""
    dashed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """What every panel has.

    Attributes:
        unit: an identifier of Grafana's list of units.
        warn, critical: thresholds, where the panel's alerts begin.
        link: uid of the dashboard that shows more, and the labels it is opened with.
        empty: what is shown where there is no data.
    """

    title: str
    description: str
    queries: Sequence[Query]
    unit: str
    width: int = 12
    height: int = 8
    warn: float | None = None
    critical: float | None = None
    max: float | None = None
    decimals: int | None = None
    link: "Link | None" = None
    empty: str = "No data"

    kind = ""
    instant = False

    def json(self, number: int, x: int, y: int) -> Json:
        """The panel at its place."""
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": DATASOURCE,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "fieldConfig": {"defaults": self.defaults(), "overrides": self.overrides()},
            "options": self.options(),
            "targets": [self._target(n, query) for n, query in enumerate(self.queries)],
            **({"transformations": steps} if (steps := self.transformations()) else {}),
        }

    def defaults(self) -> Json:
        """Settings of all fields."""
        steps: list[Json] = [{"color": GREEN, "value": None}]
        if self.warn is not None:
            steps.append({"color": YELLOW, "value": self.warn})
        if self.critical is not None:
            steps.append({"color": RED, "value": self.critical})
        settings: Json = {
            "unit": self.unit,
            "min": 0,
            "noValue": self.empty,
            "thresholds": {"mode": "absolute", "steps": steps},
        }
        if self.max is not None:
            settings["max"] = self.max
        if self.decimals is not None:
            settings["decimals"] = self.decimals
        if self.link is not None:
            settings["links"] = [self.link.json()]
        return settings

    def overrides(self) -> list[Json]:
        """Settings of some fields."""
        return []

    def options(self) -> Json:
        """Settings of this kind of panel."""
        return {}

    def transformations(self) -> list[Json]:
        """What is done with the answers."""
        return []

    def _target(self, number: int, query: Query) -> Json:
        target: Json = {
            "refId": chr(ord("A") + number),
            "datasource": DATASOURCE,
            "expr": query.expr,
            "legendFormat": query.legend or "__auto",
            "editorMode": "code",
            "range": not self.instant,
            "instant": self.instant,
        }
        if self.instant and self.kind == "table":
            target["format"] = "table"
        return target


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A way down to another dashboard.

    Attributes:
        uid: of that dashboard.
        title: what it is called.
        labels: variable there → label here; what is not said is as it is now.
        row: the labels are in a table's row, not on a series.
    """

    uid: str
    title: str
    labels: Mapping[str, str]
    row: bool = False

    def json(self) -> Json:
        """As Grafana keeps it: an address with the values to come."""
        pairs = [
            f"var-{variable}="
            + (f"${{__data.fields.{label}}}" if self.row else f"${{__field.labels.{label}}}")
            for variable, label in self.labels.items()
        ]
        query = "&".join(
            ["${datasource:queryparam}", "${job:queryparam}", *pairs, "${__url_time_range}"]
        )
        return {"title": self.title, "url": f"/d/{self.uid}?{query}", "targetBlank": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph(Panel):
    """Lines over time, thresholds as dashed lines."""

    stack: bool = False

    kind = "timeseries"

    def defaults(self) -> Json:
        """Settings of all fields."""
        marked = self.warn is not None or self.critical is not None
        custom: Json = {
            "drawStyle": "line",
            "lineInterpolation": "linear",
            "lineWidth": 1,
            "fillOpacity": 40 if self.stack else 10,
            "showPoints": "never",
            "spanNulls": False,
            "stacking": {"group": "A", "mode": "normal" if self.stack else "none"},
            "thresholdsStyle": {"mode": "dashed" if marked else "off"},
            "axisSoftMin": 0,
        }
        color = {"color": {"mode": "palette-classic"}}
        # Explicit, for the one of the base class would be that of a class without slots.
        return {**Panel.defaults(self), **color, "custom": custom}

    def overrides(self) -> list[Json]:
        """Limits are dashed, and no part of a stack."""
        return [
            {
                "matcher": {"id": "byFrameRefID", "options": chr(ord("A") + number)},
                "properties": [
                    {"id": "custom.lineStyle", "value": {"dash": [8, 6], "fill": "dash"}},
                    {"id": "custom.fillOpacity", "value": 0},
                    {"id": "custom.stacking", "value": {"group": "B", "mode": "none"}},
                ],
            }
            for number, query in enumerate(self.queries)
            if query.dashed
        ]

    def options(self) -> Json:
        """The legend is a table, by the last value."""
        return {
            "legend": {
                "showLegend": True,
                "displayMode": "table",
                "placement": "bottom",
                "calcs": ["lastNotNull", "max"],
                "sortBy": "Last *",
                "sortDesc": True,
            },
            "tooltip": {"mode": "multi", "sort": "desc"},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Stat(Panel):
    """One number each, the last one.

    Attributes:
        text: show the name of the series, not its value.
    """

    width: int = 4
    height: int = 4
    text: bool = False

    kind = "stat"
    instant = True

    def defaults(self) -> Json:
        """Colour follows the thresholds."""
        return {**Panel.defaults(self), "color": {"mode": "thresholds"}}

    def options(self) -> Json:
        """No sparkline: the query is of one moment."""
        return {
            "colorMode": "none" if self.text else "value",
            "graphMode": "none",
            "justifyMode": "auto",
            "orientation": "auto",
            "textMode": "name" if self.text else "auto",
            "wideLayout": True,
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars(Panel):
    """A bar for each series, the worst on top."""

    kind = "bargauge"
    instant = True

    def defaults(self) -> Json:
        """Colour follows the thresholds."""
        return {**Panel.defaults(self), "color": {"mode": "thresholds"}}

    def options(self) -> Json:
        """Horizontal, so that names can be read."""
        return {
            "displayMode": "gradient",
            "orientation": "horizontal",
            "showUnfilled": True,
            "valueMode": "color",
            "namePlacement": "auto",
            "sizing": "auto",
            "minVizHeight": 16,
            "minVizWidth": 8,
            "maxVizHeight": 300,
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a table.

    Attributes:
        field: a label, or the letter of a query.
        unit: of numbers.
        warn, critical: where the cell's colour changes.
    """

    field: str
    title: str
    unit: str = ""
    warn: float | None = None
    critical: float | None = None
    decimals: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table(Panel):
    """The answers side by side, one row for each set of labels."""

    columns: Sequence[Column]
    sort: str = ""
    width: int = COLUMNS
    unit: str = "none"

    kind = "table"
    instant = True

    def defaults(self) -> Json:
        """Plain cells."""
        settings = Panel.defaults(self)
        settings.pop("min")
        custom = {"align": "auto", "cellOptions": {"type": "auto"}, "inspect": False}
        return {**settings, "custom": custom}

    def overrides(self) -> list[Json]:
        """Units and colours by column."""
        found = []
        for column in self.columns:
            properties: list[Json] = []
            if column.unit:
                properties.append({"id": "unit", "value": column.unit})
            if column.decimals is not None:
                properties.append({"id": "decimals", "value": column.decimals})
            if column.warn is not None:
                steps: list[Json] = [{"color": "text", "value": None}]
                steps.append({"color": YELLOW, "value": column.warn})
                if column.critical is not None:
                    steps.append({"color": RED, "value": column.critical})
                properties.append(
                    {"id": "thresholds", "value": {"mode": "absolute", "steps": steps}}
                )
                properties.append({"id": "custom.cellOptions", "value": {"type": "color-text"}})
            if properties:
                matcher = {"id": "byName", "options": column.title}
                found.append({"matcher": matcher, "properties": properties})
        return found

    def options(self) -> Json:
        """Sorted by one column, the greatest first."""
        sort = [{"displayName": self.sort, "desc": True}] if self.sort else []
        return {"showHeader": True, "cellHeight": "sm", "sortBy": sort}

    def transformations(self) -> list[Json]:
        """Join the answers on their labels; keep the columns, in their order."""
        names = {self._name(column.field): column.title for column in self.columns}
        return [
            {"id": "merge", "options": {}},
            {"id": "filterFieldsByName", "options": {"include": {"names": list(names)}}},
            {
                "id": "organize",
                "options": {
                    "excludeByName": {},
                    "indexByName": {name: place for place, name in enumerate(names)},
                    "renameByName": names,
                },
            },
        ]

    def _name(self, name: str) -> str:
        if len(name) > 1:
            return name
        return "Value" if len(self.queries) == 1 else f"Value #{name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A heading and the panels below it, which flow from left to right."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A choice at the dashboard's head: values of a label.

    Attributes:
        query: PromQL selector whose series have the label.
        every: what "All" stands for; ``.*`` takes series without the label as well.
    """

    name: str
    title: str
    label: str
    query: str
    every: str = ".+"

    def json(self) -> Json:
        """As Grafana keeps it: read anew when the time range changes, in alphabetical order."""
        question = f"label_values({self.query}, {self.label})"
        return {
            "name": self.name,
            "label": self.title,
            "type": "query",
            "datasource": DATASOURCE,
            "query": {"query": question, "refId": f"variable-{self.name}"},
            "refresh": 2,
            "sort": 1,
            "multi": True,
            "includeAll": True,
            "allValue": self.every,
            "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """Marks in all graphs where an expression has a value."""

    name: str
    expr: str
    title: str

    def json(self) -> Json:
        """As Grafana keeps it."""
        return {
            "name": self.name,
            "datasource": DATASOURCE,
            "enable": True,
            "iconColor": RED,
            "expr": self.expr,
            "titleFormat": self.title,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Dashboard:
    """One dashboard."""

    uid: str
    title: str
    description: str
    variables: Sequence[Variable]
    rows: Sequence[Row]
    annotations: Sequence[Annotation] = field(default=())

    def json(self) -> Json:
        """The classic model, for provisioning: no id, no version, no inputs."""
        source = {
            "name": "datasource",
            "label": "Data source",
            "type": "datasource",
            "query": "prometheus",
            "regex": "",
            "refresh": 1,
            "includeAll": False,
            "multi": False,
            "current": {"selected": True, "text": "default", "value": "default"},
        }
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": ["cgexporter"],
            "schemaVersion": SCHEMA_VERSION,
            "editable": False,
            "graphTooltip": 1,
            "refresh": "1m",
            "time": {"from": "now-1h", "to": "now"},
            "timezone": "browser",
            "links": [
                {
                    "title": "cgexporter",
                    "type": "dashboards",
                    "icon": "external link",
                    "tooltip": "",
                    "tags": ["cgexporter"],
                    "asDropdown": True,
                    "includeVars": True,
                    "keepTime": True,
                    "targetBlank": False,
                }
            ],
            "annotations": {"list": [mark.json() for mark in self.annotations]},
            "templating": {"list": [source, *(variable.json() for variable in self.variables)]},
            "panels": list(self._panels()),
        }

    def _panels(self) -> list[Json]:
        placed: list[Json] = []
        y = 0
        for row in self.rows:
            place = {"x": 0, "y": y, "w": COLUMNS, "h": 1}
            head = {"id": len(placed) + 1, "type": "row", "title": row.title, "collapsed": False}
            placed.append({**head, "gridPos": place, "panels": []})
            y += 1
            x = height = 0
            for panel in row.panels:
                if x + panel.width > COLUMNS:
                    x, y, height = 0, y + height, 0
                placed.append(panel.json(len(placed) + 1, x, y))
                x += panel.width
                height = max(height, panel.height)
            y += height
        return placed
