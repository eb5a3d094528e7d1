"""A run that this driver has claimed: train what is missing, record curves and events, finalize, report."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version

from seedbed.driver.attempt_events import AttemptEvents
from seedbed.driver.curve_store import CurveStore
from seedbed.driver.driver_state import DriverState
from seedbed.driver.finalize_run import ExecutionDetails, finalize_run, user_metrics_of
from seedbed.driver.mlflow_run_entry import end_of, recording_of
from seedbed.driver.progress_display import ProgressSink
from seedbed.driver.resolve_run import ResolvedRun, pause_step, worker_config_of
from seedbed.driver.stored_result import stored_outcome
from seedbed.mlflow.run_recorder import record_run
from seedbed.ray_cluster.cluster_interface import WorkerPlacement
from seedbed.runs.attempt_event_log import PAUSED, STOPPED, TRAINED, AttemptEventLog
from seedbed.runs.checkpoint_store import checkpoint_steps
from seedbed.runs.run_folder import ENVIRONMENT, RECIPE
from seedbed.runs.training_result import RESULT_FILE, TrainingResult, read_training_result
from seedbed.training.run_progress import RunProgress
from seedbed.training.worker_config import WorkerConfig
from seedbed_api.canonical_json import canonical_json
from seedbed_api.errors import InfrastructureError, SeedbedError


class RunCompletion:
    """Trains and completes one run under its lease; `display` shows its progress."""

    def __init__(self, run: ResolvedRun, state: DriverState, display: ProgressSink) -> None:
        self._run, self._state, self._display = run, state, display
        self._request = request = state.request
        self._config = worker_config_of(run, attempt=state.attempt, workers=request.workers)
        self._curves = CurveStore(
            folder=run.folder,
            schedule=self._config.arithmetic.learning_rate,
            total_steps=self._config.schedule.total_steps,
        )
        events = AttemptEventLog(folder=run.folder, attempt=state.attempt)
        self._events = AttemptEvents(events=events, timings=state.timings)
        self._recording = recording_of(run, request.member, display.notice)
        self._stop_announced = False

    def complete(self) -> None:
        """Train, finalize and write the report, and record how this attempt ended."""
        folder, state = self._run.folder, self._state
        folder.publish(RECIPE, canonical_json(self._run.resolved))
        folder.publish(ENVIRONMENT, canonical_json(dict(self._run.environment)))
        with record_run(self._recording, lambda: end_of(state.result)):
            with self._events.recording_the_end(self._end):
                self._train_and_finalize()
            if state.computed_here and self._request.wants_report:
                self._write_report()

    def _end(self) -> str:
        """Return how this attempt ended that did not fail."""
        if self._state.result is not None:
            return TRAINED
        return STOPPED if self._request.stopping.is_set() else PAUSED

    def _train_and_finalize(self) -> None:
        run, state = self._run, self._state
        trained = None
        try:
            trained = stored_outcome(run, self._display.notice) or self._train()
        finally:
            if trained is not None:
                self._curves.join(trained.step, over=True)
            elif state.checkpoint is not None:
                self._curves.join(state.checkpoint.step, over=False)
        if trained is None:
            return
        state.computed_here = True
        if self._recording is not None:
            self._recording.flush()
        measure = user_metrics_of(run, notice=self._display.notice)
        state.result = finalize_run(run, trained, self._execution_details(), measure=measure)

    def _train(self) -> TrainingResult | None:
        """Train to the end, the pause or a stop; return the result of a training that came to its end."""
        # torch and Ray take seconds to import; a complete run is returned without them
        from seedbed.training.model_check import check_model

        request, state = self._request, self._state
        config = replace(self._config, pause_after=pause_step(self._run, request.pause_after_epochs))
        request.cluster.run_task(check_model, config)
        state.timings.mark("ModelChecked")
        with request.cluster.provision_workers(config, request.workers) as placement:
            if not placement.in_process:
                state.timings.mark("RayStarted")
            self._train_while_it_advances(config, placement)
        trained = read_training_result(self._run.folder)
        if trained is None and config.pause_after is None and not request.stopping.is_set():
            line = f"{self._run.folder.url}/{RESULT_FILE}: the training ended, and its result is missing"
            raise InfrastructureError("RunFolderDamaged", line)
        return trained

    def _train_while_it_advances(self, config: WorkerConfig, placement: WorkerPlacement) -> None:
        """Restart a lost group within `backoffLimit`; new checkpoints reset the count."""
        from seedbed.ray_cluster.ray_trainer import train_workers  # see `_train`

        while True:
            newest = checkpoint_steps(self._run.folder)[-1:]
            try:
                train_workers(
                    config,
                    workers=self._request.workers,
                    placement=placement,
                    restarts=self._request.job.spec.backoff_limit,
                    on_progress=self._on_progress,
                    stopping=self._request.stopping,
                )
            except InfrastructureError as error:
                if error.reason != "WorkersLost" or checkpoint_steps(self._run.folder)[-1:] == newest:
                    raise
                self._display.notice(f"{error.message}; continuing, because there are new checkpoints")
            else:
                return

    def _on_progress(self, progress: RunProgress) -> None:
        state, before, checkpoint = self._state, self._state.progress, self._state.checkpoint
        self._announce_stop()
        if state.observe(progress):
            self._announce_group(progress)
        if state.checkpoint is not None and state.checkpoint != checkpoint:
            stored = self._curves.follow(state.checkpoint.step)
            if stored and self._recording is not None:
                self._recording.update()
        if progress != before:
            self._display.update(progress)
            self._events.follow(progress, group=len(state.groups))

    def _announce_stop(self) -> None:
        if self._request.stopping.is_set() and not self._stop_announced:
            self._stop_announced = True
            self._display.notice("stopping after this step; the same command continues")

    def _announce_group(self, progress: RunProgress) -> None:
        workers = "1 worker continues" if progress.workers == 1 else f"{progress.workers} workers continue"
        if progress.resumed_from:
            self._display.notice(f"{workers} from the checkpoint of step {progress.resumed_from}")
        elif len(self._state.groups) > 1:
            self._display.notice(
                f"{workers} from the beginning: a worker was lost before the first checkpoint"
            )

    def _execution_details(self) -> ExecutionDetails:
        return ExecutionDetails(
            started=self._state.started,
            finished=datetime.now(UTC),
            version=version("seedbed"),
            attempt=self._state.attempt,
            workers=tuple(self._state.groups),
        )

    def _write_report(self) -> None:
        """Write the report; the run is complete without it, so an error is shown and not raised."""
        from seedbed.driver.run_report_writer import write_report  # imports torch and jinja2

        result = self._state.result
        assert result is not None
        try:
            write_report(
                self._run, self._config, result, created=self._state.started.strftime("%Y-%m-%d %H:%M UTC")
            )
        except (SeedbedError, ValueError, FileNotFoundError) as error:  # damaged, or removed meanwhile
            self._display.notice(f"no report: {error}")
