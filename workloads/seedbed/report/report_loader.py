"""Load the inputs of a run's report from its run folder and from values of the driver."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from seedbed.arithmetic.learning_rate import LearningRate, learning_rate
from seedbed.environment import environment_class, environment_name
from seedbed.report.attempt_timeline import attempt_rows, read_timeline
from seedbed.report.metric_series import evaluated, losses_of
from seedbed.report.output_scores import output_scores
from seedbed.report.run_report_data import ReportInputs, SamplePrediction
from seedbed.runs.evaluation_records import Evaluation, read_evaluations
from seedbed.runs.run_folder import ENVIRONMENT, RECIPE, RunFolder
from seedbed_api.metric_values import HEADLINE, reported_metrics, task_of

MOST_SEGMENTS = 200
"""Segments that are read at most: a curve needs no more points."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportContext:
    """Values of the driver that are not in the run folder."""

    job: str
    state: str
    succeeded: bool = True
    message: str = ""
    created: str = ""
    model: str = ""
    """Name or entrypoint."""
    schedule: LearningRate
    total_steps: int
    classes: Sequence[str] = ()
    dataset_uri: str = ""
    dataset_digest: str = ""
    rows_per_split: Mapping[str, int] = field(default_factory=dict)
    rows_per_step: int = 0
    digests: Mapping[str, str] = field(default_factory=dict)
    """Weights, Receipt, Ledger chain; the environment class is added."""
    samples: Sequence[SamplePrediction] = ()


def load_report_inputs(folder: RunFolder, context: ReportContext) -> ReportInputs:
    """Return the inputs of the report of a run, finished or not."""
    evaluations = read_evaluations(folder)
    losses = _losses(folder)
    environment = _json(folder, ENVIRONMENT)
    shown = _newest(evaluations)
    timeline, schedule = read_timeline(folder), context.schedule
    images_per_second = context.rows_per_step * timeline.steps_per_second
    done = max((step for step, _ in losses), default=0)
    return ReportInputs(
        job=context.job,
        state=context.state,
        succeeded=context.succeeded,
        message=context.message,
        created=context.created,
        model=context.model,
        run_id=folder.run_id,
        metrics=_headline(evaluations, done, images_per_second=images_per_second),
        train_losses=losses,
        learning_rates=[(s, learning_rate(schedule, s - 1, context.total_steps)) for s in _spread(done)],
        evaluations=[evaluated(record) for record in evaluations if record.document["samples"]],
        classes=context.classes,
        confusion_kk=_confusion(shown),
        output_scores=output_scores(shown.document, context.classes) if shown else {},
        confusion_split=shown.split if shown else "",
        samples=context.samples,
        dataset_uri=context.dataset_uri,
        dataset_digest=context.dataset_digest,
        rows_per_split=context.rows_per_split,
        recipe_yaml=yaml.safe_dump(_json(folder, RECIPE), sort_keys=False, allow_unicode=True),
        environment=environment,
        environment_name=environment_name(environment) if environment else "",
        digests=dict(context.digests)
        | ({"Environment class": environment_class(environment)} if environment else {}),
        verify_command=f"seedbed verify {folder.url}/receipt.json" if context.succeeded else "",
        time_spent=timeline.time_spent,
        attempts=attempt_rows(folder, timeline),
    )


def _confusion(shown: Evaluation | None) -> npt.NDArray[np.int64] | None:
    counts = None if shown is None else shown.document.get("confusion")
    return None if counts is None else np.array(counts, dtype=np.int64)


def _losses(folder: RunFolder) -> list[tuple[int, float]]:
    paths = sorted(folder.objects.list("ledger"), key=_first_step)
    sampled = paths[:: max(1, -(-len(paths) // MOST_SEGMENTS))]
    return sorted(losses_of(folder, dict.fromkeys([*sampled, *paths[-1:]])).items())


def _first_step(path: str) -> int:
    return int(path.removeprefix("ledger/").partition("-")[0])


def _spread(done: int, *, most: int = 400) -> list[int]:
    """Return up to `most` step counts from 1 to `done`, both ends included."""
    if done <= most:
        return list(range(1, done + 1))
    return [1 + round(index * (done - 1) / (most - 1)) for index in range(most)]


def _newest(evaluations: Sequence[Evaluation]) -> Evaluation | None:
    """Return the newest record with rows, test before validation."""
    counted = [record for record in evaluations if record.document["samples"]]
    return max(counted, key=lambda record: (record.split == "test", record.step), default=None)


def _headline(evaluations: Sequence[Evaluation], done: int, *, images_per_second: float) -> dict[str, str]:
    newest = {record.split: record for record in evaluations if record.document["samples"]}
    values = {split: reported_metrics(record.document) for split, record in newest.items()}
    names = HEADLINE[task_of(next(iter(newest.values())).document)] if newest else ()
    figures = {
        f"{split} {name}": f"{values[split][name]:.4f}"
        for name in names
        for split in ("test", "validation")
        if name in values.get(split, {})
    }
    if images_per_second:
        figures["images per second"] = f"{images_per_second:,.0f}"
    return figures | {"steps": f"{done:,}"}


def _json(folder: RunFolder, path: str) -> dict[str, Any]:
    """Return a JSON document of the folder, {} if the run ended before writing it."""
    try:
        document: dict[str, Any] = folder.read_json(path)
    except FileNotFoundError:
        return {}
    return document
