"""Metrics of a run by step, from its ledger and evaluations, and their TensorBoard event file.

The values do not depend on the number of workers or on restarts.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from seedbed.arithmetic.learning_rate import LearningRate, learning_rate
from seedbed.report.run_report_data import EvaluationPoint
from seedbed.runs.evaluation_records import Evaluation, read_evaluations
from seedbed.runs.ledger import parse_segment
from seedbed.runs.run_folder import RunFolder
from seedbed.storage.object_limits import LEDGER_SEGMENT
from seedbed_api.metric_values import reported_metrics

_SEGMENT = re.compile(r"ledger/(?P<first>\d+)-(?P<stop>\d+)-[0-9a-f]+\.safetensors")


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricPoint:
    """Metrics after `step` completed steps, by name; every value is finite."""

    step: int
    values: dict[str, float]

    def line(self) -> str:
        """Return the point as a line of JSON; floats are written so that they parse to the same bits."""
        return json.dumps({"step": self.step, **self.values})


def metric_points(
    folder: RunFolder, schedule: LearningRate, *, total_steps: int, after: int, until: int, before: int
) -> Iterator[MetricPoint]:
    """Yield the points of the steps (after, until] and of the evaluations at steps [after, before)."""
    records = [record for record in read_evaluations(folder) if after <= record.step < before]
    found = [_scores(evaluated(record)) for record in records if record.document["samples"]]
    trained = _trained(folder, schedule, total_steps=total_steps, after=after, until=until)
    yield from sorted([*trained, *found], key=lambda point: point.step)


def losses_of(folder: RunFolder, segments: Iterable[str]) -> dict[int, float]:
    """Return the training loss by completed steps, of the named segments of the ledger."""
    losses: dict[int, float] = {}
    for path in segments:
        segment = parse_segment(folder.objects.read(path, LEDGER_SEGMENT))
        losses |= {segment.first + 1 + place: float(loss) for place, loss in enumerate(segment.loss)}
    return losses


def _trained(
    folder: RunFolder, schedule: LearningRate, *, total_steps: int, after: int, until: int
) -> list[MetricPoint]:
    return [
        MetricPoint(step=step, values={"training/loss": loss, "training/learning-rate": rate})
        for step, loss in losses_of(folder, _segments(folder, after, until)).items()
        if after < step <= until
        for rate in [learning_rate(schedule, step - 1, total_steps)]
    ]


def _segments(folder: RunFolder, after: int, until: int) -> Iterator[str]:
    for path in folder.objects.list("ledger"):
        match = _SEGMENT.fullmatch(path)
        if match and int(match["first"]) < until and int(match["stop"]) > after:
            yield path


def evaluated(record: Evaluation) -> EvaluationPoint:
    """Return the metrics of a record with rows, as floats for display."""
    scores = reported_metrics(record.document)
    return EvaluationPoint(step=record.step, split=record.split, loss=scores.pop("loss"), scores=scores)


def _scores(found: EvaluationPoint) -> MetricPoint:
    figures = {"loss": found.loss, **found.scores}
    return MetricPoint(step=found.step, values={f"{found.split}/{name}": figures[name] for name in figures})


def event_file(metric_points: Iterable[MetricPoint]) -> bytes:
    """Return an event file with a scalar for each value of each point."""
    from tensorboardX import SummaryWriter  # imports torch, which takes seconds

    with tempfile.TemporaryDirectory(prefix="seedbed-tensorboard-") as folder:
        with SummaryWriter(folder, write_to_disk=True) as writer:
            for point in metric_points:
                for name, value in point.values.items():
                    writer.add_scalar(name, value, point.step)
        (path,) = Path(folder).iterdir()
        return path.read_bytes()
