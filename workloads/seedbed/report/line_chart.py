"""Line charts as inline SVG; colours come from CSS variables of the page and follow light and dark mode.

A plotting library would cost a second of import, and its colours would be fixed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

WIDTH, HEIGHT = 340, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 12, 12, 34
_MOST_POINTS = 400

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One line of a chart."""

    label: str
    points: Points
    """(x, y); points that are not finite are left out."""
    style: str
    """CSS class: line-1, line-2, line-3 or faint."""
    marked: bool = False
    """Whether each point gets a dot with a tooltip of its value."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Range:
    """The bounds of an axis and the values of its ticks."""

    low: float
    high: float
    ticks: tuple[float, ...]


def line_chart(
    title: str,
    lines: Sequence[Line],
    *,
    x_label: str,
    y_range: Range | None = None,
    size: tuple[int, int] = (WIDTH, HEIGHT),
) -> Markup:
    """Return an SVG of the lines, '' if there is no point to draw."""
    finite = [
        Line(label=line.label, points=_finite(line.points), style=line.style, marked=line.marked)
        for line in lines
    ]
    drawn = [line for line in finite if line.points]
    if not drawn:
        return Markup("")
    xs = [x for line in drawn for x, _ in line.points]
    ys = [y for line in drawn for _, y in line.points]
    frame = _Frame(
        x=nice_range(0.0, max(xs), whole=True),
        y=y_range or nice_range(min(ys), max(ys)),
        x_label=x_label,
        width=size[0],
        height=size[1],
    )
    body = Markup("").join([frame.axes(), *(frame.line(line) for line in drawn)])
    return Markup(
        '<svg class="chart" viewBox="0 0 {w} {h}" role="img" aria-label="{title}">{body}</svg>'
    ).format(w=size[0], h=size[1], title=title, body=body)


def nice_range(low: float, high: float, *, whole: bool = False, most_ticks: int = 5) -> Range:
    """Return a range around low…high whose ticks are 1, 2 or 5 times a power of ten apart."""
    scale = max(abs(low), abs(high))
    if high - low <= 1e-9 * scale or scale < 1e-100:
        high = low + (abs(low) if scale >= 1e-100 else 1.0)
    high = max(high, low + 1.0) if whole else high
    step = _nice_step((high - low) / most_ticks)
    step = max(step, 1.0) if whole else step
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    ticks = tuple(index * step for index in range(first, last + 1))
    # the x axis ends with its data, the y axis with a tick
    shown = tuple(tick for tick in ticks if tick <= high) if whole else ticks
    return Range(low=ticks[0], high=high if whole else ticks[-1], ticks=shown)


def smooth(points: Points, *, window: int) -> list[tuple[float, float]]:
    """Return the running mean over up to `window` points, each at the x of the last of them."""
    finite = _finite(points)
    total, answer = 0.0, []
    for index, (x, y) in enumerate(finite):
        total += y - (finite[index - window][1] if index >= window else 0.0)
        answer.append((x, total / min(index + 1, window)))
    return answer


def thin_out(points: Points, *, most: int = _MOST_POINTS) -> list[tuple[float, float]]:
    """Return at most `most` points: means of groups of equal size, and the last point unchanged."""
    group_size = math.ceil(len(points) / (most - 1)) if len(points) > most else 1
    if group_size == 1:
        return list(points)
    groups = [points[start : start + group_size] for start in range(0, len(points), group_size)]
    means = [(group[-1][0], math.fsum(y for _, y in group) / len(group)) for group in groups]
    return [*means[:-1], tuple(points[-1])]  # type: ignore[list-item]


def format_number(value: float) -> str:
    """Return a short text of a number: at most four significant digits, no trailing zeros."""
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}"
    mantissa, _, exponent = f"{value:.2e}".partition("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Frame:
    x: Range
    y: Range
    x_label: str
    width: int
    height: int

    def axes(self) -> Markup:
        rows = [
            Markup(
                '<line class="grid" x1="{l}" x2="{r}" y1="{y}" y2="{y}"/>'
                '<text class="tick" x="{t}" y="{b}" text-anchor="end">{v}</text>'
            ).format(l=_LEFT, r=self.width - _RIGHT, y=at, t=_LEFT - 6, b=at + 4, v=format_number(tick))
            for tick in self.y.ticks
            for at in [self._y(tick)]
        ]
        columns = [
            Markup('<text class="tick" x="{x}" y="{y}" text-anchor="middle">{v}</text>').format(
                x=self._x(tick), y=self.height - _BOTTOM + 16, v=format_number(tick)
            )
            for tick in self.x.ticks
        ]
        name = Markup('<text class="tick" x="{x}" y="{y}" text-anchor="end">{v}</text>').format(
            x=self.width - _RIGHT, y=self.height - 3, v=self.x_label
        )
        return Markup("").join([*rows, *columns, name])

    def line(self, line: Line) -> Markup:
        positions = [(self._x(x), self._y(y)) for x, y in line.points]
        path = Markup('<polyline class="{style}" points="{p}"><title>{t}</title></polyline>').format(
            style=line.style, p=" ".join(f"{x},{y}" for x, y in positions), t=line.label
        )
        dots = [
            Markup('<circle class="{style} dot" cx="{x}" cy="{y}" r="3"><title>{t}</title></circle>').format(
                style=line.style, x=position[0], y=position[1], t=self._tooltip(line.label, point)
            )
            for position, point in zip(positions, line.points, strict=True)
            if line.marked
        ]
        return Markup("").join([path, *dots])

    def _tooltip(self, label: str, point: tuple[float, float]) -> Markup:
        return escape(f"{label}: {format_number(point[1])} at {self.x_label} {point[0]:.0f}")

    def _x(self, value: float) -> float:
        share = (value - self.x.low) / (self.x.high - self.x.low)
        return round(_LEFT + share * (self.width - _LEFT - _RIGHT), 1)

    def _y(self, value: float) -> float:
        share = (min(max(value, self.y.low), self.y.high) - self.y.low) / (self.y.high - self.y.low)
        return round(self.height - _BOTTOM - share * (self.height - _BOTTOM - _TOP), 1)


def _finite(points: Points) -> list[tuple[float, float]]:
    return [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]


def _nice_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= rough * 0.999)
