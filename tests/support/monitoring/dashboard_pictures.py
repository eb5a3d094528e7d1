"""Dashboards as pictures, panel by panel with the data of a run: what a reader of Grafana would see, drawn plainly."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from dashboards.panel_builders import Dashboard, Panel, dashboard_json
from testbed.prometheus import Prometheus

Json = dict[str, Any]
Box = tuple[int, int, int, int]
COLUMN, ROW, GAP = 66, 34, 6
PAPER, CARD, INK, FAINT = "#f4f5f7", "#ffffff", "#1f2430", "#8a90a0"
COLOURS = ("#3274d9", "#e0752d", "#629e51", "#890f02", "#6d1f62", "#0a437c", "#cca300", "#1f9e89")
SECONDS = 90.0
"""How much of the past is drawn."""


def picture(page: Dashboard, prometheus: Prometheus, path: Path, chosen: Callable[[str], str]) -> None:
    """Draw a dashboard."""
    places = list(json.loads(dashboard_json(page))["panels"])
    height = max(place["gridPos"]["y"] + place["gridPos"]["h"] for place in places) * ROW + 60
    image = Image.new("RGB", (24 * COLUMN + 2 * GAP, height), PAPER)
    pen = ImageDraw.Draw(image)
    _write(pen, (GAP + 4, 10), page.title, size=22)
    panels = iter(page.panels)
    for place in places:
        box = _box(place["gridPos"])
        if place["type"] == "row":
            _write(pen, (box[0] + 4, box[1] + 6), place["title"], size=16)
        else:
            _panel(pen, box, next(panels), prometheus, chosen)
    image.save(path)


def _box(place: Json) -> Box:
    x, y = GAP + place["x"] * COLUMN, 48 + place["y"] * ROW
    return x, y, x + place["w"] * COLUMN - GAP, y + place["h"] * ROW - GAP


def _panel(
    pen: ImageDraw.ImageDraw, box: Box, panel: Panel, prometheus: Prometheus, chosen: Callable[[str], str]
) -> None:
    pen.rounded_rectangle(box, radius=4, fill=CARD, outline="#dde0e6")
    _write(pen, (box[0] + 10, box[1] + 6), panel.title, size=14, width=box[2] - box[0] - 20)
    inner = (box[0] + 10, box[1] + 30, box[2] - 10, box[3] - 8)
    if panel.kind in ("lines", "stacked"):
        _lines(pen, inner, panel, _past(panel, prometheus, chosen))
    else:
        _now(pen, inner, panel, _present(panel, prometheus, chosen))


def _past(panel: Panel, prometheus: Prometheus, chosen: Callable[[str], str]) -> list[tuple[str, Json]]:
    return [
        (_legend(query.legend, series["metric"]), series)
        for query in panel.queries
        for series in prometheus.series(chosen(query.expr), seconds=SECONDS, step=1)
    ]


def _present(panel: Panel, prometheus: Prometheus, chosen: Callable[[str], str]) -> list[tuple[str, float]]:
    return [
        (_legend(query.legend, series["metric"]), float(series["value"][1]))
        for query in panel.queries
        for series in prometheus.query(chosen(query.expr))
    ]


def _legend(legend: str, labels: Json) -> str:
    for name, value in labels.items():
        legend = legend.replace(f"{{{{{name}}}}}", str(value))
    hidden = {"__name__", "job", "instance"}
    return legend or "  ".join(str(value)[:24] for name, value in labels.items() if name not in hidden)


def _lines(pen: ImageDraw.ImageDraw, box: Box, panel: Panel, found: Sequence[tuple[str, Json]]) -> None:
    points = [
        (float(t), float(v)) for _, series in found for t, v in series["values"] if math.isfinite(float(v))
    ]
    if not points:
        _write(pen, (box[0], box[1]), "no data", size=13, fill=FAINT)
        return
    plot = (box[0] + 56, box[1], box[2], box[3] - 14 * (1 + min(len(found), 4)))
    first, last = min(t for t, _ in points), max(t for t, _ in points)
    low, high = min(0.0, *(v for _, v in points)), max(v for _, v in points) or 1.0
    for share in (0.0, 0.5, 1.0):
        y = plot[3] - share * (plot[3] - plot[1])
        pen.line((plot[0], y, plot[2], y), fill="#e8eaef")
        _write(
            pen, (box[0], int(y) - 6), spelled(low + share * (high - low), panel.unit), size=10, fill=FAINT
        )
    for number, (name, series) in enumerate(found):
        colour = COLOURS[number % len(COLOURS)]
        track = [
            (
                plot[0] + (float(t) - first) / max(last - first, 1) * (plot[2] - plot[0]),
                plot[3] - (float(v) - low) / (high - low or 1) * (plot[3] - plot[1]),
            )
            for t, v in series["values"]
            if math.isfinite(float(v))
        ]
        if len(track) > 1:
            pen.line(track, fill=colour, width=2)
        if number < 4:
            told = f"{name}  {spelled(float(series['values'][-1][1]), panel.unit)}"
            _write(
                pen, (plot[0], plot[3] + 6 + 14 * number), told, size=11, fill=colour, width=plot[2] - plot[0]
            )


def _now(pen: ImageDraw.ImageDraw, box: Box, panel: Panel, found: Sequence[tuple[str, float]]) -> None:
    if not found:
        _write(pen, (box[0], box[1]), "no data", size=13, fill=FAINT)
    elif panel.kind == "number":
        text = "   ".join(spelled(value, panel.unit) for _, value in found)
        _write(pen, (box[0], box[1] + 8), text, size=30, fill=COLOURS[0], width=box[2] - box[0])
    else:
        most = max(abs(value) for _, value in found) or 1.0
        for number, (name, value) in enumerate(found[: (box[3] - box[1]) // 20]):
            y = box[1] + 20 * number
            if panel.kind == "bars":
                pen.rectangle((box[0], y, box[0] + (box[2] - box[0]) * value / most, y + 15), fill="#cfe0f7")
            _write(
                pen,
                (box[0] + 3, y + 1),
                f"{name}   {spelled(value, panel.unit)}",
                size=12,
                width=box[2] - box[0],
            )


def spelled(value: float, unit: str) -> str:
    """Return a figure with its unit, short."""
    if unit == "percentunit":
        return f"{100 * value:.3g} %"
    if unit == "s":
        return (
            f"{1000 * value:.3g} ms"
            if abs(value) < 1
            else f"{value:.3g} s"
            if abs(value) < 120
            else f"{value / 60:.3g} min"
        )
    if unit in ("bytes", "Bps"):
        power = min(int(math.log(abs(value), 1024)), 4) if abs(value) >= 1 else 0
        return f"{value / 1024**power:.3g} {('B', 'KiB', 'MiB', 'GiB', 'TiB')[power]}{'/s' if unit == 'Bps' else ''}"
    return f"{value:.4g}" + {"ops": " /s", "reqps": " /s"}.get(unit, "")


def _write(
    pen: ImageDraw.ImageDraw,
    place: tuple[int, int],
    text: str,
    *,
    size: int,
    fill: str = INK,
    width: int | None = None,
) -> None:
    font = ImageFont.load_default(size)
    while width is not None and text and pen.textlength(text, font=font) > width:
        text = text[:-2]
    pen.text(place, text, font=font, fill=fill)
