"""Parallel coordinates as inline SVG: an axis per parameter, the objective last, a line per trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from seedbed.report.search_space_axes import ParameterAxis, Scale, Tick, shortened

_TOP, _BOTTOM, _SIDE, _LABELS = 34, 46, 30, 110
_HEIGHT, _LEAST_WIDTH, _COLUMN = 360, 1000, 120
_NOTCH = 24
"""Pixels below an axis at which lines without a value on it pass."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialPath:
    """The line of one trial."""

    title: str
    style: str
    """CSS class."""
    values: Mapping[str, str]
    """By parameter; one that the trial does not have is left out."""
    objective: float | None
    """None for a trial that failed."""


def parallel_coordinates(
    axes: Sequence[ParameterAxis], objective: Scale, paths: Sequence[TrialPath], *, label: str, title: str
) -> Markup:
    """Return an SVG; later paths cover earlier ones. `label` names the objective, `title` the chart."""
    width = max(_LEAST_WIDTH, _SIDE + _COLUMN * len(axes) + _LABELS)
    step = (width - _SIDE - _LABELS) / len(axes)
    positions = [round(_SIDE + step * index, 1) for index in range(len(axes) + 1)]
    notches = ["not set" if any(axis.name not in path.values for path in paths) else "" for axis in axes]
    notches.append("failed" if any(path.objective is None for path in paths) else "")
    named = [(axis.name, axis.ticks()) for axis in axes] + [(label, objective.ticks())]
    body = [_polyline(path, axes, objective, positions) for path in paths]
    body += [
        _axis(name, ticks, at, notch=notch)
        for (name, ticks), at, notch in zip(named, positions, notches, strict=True)
    ]
    return Markup(
        '<svg class="chart coordinates" viewBox="0 0 {w} {h}" style="min-width:{least}px" role="img" '
        'aria-label="{title}"><title>{title}</title>{body}</svg>'
    ).format(w=width, h=_HEIGHT, least=round(0.7 * width), title=title, body=Markup("").join(body))


def _polyline(
    path: TrialPath, axes: Sequence[ParameterAxis], objective: Scale, positions: Sequence[float]
) -> Markup:
    shares = [axis.place(path.values[axis.name]) if axis.name in path.values else None for axis in axes]
    shares.append(None if path.objective is None else objective.place(path.objective))
    points = " ".join(f"{x},{_y(share)}" for x, share in zip(positions, shares, strict=True))
    return Markup('<polyline class="{style}" points="{p}"><title>{t}</title></polyline>').format(
        style=path.style, p=points, t=path.title
    )


def _axis(name: str, ticks: Sequence[Tick], at: float, *, notch: str) -> Markup:
    parts = [
        Markup('<line class="axis" x1="{x}" x2="{x}" y1="{a}" y2="{b}"/>').format(
            x=at, a=_TOP, b=_HEIGHT - _BOTTOM
        ),
        _text(shortened(name, 20), at, 16, style="name", whole=name),
        *(_text(tick.text, at + 6, _y(tick.place) + 4, style="tick", whole=tick.whole) for tick in ticks),
    ]
    if notch:
        parts.append(_text(notch, at + 6, _y(None) + 4, style="tick"))
    return Markup("").join(parts)


def _text(text: str, x: float, y: float, *, style: str, whole: str = "") -> Markup:
    title = Markup("<title>{t}</title>").format(t=whole) if whole and whole != text else Markup("")
    return Markup('<text class="{s}" x="{x}" y="{y}">{t}{title}</text>').format(
        s=style, x=round(x, 1), y=round(y, 1), t=text, title=title
    )


def _y(share: float | None) -> float:
    """Return the y coordinate of a share of an axis; without a share, the one below the axis."""
    if share is None:
        return _HEIGHT - _BOTTOM + _NOTCH
    return round(_HEIGHT - _BOTTOM - share * (_HEIGHT - _BOTTOM - _TOP), 1)
