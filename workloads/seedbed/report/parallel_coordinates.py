"""Parallel coordinates as inline SVG: an axis per parameter, the objective last, a line per trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from seedbed.report.search_space_axes import ParameterAxis, Scale, Tick, shortened

_TOP, _BOTTOM, _SIDE, _LABELS = 34, 46, 30, 110
_HEIGHT, _LEAST_WIDTH, _COLUMN = 360, 1000, 120
_NOTCH = 24
"""Pixels below an axis where lines pass that have no value on it."""


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
    axes: Sequence[ParameterAxis], objective: Scale, threads: Sequence[TrialPath], *, label: str, told: str
) -> Markup:
    """Return an SVG; later threads lie over earlier ones. `label` names the objective, `told` the picture."""
    width = max(_LEAST_WIDTH, _SIDE + _COLUMN * len(axes) + _LABELS)
    step = (width - _SIDE - _LABELS) / len(axes)
    places = [round(_SIDE + step * index, 1) for index in range(len(axes) + 1)]
    notches = [
        "not set" if any(axis.name not in thread.values for thread in threads) else "" for axis in axes
    ]
    notches.append("failed" if any(thread.objective is None for thread in threads) else "")
    named = [(axis.name, axis.ticks()) for axis in axes] + [(label, objective.ticks())]
    body = [_thread(thread, axes, objective, places) for thread in threads]
    body += [
        _axis(name, ticks, at, notch=notch)
        for (name, ticks), at, notch in zip(named, places, notches, strict=True)
    ]
    return Markup(
        '<svg class="chart coordinates" viewBox="0 0 {w} {h}" style="min-width:{least}px" role="img" '
        'aria-label="{told}"><title>{told}</title>{body}</svg>'
    ).format(w=width, h=_HEIGHT, least=round(0.7 * width), told=told, body=Markup("").join(body))


def _thread(
    thread: TrialPath, axes: Sequence[ParameterAxis], objective: Scale, places: Sequence[float]
) -> Markup:
    shares = [axis.place(thread.values[axis.name]) if axis.name in thread.values else None for axis in axes]
    shares.append(None if thread.objective is None else objective.place(thread.objective))
    points = " ".join(f"{x},{_y(share)}" for x, share in zip(places, shares, strict=True))
    return Markup('<polyline class="{style}" points="{p}"><title>{t}</title></polyline>').format(
        style=thread.style, p=points, t=thread.title
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
    """Return the height of a share of an axis; below it where there is none."""
    if share is None:
        return _HEIGHT - _BOTTOM + _NOTCH
    return round(_HEIGHT - _BOTTOM - share * (_HEIGHT - _BOTTOM - _TOP), 1)
