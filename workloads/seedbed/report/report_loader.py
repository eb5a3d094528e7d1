"""From a run folder to what a report shows; the driver adds what only it knows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import yaml

from seedbed.arithmetic.learning_rate import LearningRate, learning_rate
from seedbed.environment import environment_class, environment_name
from seedbed.report.attempt_timeline import attempt_rows, read_timeline
from seedbed.report.metric_series import evaluated, losses_of
from seedbed.report.run_report_data import ReportInputs, SamplePrediction
from seedbed.runs.evaluation_records import Evaluation, read_evaluations
from seedbed.runs.run_folder import ENVIRONMENT, RECIPE, RunFolder

MOST_SEGMENTS = 200
"""A ledger of more segments is sampled: a curve needs no more points."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportContext:
    """What the driver knows and the run folder does not say."""

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


def load_report_inputs(folder: RunFolder, known: ReportContext) -> ReportInputs:
    """Return the inputs of the report of a run, finished or not."""
    evaluations = read_evaluations(folder)
    losses = _losses(folder)
    environment = _json(folder, ENVIRONMENT)
    shown = _newest(evaluations)
    story = read_timeline(folder)
    done = max((step for step, _ in losses), default=0)
    return ReportInputs(
        job=known.job,
        state=known.state,
        succeeded=known.succeeded,
        message=known.message,
        created=known.created,
        model=known.model,
        run_id=folder.run_id,
        metrics=_headline(evaluations, done, images_per_second=known.rows_per_step * story.steps_per_second),
        train_losses=losses,
        learning_rates=[(s, learning_rate(known.schedule, s - 1, known.total_steps)) for s in _spread(done)],
        evaluations=[evaluated(record) for record in evaluations if record.document["samples"]],
        classes=known.classes,
        confusion_kk=np.array(shown.document["confusion"], dtype=np.int64) if shown else None,
        confusion_split=shown.split if shown else "",
        samples=known.samples,
        dataset_uri=known.dataset_uri,
        dataset_digest=known.dataset_digest,
        rows_per_split=known.rows_per_split,
        recipe_yaml=yaml.safe_dump(_json(folder, RECIPE), sort_keys=False, allow_unicode=True),
        environment=environment,
        environment_name=environment_name(environment) if environment else "",
        digests=dict(known.digests)
        | ({"Environment class": environment_class(environment)} if environment else {}),
        verify_command=f"seedbed verify {folder.url}/receipt.json" if known.succeeded else "",
        time_spent=story.time_spent,
        attempts=attempt_rows(folder, story),
    )


def _losses(folder: RunFolder) -> list[tuple[int, float]]:
    paths = sorted(folder.objects.list("ledger"), key=_first_step)
    kept = paths[:: max(1, -(-len(paths) // MOST_SEGMENTS))]
    return sorted(losses_of(folder, dict.fromkeys([*kept, *paths[-1:]])).items())


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
    newest = {record.split: evaluated(record) for record in evaluations if record.document["samples"]}
    figures = {
        f"{split} accuracy": f"{newest[split].accuracy:.4f}"
        for split in ("test", "validation")
        if split in newest
    }
    figures |= {
        f"{split} loss": f"{newest[split].loss:.4f}" for split in ("test", "validation") if split in newest
    }
    if images_per_second:
        figures["images per second"] = f"{images_per_second:,.0f}"
    return figures | {"steps": f"{done:,}"}


def _json(folder: RunFolder, path: str) -> dict[str, Any]:
    """Return a document of the folder, {} where a run ended before it was written."""
    try:
        document: dict[str, Any] = json.loads(folder.objects.read(path))
    except FileNotFoundError:
        return {}
    return document
