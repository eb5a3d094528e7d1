"""Verify a receipt: check the stored objects, then recompute a window from the checkpoint before it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from seedbed.arithmetic.subtree_exchange import SingleProcessExchange
from seedbed.driver.resolve_run import ResolvedRun
from seedbed.replay.multiprocess_recomputation import recompute_in_group
from seedbed.replay.receipt_location import LocatedReceipt
from seedbed.replay.recomputation import ProgressCallback, Recomputation, RecomputationTask, recompute
from seedbed.replay.run_differences import Difference
from seedbed.replay.stored_integrity import (
    StoredIntegrity,
    check_stored_objects,
    run_length,
    stored_environment,
)
from seedbed.replay.worker_config_from_receipt import DataSources, resolve_from_receipt, worker_config_from
from seedbed.runs import LedgerReader, check_exactly_once
from seedbed_api.errors import InfrastructureError, UserError, refusal


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """The steps to verify, as completed steps; None is the beginning or the end of the run."""

    first: int | None = None
    last: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class VerificationResult:
    """Result of a verification."""

    first: int
    last: int
    started: int
    """Completed steps of the first checkpoint; 0 means the initial weights."""
    steps: int
    """Number of steps that were recomputed."""
    workers: int
    weights_digest: str
    difference: Difference | None
    compared: tuple[str, ...]
    """Names of the stored objects with which the last state was compared; empty if there were none."""
    leaves: tuple[int, ...]
    """Number of leaves that each worker computed."""
    verified: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    signers: tuple[str, ...] = ()
    """Names of the signers that the policy accepts; empty without a policy."""

    @property
    def reproduced(self) -> bool:
        """Return whether nothing differs and the last state was compared with a stored object."""
        return self.difference is None and bool(self.compared)

    @property
    def result(self) -> str:
        """Return `reproduced`, `differs`, or `unverified` if there was nothing to compare with."""
        if self.difference is not None:
            return "differs"
        return "reproduced" if self.reproduced else "unverified"

    @property
    def sentence(self) -> str:
        """Return the result in one sentence."""
        if self.difference is not None:
            return f"differs: {self.difference.line}"
        begin = f"the checkpoint of step {self.started}" if self.started else "the first weights"
        how = f"{_count(self.steps, 'step')} recomputed from {begin} with {_count(self.workers, 'worker')}"
        window = f"steps {self.first}..{self.last}"
        if not self.reproduced:
            why = "there is no stored object to compare with"
            return f"not verified: {window}: {why}; {how}, weights {self.weights_digest}"
        return f"reproduced: {window}, {how}, weights {self.weights_digest}"

    def document(self) -> dict[str, Any]:
        """Return the result as JSON."""
        return {
            "result": self.result,
            "fromStep": self.first,
            "toStep": self.last,
            "startedFromStep": self.started,
            "stepsRecomputed": self.steps,
            "workers": self.workers,
            "leavesByWorker": list(self.leaves),
            "weightsDigest": self.weights_digest,
            "difference": self.difference.document() if self.difference else None,
            "verified": list(self.verified),
            "missing": list(self.missing),
            "signers": list(self.signers),
        }


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


@dataclass(kw_only=True, slots=True)
class VerificationObserver:
    """Callbacks for the progress of a verification."""

    stored: Callable[[StoredIntegrity | None], None] = field(default=lambda _stored: None)
    """Called after the check of the stored objects."""
    began: Callable[[int, int], None] = field(default=lambda _start, _stop: None)
    """Called with the completed steps before and after the recomputation."""
    step: ProgressCallback = field(default=lambda _completed: None)


def verify(
    located: LocatedReceipt, window: Window, sources: DataSources, observer: VerificationObserver
) -> VerificationResult:
    """Verify a receipt over a window; nothing is written.

    Raises UserError for damage, another dataset, code or environment class.
    """
    decided, folder = located.receipt.decided, located.folder
    first, last = _bounds(window, end=run_length(decided))
    stored = None if folder is None else check_stored_objects(folder, decided)
    observer.stored(stored)
    environment = None if folder is None else stored_environment(folder, decided)
    run = resolve_from_receipt(located.receipt, sources, environment)
    ended_early = run_length(decided) < decided.total_steps
    if stored is not None and stored.whole:
        _check_every_row(stored, run, ended_early=ended_early)
    task = _task(located, run, stored, first=first, last=last, workers=sources.workers)
    observer.began(task.start, task.stop)
    results = _recomputed(task, sources.workers, observer.step)
    return VerificationResult(
        first=first,
        last=last,
        started=task.start,
        steps=results[0].completed - task.start,
        workers=sources.workers,
        weights_digest=results[0].weights_digest,
        difference=results[0].difference,
        compared=results[0].compared,
        leaves=tuple(result.leaves for result in results),
        verified=stored.verified if stored else (),
        missing=stored.missing if stored else (),
    )


def _recomputed(task: RecomputationTask, workers: int, on_progress: ProgressCallback) -> list[Recomputation]:
    if workers == 1:
        return [recompute(task, SingleProcessExchange(), on_progress)]
    return recompute_in_group(task, workers=workers, on_progress=on_progress)


def _bounds(window: Window, *, end: int) -> tuple[int, int]:
    first = 0 if window.first is None else window.first
    last = end if window.last is None else window.last
    if last > end:
        raise _refused("--to-step", last, f"the run had {end} steps", f"use at most {end}")
    if not 0 <= first < last:
        problem = f"must be 0 or more and less than the window's last step {last}"
        raise _refused("--from-step", first, problem, f"use 0 to {last - 1}")
    return first, last


def _refused(option: str, value: int, problem: str, fix: str) -> UserError:
    return UserError("InvalidSpec", refusal(option, value, problem, fix))


def _check_every_row(stored: StoredIntegrity, run: ResolvedRun, *, ended_early: bool) -> None:
    """Check in the stored ledger that each row was consumed exactly once per epoch."""
    stream = worker_config_from(run, workers=1).stream
    rows = run.dataset.view(split="train", subset=stream.subset, fold=stream.fold).row_numbers()
    epochs = None if ended_early else run.job.spec.training.epochs
    try:
        check_exactly_once(
            LedgerReader(folder=stored.folder),
            view_rows=rows,
            total_steps=stored.ledger.stop,
            epochs=epochs,
        )
    except InfrastructureError as error:
        if error.reason not in {"LedgerBroken", "LedgerDamaged"}:
            raise
        raise UserError(error.reason, f"{stored.folder.url}/ledger: {error.message}") from error


def _task(
    located: LocatedReceipt,
    run: ResolvedRun,
    stored: StoredIntegrity | None,
    *,
    first: int,
    last: int,
    workers: int,
) -> RecomputationTask:
    checkpoints = [step for step in stored.checkpoints if step <= first] if stored else []
    start = max(checkpoints, default=0)
    records = stored.evaluations if stored else ()
    lost = any(line.startswith("evaluations/") for line in stored.missing) if stored else False
    return RecomputationTask(
        program=worker_config_from(run, workers=workers),
        decided=located.receipt.decided,
        folder=located.folder,
        start=start,
        stop=last,
        end=run_length(located.receipt.decided),
        evaluations=tuple(e for e in records if e.split == "validation" and e.step <= start),
        scored=start == 0 or not lost,
    )
