"""Runs one segment of a trial, up to a rung or to its end, with the same driver as any TrainingJob.

The result is read from the run folder, whoever wrote it: so finished work of other sweeps and jobs is reused.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple
from typing import TYPE_CHECKING, Protocol

from pydantic import ValidationError

from seedbed.driver.driver_state import DriverState, RunRequest
from seedbed.driver.mlflow_run_entry import SweepMembership
from seedbed.driver.output_trust import trust_of
from seedbed.driver.progress_display import ProgressDisplay
from seedbed.driver.resolve_run import ResolvedRun
from seedbed.driver.run_driver import DriverExit, run_job
from seedbed.driver.startup_timings import StartupTimings
from seedbed.mlflow.mlflow_entries import experiment_of
from seedbed.ray_cluster.cluster_interface import Cluster, P, StopRequested, T, WorkerPlacement, WorkerRange
from seedbed.ray_cluster.local_ray import LocalCluster
from seedbed.runs.checkpoint_store import checkpointed_evaluations
from seedbed.runs.evaluation_records import Evaluation, read_evaluations
from seedbed.runs.failed_runs import RunFailure, read_failure, save_failure
from seedbed.runs.own_folders import own_run_folder
from seedbed.runs.result_file import Result
from seedbed.runs.run_folder import RunFolder
from seedbed.runs.sweep_record import add_started_run
from seedbed.search.learning_curve import Failed, Finished, LearningCurve, RunEnd
from seedbed.search.objective_values import objective_of
from seedbed.search.trial_segment import SegmentResult, TrialSegment
from seedbed.sweeps.resolve_sweep import ResolvedSweep, template_field_names, trial_job
from seedbed.training.recipe_mapping import steps_of_epochs
from seedbed.training.run_progress import RunProgress
from seedbed_api.conditions import ExitCode
from seedbed_api.errors import UserError
from seedbed_api.trainingjob import TrainingJob, TrainingJobSpec
from seedbed_api.trial_recipe import trial_recipe

if TYPE_CHECKING:
    from seedbed.training.worker_config import WorkerConfig

TRIAL_FAILURES = frozenset({"ModelError", "NonFiniteLoss", "InvalidSpec", "EmptyClass"})
"""Reasons of errors that the values of a trial cause at every try; all other user errors end the sweep."""

ProgressCallback = Callable[[RunProgress], None]


class SegmentRunner(Protocol):
    """Runs a segment: `run_segment`, or a substitute in benchmarks."""

    def __call__(
        self,
        sweep: ResolvedSweep,
        segment: TrialSegment,
        *,
        stopping: threading.Event,
        tell: ProgressCallback,
    ) -> SegmentResult:
        """Train."""


class InProcessCluster:
    """Runs a trial in the calling process: a single rank needs no Ray Train."""

    def run_task(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call it in this process."""
        return work(*args, **kwargs)

    @contextmanager
    def provision_workers(self, program: WorkerConfig, workers: WorkerRange) -> Iterator[WorkerPlacement]:
        """Yield this process as the only worker."""
        del program, workers
        yield WorkerPlacement(in_process=True, without_ray_train=True)

    def available_ranks(self) -> int:
        """Return 1."""
        return 1


class _ProgressForwarder(ProgressDisplay):
    """Passes the progress of a run to the sweep's display and shows nothing itself."""

    def __init__(self, tell: ProgressCallback) -> None:
        super().__init__(title="", interactive=False)
        self._tell = tell

    def update(self, progress: RunProgress) -> None:
        """Pass the progress on."""
        self._tell(progress)

    def notice(self, text: str) -> None:
        """Do nothing: the sweep sees results and errors."""


def run_segment(
    sweep: ResolvedSweep,
    segment: TrialSegment,
    *,
    stopping: threading.Event,
    tell: ProgressCallback = lambda _progress: None,
    cluster: Cluster | None = None,
) -> SegmentResult:
    """Train a run up to the end of a segment unless it was; on `cluster`, or on this machine without one.

    Raises StopRequested; UserError for what ends the sweep; InfrastructureError for what a retry may mend.
    """
    try:
        recipe = trial_recipe(sweep.spec, segment.values)
        job = _own_where_rungs_decide(sweep, trial_job(sweep.job, recipe, fold=segment.fold))
    except (ValidationError, UserError) as error:
        problem = f"InvalidSpec: {' '.join(str(error).split())}"
        return SegmentResult(curve=LearningCurve(end=Failed(reason="InvalidSpec")), problem=problem)
    known = _known_failure(sweep, job)
    if known is not None:
        return known
    request = RunRequest(
        job=job,
        options=sweep.options,
        display=_ProgressForwarder(tell),
        stopping=stopping,
        cluster=cluster or _cluster(sweep),
        pause_after_epochs=segment.until_epoch,
        wants_report=False,
        member=_membership(sweep, segment),
    )
    add_started_run(sweep.folder(), sweep.run_id(job))
    with template_field_names(sweep.job):
        state = DriverState(request=request, timings=StartupTimings(began=time.time()))
        return _segment_result(sweep, run_job(request, state), segment)


