"""Build `report.html` of a run: one self-contained page without scripts, all texts of users escaped."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from seedbed.report.bottleneck import bottleneck_sentence, time_parts
from seedbed.report.confusion_scores import class_scores, worst_confusions
from seedbed.report.line_chart import Line, Range, line_chart, nice_range, smooth, thin_out
from seedbed.report.page_templates import page_template
from seedbed.report.run_report_data import EvaluationPoint, ReportInputs

MOST_CLASSES_IN_MATRIX = 30
_THUMBNAIL_PIXELS = 112
_UNIT_RANGE = Range(low=0.0, high=1.0, ticks=(0.0, 0.2, 0.4, 0.6, 0.8, 1.0))


def build_report(inputs: ReportInputs) -> str:
    """Return the page as text. Sections without data are left out."""
    return page_template("report.html.j2").render(
        inputs=inputs,
        charts=_charts(inputs),
        confusion=_confusion(inputs),
        score_columns=list(next(iter(inputs.output_scores.values()), {})),
        samples=[(_data_uri(s.pixels_hwc), s) for s in inputs.samples],
        environment_json=json.dumps(inputs.environment, indent=2, ensure_ascii=False)
        if inputs.environment
        else "",
        time=_time(inputs),
    )


def _charts(inputs: ReportInputs) -> list[dict[str, Any]]:
    charts = [_loss_chart(inputs), *_score_charts(inputs.evaluations), _rate_chart(inputs)]
    return [chart for chart in charts if chart["svg"]]


def _loss_chart(inputs: ReportInputs) -> dict[str, Any]:
    losses = inputs.train_losses
    window = max(1, len(losses) // 40)
    lines = [
        Line(label="each step", points=thin_out(losses), style="faint"),
        Line(label=f"mean of {window} steps", points=thin_out(smooth(losses, window=window)), style="line-1"),
        *_evaluation_lines(inputs.evaluations, "loss"),
    ]
    if window == 1:
        lines[:2] = [Line(label="training", points=losses, style="line-1", marked=len(losses) <= 60)]
    return _chart("Loss", lines)


def _score_charts(evaluations: Sequence[EvaluationPoint]) -> list[dict[str, Any]]:
    """Return a chart of each metric besides the loss; those of numbers have no fixed range."""
    names = dict.fromkeys(name for point in evaluations for name in point.scores)
    return [
        _chart(
            _title(name),
            _evaluation_lines(evaluations, name),
            y_range=None if name in {"mae", "rmse", "r2"} else _UNIT_RANGE,
        )
        for name in names
    ]


def _title(name: str) -> str:
    words = name.replace("-", " ")
    return words.upper() if name in {"mae", "rmse", "r2"} else words[:1].upper() + words[1:]


def _rate_chart(inputs: ReportInputs) -> dict[str, Any]:
    points = thin_out(inputs.learning_rates)
    # from zero, so that a constant rate is not on the edge of the chart
    y_range = nice_range(0.0, max((rate for _, rate in points), default=1.0))
    return _chart(
        "Learning rate", [Line(label="learning rate", points=points, style="line-1")], y_range=y_range
    )


def _evaluation_lines(evaluations: Sequence[EvaluationPoint], member: str) -> list[Line]:
    styles = {"validation": "line-2", "test": "line-3"}
    return [
        Line(
            label=split,
            points=[(float(e.step), _figure(e, member)) for e in evaluations if e.split == split],
            style=style,
            marked=True,
        )
        for split, style in styles.items()
        if any(e.split == split for e in evaluations)
    ]


def _figure(point: EvaluationPoint, member: str) -> float:
    return float(point.loss if member == "loss" else point.scores[member])


def _chart(title: str, lines: Sequence[Line], *, y_range: Range | None = None) -> dict[str, Any]:
    svg = line_chart(title, lines, x_label="step", y_range=y_range)
    return {
        "title": title,
        "svg": svg,
        "legend": [(line.label, line.style) for line in lines if len(lines) > 1],
    }


def _confusion(inputs: ReportInputs) -> dict[str, Any] | None:
    counts = inputs.confusion_kk
    if counts is None or not counts.size:
        return None
    rows = np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return {
        "split": inputs.confusion_split,
        "cells": counts.tolist() if len(counts) <= MOST_CLASSES_IN_MATRIX else None,
        "shares": np.round(counts / rows, 3).tolist(),
        "scores": class_scores(counts, inputs.classes),
        "worst": worst_confusions(counts, inputs.classes, most=8),
    }


def _time(inputs: ReportInputs) -> dict[str, Any] | None:
    spent = inputs.time_spent
    if spent is None or not bottleneck_sentence(spent):
        return None
    return {"parts": time_parts(spent), "sentence": bottleneck_sentence(spent)}


def _data_uri(pixels_hwc: npt.NDArray[np.uint8]) -> Markup:
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(pixels_hwc))
    image.thumbnail((_THUMBNAIL_PIXELS, _THUMBNAIL_PIXELS))
    packed = io.BytesIO()
    image.save(packed, "PNG", optimize=True)
    return Markup("data:image/png;base64," + base64.b64encode(packed.getvalue()).decode())
