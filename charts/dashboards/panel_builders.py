"""The parts of a dashboard: a panel says what it shows, in which unit and why; no metric is known here."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from grafana_foundation_sdk.builders import bargauge, dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.builders.common import (
    GraphThresholdsStyleConfig,
    ReduceDataOptions,
    StackingConfig,
    TableSortByFieldState,
    VizLegendOptions,
    VizTextDisplayOptions,
    VizTooltipOptions,
)
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    BarGaugeSizing,
    BigValueColorMode,
    BigValueGraphMode,
    GraphDrawStyle,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    LineInterpolation,
    SortOrder,
    StackingMode,
    TableColorTextCellOptions,
    TooltipDisplayMode,
    VisibilityMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    DataTransformerConfig,
    DynamicConfigValue,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

Json = dict[str, Any]
SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
WIDTH = 24
TAGS = ["seedbed"]
COUNT = "none"
"""Unit of what is counted: an axis without halves, and steps where a slope would be of what never was."""
Limits = tuple[tuple[float, str], ...]
"""From which value on a figure has a colour, or at which a chart has a line."""


@dataclass(frozen=True, kw_only=True)
class Query:
    """One line of a panel, or many by label; the legend takes `{{label}}`."""

    expr: str
    legend: str = ""
    unit: str = ""
    """Where it is not the panel's: it has an axis of its own, at the right."""


@dataclass(frozen=True, kw_only=True)
class PanelStyle:
    """What a panel has besides: where nothing is said, no value is told as good or bad."""

    colours: Mapping[str, str] = field(default_factory=dict)
    """Of lines by their legend; of a table's words."""
    limits: Limits = ()
    from_zero: bool = True
    """Whether the axis shows zero, however far away the values are."""
    most: float | None = None
    """Where the axis ends."""
    aside: bool = False
    """Whether the legend is at the right: below there is no room for many."""
    columns: tuple[str, ...] = ()
    """Of a table, in this order."""
    widths: Mapping[str, int] = field(default_factory=dict)
    """Of columns that need more or less than their share."""
    value: str = ""
    """Heading of the column with a table's values; without one there is none."""
    link: str = ""
    """Where the names of a table lead; the column `page` is for it alone."""


DEFAULT_STYLE = PanelStyle()


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
    style: PanelStyle = DEFAULT_STYLE


