"""Finalize a run whose training has ended: metrics, receipt, result; what is stored already must agree."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from seedbed.arithmetic.arithmetic_config import ARITHMETIC_VERSION
from seedbed.driver.resolve_run import ResolvedRun, model_of
from seedbed.receipts import Decided, Execution, receipt_digest, save_receipt, statement
from seedbed.runs.evaluation_records import Evaluation, read_evaluations
from seedbed.runs.result_file import Result, save_result
from seedbed.runs.training_result import TrainingResult
from seedbed.storage import printable_url
from seedbed.training.evaluation_metrics import Measure, final_metrics
from seedbed_api.errors import UserError
from seedbed_api.timestamps import format_time

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecutionDetails:
    """What happened to be so; never part of what is proved."""

    started: datetime
    finished: datetime
    version: str
    attempt: int
    workers: Sequence[int]
    """Sizes of the worker groups of this attempt."""


def finalize_run(
    run: ResolvedRun, outcome: TrainingResult, execution: ExecutionDetails, *, measure: Measure | None = None
) -> Result:
    """Write receipt and result; a run that another driver concluded must agree."""
    evaluations = read_evaluations(run.folder, up_to=outcome.step)
    figures = final_metrics(evaluations, outcome, measure=measure)
    decided = _decided(run, outcome, evaluations, figures)
    receipt = save_receipt(run.folder, statement(decided, _execution(run, execution)))
    result = Result(
        run_id=run.run_id,
        environment_class=run.environment_class,
        dataset_digest=run.dataset.digest,
        samples=run.samples,
        outcome=outcome,
        receipt_digest=receipt_digest(receipt),
        metrics=figures,
    )
    save_result(run.folder, result, evaluations)
    return result


def _decided(
    run: ResolvedRun,
    outcome: TrainingResult,
    evaluations: Sequence[Evaluation],
    figures: Mapping[str, str],
) -> Decided:
    batch = run.job.spec.training.batch
    code = run.resolved["model"].get("code", {})
    return Decided(
        run_id=run.run_id,
        recipe=run.resolved,
        leaves=batch.leaves,
        leaf_rows=batch.micro_size,
        arithmetic_version=ARITHMETIC_VERSION,
        environment_class=run.environment_class,
        dataset_digest=run.dataset.digest,
        code_digest=code.get("digest"),
        first_weights_digest=None if run.weights is None else run.weights.digest,
        subjects=outcome.files,
        total_steps=outcome.total_steps,
        ledger_chain=outcome.ledger_chain,
        weights_digest=outcome.weights_digest,
        checkpoints=evaluated_weights(evaluations, outcome),
        metrics=dict(figures),
    )


def evaluated_weights(evaluations: Sequence[Evaluation], outcome: TrainingResult) -> list[tuple[int, str]]:
    """Return (completed steps, weights) where the recipe evaluates, and the end: no cadence."""
    weights = {e.step: str(e.document["weightsDigest"]) for e in evaluations if e.split == "validation"}
    weights.setdefault(outcome.selected_step, outcome.weights_digest)
    return sorted(weights.items())


def _execution(run: ResolvedRun, execution: ExecutionDetails) -> Execution:
    return Execution(
        started_on=format_time(execution.started),
        finished_on=format_time(execution.finished),
        version=execution.version,
        attempts=execution.attempt,
        workers=execution.workers,
        dataset_uri=run.dataset.storage.url,
        weights_uri=None if run.weights is None else printable_url(run.weights.uri),
        weights_run=None if run.weights is None else run.weights.run,
    )


def user_metrics_of(run: ResolvedRun, *, notice: Callable[[str], None]) -> Measure | None:
    """Return the metrics of the user's code, None without such code.

    They were tried before the training. Metrics that fail all the same are left out with a notice, because
    the trained model is worth more.
    """
    source = model_of(run)
    if source.external is None:
        return None
    # imports torch, which a run without user code does not need at its end
    from seedbed.usercode.custom_metrics import measure
    from seedbed.usercode.entrypoint_loader import load_entrypoint

    user = load_entrypoint(source.external, source.args, source.code)

    def measured(confusion_kk: npt.NDArray[np.int64]) -> Mapping[str, float]:
        try:
            return measure(user, confusion_kk)
        except UserError as error:
            notice(f"your metrics are left out: {error.message}")
            return {}

    return measured