def _own_where_rungs_decide(sweep: ResolvedSweep, job: TrainingJob) -> TrainingJob:
    """Return the job of a trial, which reuses no signed run of others where trials are compared at rungs.

    A signature covers the end of a run, not the evaluations before it, which a neighbour may have changed.
    """
    if sweep.spec.early_stopping is None or trust_of(job.spec.output, sweep.options) != "Signed":
        return job
    output = job.spec.output.model_copy(update={"trust": "Own"})
    return job.model_copy(update={"spec": job.spec.model_copy(update={"output": output})})


def _membership(sweep: ResolvedSweep, segment: TrialSegment) -> SweepMembership:
    return SweepMembership(
        experiment=experiment_of(sweep.job), sweep_id=sweep.identity, trial=segment.trial, fold=segment.fold
    )


def _cluster(sweep: ResolvedSweep) -> Cluster:
    alone = sweep.spec.workers_per_trial == 1 and sweep.spec.cluster.feed != "RayData"
    return InProcessCluster() if alone else LocalCluster()


def _segment_result(sweep: ResolvedSweep, ended: DriverExit, segment: TrialSegment) -> SegmentResult:
    state, end = ended.state, None
    run = state.run
    if ended.error is not None:
        if ended.error.reason not in TRIAL_FAILURES or not isinstance(ended.error, UserError):
            raise ended.error
        end = Failed(reason=ended.error.reason)
        _save_failure(run, ended.error)
    curve = LearningCurve(end=end) if run is None else run_curve(sweep, run, state.result, end=end)
    if ended.exit_code == ExitCode.STOPPED and not curve.has_reached(segment.until_epoch):
        raise StopRequested
    return SegmentResult(
        curve=curve,
        run_id=None if run is None else run.run_id,
        model=ended.status.model,
        steps=state.steps_computed(),
        seconds=sum(sum(astuple(seconds)) for seconds in state.seconds_by_group.values()),
        problem="" if ended.error is None else f"{ended.error.reason}: {ended.error.message}",
    )


def _save_failure(run: ResolvedRun | None, error: UserError) -> None:
    if run is not None:
        problem = f"{error.reason}: {error.message}"
        save_failure(run.folder, RunFailure(reason=error.reason, problem=problem, samples=run.samples))


def _known_failure(sweep: ResolvedSweep, job: TrainingJob) -> SegmentResult | None:
    """Return the stored result of a run that fails by its own values; None where there is none."""
    run_id = sweep.run_id(job)
    folder = own_run_folder(sweep.output_store(), run_id, sweep.owner)
    failure = read_failure(folder)
    if failure is None or failure.reason not in TRIAL_FAILURES:
        return None
    epochs, end = epochs_by_step(job.spec, failure.samples), Failed(reason=failure.reason)
    records = read_evaluations(folder, split="validation")
    curve = _curve(_objectives_by_step(sweep, records), epochs, end)
    return SegmentResult(curve=curve, run_id=run_id, problem=failure.problem)


def run_curve(
    sweep: ResolvedSweep, run: ResolvedRun, result: Result | None, *, end: RunEnd | None = None
) -> LearningCurve:
    """Return the learning curve of a run folder, up to the end of the run if it has ended."""
    values = _objectives_by_step(sweep, _curve_records(run.folder, result, end))
    if result is not None:
        end = Finished(value=values[result.outcome.selected_step])
    return _curve(values, epochs_by_step(run.job.spec, run.samples), end)


def _curve_records(folder: RunFolder, result: Result | None, end: RunEnd | None) -> list[Evaluation]:
    """Return the records of a run that is complete, has just failed, or has paused after a checkpoint."""
    if result is None and end is None:
        return checkpointed_evaluations(folder)
    last = None if result is None else result.outcome.step
    return read_evaluations(folder, split="validation", up_to=last)


def _objectives_by_step(sweep: ResolvedSweep, records: Iterable[Evaluation]) -> dict[int, int]:
    """Return the objective after each step that was evaluated."""
    return {record.step: objective_of(record.document, sweep.spec.objective.metric) for record in records}


def _curve(values: Mapping[int, int], epochs: Mapping[int, int], end: RunEnd | None) -> LearningCurve:
    known = sorted((epochs[step], value) for step, value in values.items() if step in epochs)
    return LearningCurve(values=tuple(known), end=end)


def epochs_by_step(spec: TrainingJobSpec, samples: int) -> dict[int, int]:
    """Return step -> epoch for the last step of each epoch; empty where the recipe counts in steps."""
    training = spec.training
    if training.epochs is None:
        return {}
    return {
        steps_of_epochs(training.batch, epoch, samples=samples): epoch
        for epoch in range(1, training.epochs + 1)
    }
