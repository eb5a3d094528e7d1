"""Whether what is stored may stand for a run: result, receipt, model files and evaluations must agree.

Each is compared with what the manifest gives and with the others, and files are hashed as they are now. One
forged object is found; whoever forges all of them consistently is not: that is what `output.trust` is for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from seedbed.arithmetic.arithmetic_config import ARITHMETIC_VERSION
from seedbed.driver.finalize_run import evaluated_weights
from seedbed.driver.resolve_run import ResolvedRun, worker_config_of
from seedbed.ray_cluster.cluster_interface import WorkerRange
from seedbed.receipts import Decided, read_receipt, receipt_digest
from seedbed.runs.checkpoint_store import CheckpointRecord, DamagedCheckpoint, read_record
from seedbed.runs.evaluation_records import (
    Evaluation,
    evaluation_path,
    evaluations_digest,
    read_evaluations,
)
from seedbed.runs.model_files import CONFIG, WEIGHTS, model_weights_digest
from seedbed.runs.owner_records import NO_OWNER_RECORD
from seedbed.runs.result_file import OWNER_KIND, Result, result_digest
from seedbed.runs.run_folder import RECEIPT, RESULT, RunFolder
from seedbed.runs.training_result import RESULT_FILE, RESULT_KIND, TrainingResult
from seedbed.storage import DamagedObject, OversizedObject
from seedbed.storage.object_limits import DOCUMENT, TENSORS
from seedbed.training.early_stopping import best_score, should_stop
from seedbed.training.evaluation_metrics import final_metrics, scores_of
from seedbed.training.exported_config import model_config_document
from seedbed.training.worker_config import WorkerConfig
from seedbed_api.canonical_json import canonical_json, digest_of
from seedbed_api.errors import InfrastructureError, UserError

_STRUCTURE = (KeyError, TypeError, IndexError, ValueError, AttributeError)


@dataclass(kw_only=True, eq=False)
class DisagreementError(Exception):
    """A stored object is not what this run would have written."""

    path: str
    problem: str
    also: tuple[str, ...] = ()
    """Further objects that must be computed again."""

    @property
    def paths(self) -> tuple[str, ...]:
        """Return all objects that are not used; a path that ends in / is shown alone."""
        return tuple(path for path in (self.path, *self.also) if not path.endswith("/"))

    def message(self, folder: RunFolder) -> str:
        """Return the line that names the object and what is wrong with it."""
        return f"{folder.url}/{self.path}: {self.problem}"


def require_result(run: ResolvedRun, result: Result) -> None:
    """Raise DisagreementError naming the first stored object that does not belong to the run."""
    try:
        _require_identity(run, result)
        evaluations = read_evaluations(run.folder, up_to=result.outcome.step)
        if not run.folder.believes(OWNER_KIND, result_digest(result, evaluations)):
            raise DisagreementError(path=RESULT, problem=NO_OWNER_RECORD, also=_test_records(run.folder))
        decided = _require_receipt(run, result)
        _require_end(run.folder, config_of(run), result.outcome, evaluations, RESULT)
        _require_same_end(decided, result, evaluations)
        _require_metrics(result, evaluations)
    except _STRUCTURE as error:
        raise DisagreementError(path=RESULT, problem=f"{type(error).__name__}: {error}") from error


def require_outcome(run: ResolvedRun, outcome: TrainingResult) -> None:
    """Raise DisagreementError where the end of the training does not follow from the stored objects."""
    try:
        config = config_of(run)
        if not run.folder.believes(RESULT_KIND, digest_of(outcome.to_bytes())):
            raise DisagreementError(path=RESULT_FILE, problem=NO_OWNER_RECORD)
        _require_end(run.folder, config, outcome, _evaluations(run.folder, outcome.step), RESULT_FILE)
    except _STRUCTURE as error:
        raise DisagreementError(path=RESULT_FILE, problem=f"{type(error).__name__}: {error}") from error


def config_of(run: ResolvedRun) -> WorkerConfig:
    """Return the configuration of a run, of which attempt and workers do not matter here."""
    return worker_config_of(run, attempt=0, workers=WorkerRange(least=1, most=1))


def _test_records(folder: RunFolder) -> tuple[str, ...]:
    """Return the evaluations of test rows, which no checkpoint has a digest over."""
    prefix = evaluation_path("test", 0).removesuffix("0.json")
    return tuple(path for path in folder.objects.list("evaluations") if path.startswith(prefix))


def _require_identity(run: ResolvedRun, result: Result) -> None:
    expected = {
        "run_id": run.run_id,
        "environment_class": run.environment_class,
        "dataset_digest": run.dataset.digest,
        "samples": run.samples,
    }
    _require_equal(RESULT, expected, {name: getattr(result, name) for name in expected})


def _require_receipt(run: ResolvedRun, result: Result) -> Decided:
    """Return what the receipt says, where it is the receipt of this run and of this result."""
    try:
        receipt = read_receipt(run.folder.objects)
    except UserError as error:
        raise DisagreementError(path=RECEIPT, problem=f"{error.reason}: {error.message}") from error
    batch, decided = run.job.spec.training.batch, receipt.decided
    expected = {
        "run_id": run.run_id,
        "recipe": run.resolved,
        "environment_class": run.environment_class,
        "arithmetic_version": ARITHMETIC_VERSION,
        "dataset_digest": run.dataset.digest,
        "code_digest": run.resolved["model"].get("code", {}).get("digest"),
        "first_weights_digest": None if run.weights is None else run.weights.digest,
        "leaves": batch.leaves,
        "leaf_rows": batch.micro_size,
    }
    _require_equal(RECEIPT, expected, {name: getattr(decided, name) for name in expected})
    if receipt_digest(receipt) != result.receipt_digest:
        raise DisagreementError(path=RECEIPT, problem=f"its digest is not the one in {RESULT}")
    return decided


def _require_same_end(decided: Decided, result: Result, evaluations: Sequence[Evaluation]) -> None:
    outcome = result.outcome
    expected = {
        "subjects": outcome.files,
        "total_steps": outcome.total_steps,
        "ledger_chain": outcome.ledger_chain,
        "weights_digest": outcome.weights_digest,
        "metrics": result.metrics,
    }
    found = {name: getattr(decided, name) for name in expected}
    _require_equal(RECEIPT, expected, {name: _plain(value) for name, value in found.items()})
    if list(decided.checkpoints) != evaluated_weights(evaluations, outcome):
        raise DisagreementError(path=RECEIPT, problem="its checkpoints are not those that were evaluated")


def _require_end(
    folder: RunFolder,
    config: WorkerConfig,
    outcome: TrainingResult,
    evaluations: Sequence[Evaluation],
    named: str,
) -> None:
    """Compare where the training ended with recipe, evaluations, newest checkpoint and model files.

    `named` is the object that holds the outcome.
    """
    _require_checkpoint(folder, outcome, evaluations, named)
    ending = _ending(config, evaluations, outcome)
    _require_equal(named, ending, {name: getattr(outcome, name) for name in ending})
    _require_files(folder, config, outcome, named)


def _ending(
    config: WorkerConfig, evaluations: Iterable[Evaluation], outcome: TrainingResult
) -> dict[str, object]:
    """Return where a training with these evaluations ends, and which weights are its model."""
    rule, total = config.early_stopping, config.schedule.total_steps
    metric, maximize = config.selection_metric
    scores = scores_of(evaluations, metric)
    stopped = rule is not None and should_stop(rule, scores) and scores[-1].completed == outcome.step
    step = outcome.step if stopped else total
    selected = best_score(scores, maximize=maximize).completed if config.select_best and scores else step
    return {
        "total_steps": total,
        "step": step,
        "selected_step": selected,
        "trajectory_id": config.trajectory_id(selected),
    }


def _evaluations(folder: RunFolder, step: int) -> list[Evaluation]:
    try:
        return read_evaluations(folder, up_to=step)
    except InfrastructureError as error:
        if error.reason != "RunFolderDamaged":
            raise
        raise DisagreementError(
            path=error.message.removeprefix(f"{folder.url}/").partition(":")[0],
            problem=error.message.rpartition(": ")[2],
        ) from error


def _require_checkpoint(
    folder: RunFolder, outcome: TrainingResult, evaluations: Iterable[Evaluation], named: str
) -> None:
    """Compare with the last checkpoint, if it is kept: it has a digest over all validation records."""
    record = _kept_record(folder, outcome.step)
    if record is None:
        return
    if evaluations_digest(evaluations, up_to=outcome.step) != record.evaluations_digest:
        changed = tuple(evaluation_path(e.split, e.step) for e in evaluations if e.split == "validation")
        problem = f"a record up to step {outcome.step} is missing or another one"
        raise DisagreementError(path="evaluations/", problem=problem, also=changed)
    if record.ledger_chain != outcome.ledger_chain:
        raise DisagreementError(path=named, problem="its ledger chain is not that of the last checkpoint")
    selected = (
        record if outcome.selected_step == outcome.step else _kept_record(folder, outcome.selected_step)
    )
    if selected is not None and selected.weights_digest != outcome.weights_digest:
        raise DisagreementError(path=named, problem="its weights are not those of the selected checkpoint")


def _kept_record(folder: RunFolder, step: int) -> CheckpointRecord | None:
    try:
        return read_record(folder, step)
    except DamagedCheckpoint:
        return None


def _require_files(folder: RunFolder, config: WorkerConfig, outcome: TrainingResult, named: str) -> None:
    """Hash the model files as they are now."""
    if outcome.files.keys() != {WEIGHTS, CONFIG}:
        raise DisagreementError(path=named, problem=f"it lists {sorted(outcome.files)} as the model")
    for path, digest in sorted(outcome.files.items()):
        data = _read_file(folder, path)
        if sha256(data).hexdigest() != digest:
            raise DisagreementError(path=path, problem="its sha256 is not the one that was stored with it")
        if path == WEIGHTS and model_weights_digest(data) != outcome.weights_digest:
            raise DisagreementError(
                path=path, problem="its weights digest is not that of the run", also=(named,)
            )
        if path == CONFIG and data != canonical_json(model_config_document(config)):
            raise DisagreementError(path=path, problem="it is not what the recipe gives", also=(named,))


def _read_file(folder: RunFolder, path: str) -> bytes:
    try:
        return folder.objects.read(path, TENSORS if path == WEIGHTS else DOCUMENT)
    except FileNotFoundError as error:
        raise DisagreementError(path=path, problem="it is missing") from error
    except DamagedObject as error:
        raise DisagreementError(path=path, problem=error.strerror or "the store finds it damaged") from error
    except OversizedObject as error:
        raise DisagreementError(path=path, problem=error.problem) from error


def _require_metrics(result: Result, evaluations: Iterable[Evaluation]) -> None:
    """Raise DisagreementError where loss or accuracy are not those of the stored evaluations.

    Metrics of the user's code are compared with the receipt alone: they need the code.
    """
    found = final_metrics(evaluations, result.outcome)
    for name in sorted(
        found.keys() | {name for name in result.metrics if name.rpartition("/")[2] in {"loss", "accuracy"}}
    ):
        if found.get(name) != result.metrics.get(name):
            splits = (("validation", result.outcome.selected_step), ("test", result.outcome.step))
            also = tuple(evaluation_path(split, step) for split, step in splits if name.startswith("test"))
            raise DisagreementError(
                path=RESULT, problem=f"{name} is not what the evaluations give", also=also
            )
    if not all(math.isfinite(float(value)) for value in result.metrics.values()):
        raise DisagreementError(path=RESULT, problem="a metric is no finite number")


def _require_equal(path: str, expected: Mapping[str, object], found: Mapping[str, object]) -> None:
    for name, value in expected.items():
        if found[name] != value:
            raise DisagreementError(path=path, problem=f"its {name.replace('_', ' ')} is another one")


def _plain(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else value