@dataclass(frozen=True, kw_only=True)
class Row:
    """Panels below one heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, kw_only=True)
class Dashboard:
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


def stat_panel(
    title: str,
    description: str,
    unit: str,
    expr: str,
    *,
    span: int = 4,
    limits: Limits = (),
    legend: str = "",
) -> Panel:
    """Return a panel of one figure as of now."""
    queries = (Query(expr=expr, legend=legend),)
    return Panel(
        title=title,
        description=description,
        unit=unit,
        queries=queries,
        kind="number",
        span=span,
        height=4,
        style=PanelStyle(limits=limits),
    )


def line_panel(
    title: str,
    description: str,
    unit: str,
    *queries: tuple[str, ...],
    span: int = 8,
    style: PanelStyle = DEFAULT_STYLE,
) -> Panel:
    """Return a panel of lines over time: (expression, legend), or (expression, legend, unit)."""
    return Panel(
        title=title, description=description, unit=unit, queries=_queries(queries), span=span, style=style
    )


def stacked_panel(
    title: str,
    description: str,
    unit: str,
    *queries: tuple[str, ...],
    span: int = 8,
    style: PanelStyle = DEFAULT_STYLE,
) -> Panel:
    """Return a panel of areas one upon the other."""
    return replace(line_panel(title, description, unit, *queries, span=span, style=style), kind="stacked")


def bar_panel(title: str, description: str, unit: str, *queries: tuple[str, ...], span: int = 8) -> Panel:
    """Return a panel of bars as of now."""
    return replace(line_panel(title, description, unit, *queries, span=span), kind="bars")


def rows_of(
    title: str,
    description: str,
    unit: str,
    expr: str,
    style: PanelStyle,
    *,
    span: int = WIDTH,
    height: int = 8,
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
        style=style,
    )


def _queries(told: Sequence[tuple[str, ...]]) -> tuple[Query, ...]:
    return tuple(Query(expr=expr, legend=legend, unit="".join(unit)) for expr, legend, *unit in told)


def dashboard_json(page: Dashboard) -> str:
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
        .link(
            dashboard.DashboardLink("Seedbed")
            .type(DashboardLinkType.DASHBOARDS)
            .tags(TAGS)
            .include_vars(True)
            .keep_time(True)
        )
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


def _variable(name: str, label: str, query: str, *, all_of_them: bool = True) -> Any:
    built = (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query({"query": query, "refId": name})
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(True)
    )
    return built.include_all(True).all_value(".*") if all_of_them else built


def _panel(panel: Panel) -> Any:
    built = (
        _BLANKS[panel.kind](panel)
        .title(panel.title)
        .description(panel.description)
        .unit(panel.unit)
        .datasource(SOURCE)
        .span(panel.span)
        .height(panel.height)
        .thresholds(_thresholds(panel))
    )
    if panel.unit == COUNT:
        built = built.decimals(0)
    for place, query in enumerate(panel.queries):
        built = built.with_target(_target(query, chr(ord("A") + place), panel.kind))
    return built


def _thresholds(panel: Panel) -> dashboard.ThresholdsConfig:
    """Return the limits: without any Grafana takes green, and red from 80 on, whatever is 80."""
    limits = (Threshold(value=value, color=colour) for value, colour in panel.style.limits)
    steps = [Threshold(color=_PLAINLY[panel.kind]), *limits]
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)


def _target(query: Query, ref: str, kind: str) -> Any:
    built = prometheus.Dataquery().expr(query.expr).ref_id(ref)
    if query.legend:
        built = built.legend_format(query.legend)
    if kind == "table":
        built = built.format(PromQueryFormat.TABLE)
    return built.range() if kind in ("lines", "stacked") else built.instant()


def _lines(panel: Panel) -> Any:
    style = panel.style
    legend = VizLegendOptions().show_legend(True).display_mode(LegendDisplayMode.LIST)
    placement = LegendPlacement.RIGHT if style.aside else LegendPlacement.BOTTOM
    tooltip = VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING)
    built = (
        timeseries.Panel()
        .draw_style(GraphDrawStyle.LINE)
        .fill_opacity(8)
        .legend(legend.placement(placement).calcs([]))
        .tooltip(tooltip)
    )
    if panel.unit == COUNT:
        built = built.line_interpolation(LineInterpolation.STEP_AFTER).axis_soft_max(1)
    if style.from_zero:
        built = built.axis_soft_min(0)
    if style.most is not None:
        built = built.max(style.most)
    if style.limits:
        built = built.thresholds_style(GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED))
    for word, colour in style.colours.items():
        fixed = DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": colour})
        built = built.override_by_name(word, [fixed])
    for query in panel.queries:
        if query.unit:
            own = {"unit": query.unit, "custom.axisPlacement": "right"}
            built = built.override_by_name(query.legend, [DynamicConfigValue(*each) for each in own.items()])
    return built


def _stacked(panel: Panel) -> Any:
    """Return areas without outlines: that of a zero would frame all that is below it."""
    stacking = StackingConfig().mode(StackingMode.NORMAL)
    areas = _lines(panel).line_width(0).fill_opacity(70).show_points(VisibilityMode.NEVER)
    return areas.stacking(stacking).min(0)


def _bars(panel: Panel) -> Any:
    """Return bars, each with its name, which Grafana only shows of a single bar where it is set."""
    (query,) = panel.queries
    return (
        bargauge.Panel()
        .orientation(VizOrientation.HORIZONTAL)
        .sizing(BarGaugeSizing.MANUAL)
        .min_viz_height(16)
        .max_viz_height(40)
        .text(VizTextDisplayOptions().title_size(12).value_size(16))
        .reduce_options(_LAST)
        .display_name(re.sub(r"{{(\w+)}}", r"${__field.labels.\1}", query.legend))
        .min(0)
    )


def _table(panel: Panel) -> Any:
    style = panel.style
    shown = (*style.columns, *(["page"] if style.link else []), "Value")
    organised = {
        "excludeByName": {"Time": True} | ({} if style.value else {"Value": True}),
        "indexByName": {name: place for place, name in enumerate(shown)},
        "renameByName": {"Value": style.value} if style.value else {},
    }
    built = (
        table.Panel()
        .with_transformation(DataTransformerConfig(id_val="organize", options=organised))
        .sort_by([TableSortByFieldState().display_name("name")] if "name" in style.columns else [])
    )
    if style.colours:
        words = {word: ValueMappingResult(text=word, color=colour) for word, colour in style.colours.items()}
        built = built.mappings([ValueMap(words)]).cell_options(TableColorTextCellOptions())
    for name, width in style.widths.items():
        built = built.override_by_name(name, [DynamicConfigValue("custom.width", width)])
    if style.link:
        link = {"title": "Its dashboard", "url": style.link}
        built = built.override_by_name("name", [DynamicConfigValue("links", [link])])
        built = built.override_by_name("page", [DynamicConfigValue("custom.hidden", True)])
    return built


_LAST = ReduceDataOptions().calcs(["lastNotNull"])
_PLAINLY = {
    "lines": "transparent",
    "stacked": "transparent",
    "number": "text",
    "bars": "blue",
    "table": "text",
}
"""The colour that tells nothing."""
_BLANKS: dict[str, Any] = {
    "lines": _lines,
    "stacked": _stacked,
    "number": lambda _: (
        stat.Panel()
        .color_mode(BigValueColorMode.VALUE)
        .graph_mode(BigValueGraphMode.NONE)
        .reduce_options(_LAST)
        .no_value("–")
    ),
    "bars": _bars,
    "table": _table,
}
