"""The parts of a dashboard: a panel says what it shows, in which unit and why; no metric is known here."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from grafana_foundation_sdk.builders import bargauge, dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.builders.common import ReduceDataOptions, StackingConfig
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import BigValueColorMode, GraphDrawStyle, StackingMode
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DataSourceRef,
    DataTransformerConfig,
    VariableRefresh,
)

Json = dict[str, Any]
SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
WIDTH = 24
TAGS = ["seedbed"]


@dataclass(frozen=True, kw_only=True)
class Query:
    """One line of a panel, or many by label; the legend takes `{{label}}`."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One panel."""

    title: str
    description: str
    unit: str
    """As Grafana names it: s, bytes, percentunit, short, dateTimeAsIso, …"""
    queries: tuple[Query, ...]
    kind: Literal["lines", "stacked", "number", "bars", "table"] = "lines"
    span: int = 8
    height: int = 8


@dataclass(frozen=True, kw_only=True)
class Row:
    """Panels below one heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, kw_only=True)
class Page:
    """One dashboard."""

    uid: str
    title: str
    description: str
    variables: tuple[Json, ...]
    """Each with name, label and the query that finds its values."""
    rows: tuple[Row, ...]

    @property
    def panels(self) -> Iterator[Panel]:
        """Yield all panels."""
        for row in self.rows:
            yield from row.panels


def number(title: str, description: str, unit: str, expr: str, *, span: int = 4) -> Panel:
    """Return a panel of one figure."""
    queries = (Query(expr=expr),)
    return Panel(
        title=title, description=description, unit=unit, queries=queries, kind="number", span=span, height=4
    )


def lines(title: str, description: str, unit: str, *queries: tuple[str, str], span: int = 8) -> Panel:
    """Return a panel of lines over time: (expression, legend)."""
    return Panel(title=title, description=description, unit=unit, queries=_queries(queries), span=span)


def stacked(title: str, description: str, unit: str, *queries: tuple[str, str], span: int = 8) -> Panel:
    """Return a panel of areas one upon the other."""
    return Panel(
        title=title, description=description, unit=unit, queries=_queries(queries), kind="stacked", span=span
    )


def bars(title: str, description: str, unit: str, *queries: tuple[str, str], span: int = 8) -> Panel:
    """Return a panel of bars as of now."""
    return Panel(
        title=title, description=description, unit=unit, queries=_queries(queries), kind="bars", span=span
    )


def rows_of(
    title: str, description: str, unit: str, expr: str, *, span: int = WIDTH, height: int = 8
) -> Panel:
    """Return a table: a row per series, its labels as columns."""
    queries = (Query(expr=expr),)
    return Panel(
        title=title,
        description=description,
        unit=unit,
        queries=queries,
        kind="table",
        span=span,
        height=height,
    )


def _queries(pairs: Sequence[tuple[str, str]]) -> tuple[Query, ...]:
    return tuple(Query(expr=expr, legend=legend) for expr, legend in pairs)


def rendered(page: Page) -> str:
    """Return a dashboard as the JSON that Grafana imports."""
    built = (
        dashboard.Dashboard(page.title)
        .uid(page.uid)
        .description(page.description)
        .tags(TAGS)
        .editable()
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .refresh("30s")
        .time("now-3h", "now")
        .timezone("browser")
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    )
    for variable in page.variables:
        built = built.with_variable(_variable(**variable))
    for row in page.rows:
        built = built.with_row(dashboard.Row(row.title))
        for panel in row.panels:
            built = built.with_panel(_panel(panel))
    content = json.loads(json.dumps(built.build(), cls=JSONEncoder))
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _variable(name: str, label: str, query: str) -> Any:
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query({"query": query, "refId": name})
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(True)
        .include_all(True)
        .all_value(".*")
    )


def _panel(panel: Panel) -> Any:
    built = (
        _BLANKS[panel.kind]()
        .title(panel.title)
        .description(panel.description)
        .unit(panel.unit)
        .datasource(SOURCE)
        .span(panel.span)
        .height(panel.height)
    )
    for place, query in enumerate(panel.queries):
        built = built.with_target(_target(query, chr(ord("A") + place), now=panel.kind in ("bars", "table")))
    return built


def _target(query: Query, ref: str, *, now: bool) -> Any:
    built = prometheus.Dataquery().expr(query.expr).ref_id(ref)
    if query.legend:
        built = built.legend_format(query.legend)
    return built.instant() if now else built.range()


def _stacked() -> Any:
    stacking = StackingConfig().mode(StackingMode.NORMAL)
    return timeseries.Panel().draw_style(GraphDrawStyle.LINE).fill_opacity(30).stacking(stacking).min(0)


def _table() -> Any:
    hidden = {"Time": True, "Value": False, "__name__": True, "job": True, "instance": True}
    organised = DataTransformerConfig(id_val="organize", options={"excludeByName": hidden})
    return table.Panel().with_transformation(organised)


_LAST = ReduceDataOptions().calcs(["lastNotNull"])
_BLANKS: dict[str, Any] = {
    "lines": lambda: timeseries.Panel().draw_style(GraphDrawStyle.LINE).fill_opacity(8),
    "stacked": _stacked,
    "number": lambda: stat.Panel().color_mode(BigValueColorMode.VALUE).reduce_options(_LAST),
    "bars": bargauge.Panel,
    "table": _table,
}
