"""Runs trial segments side by side on Ray Tune: searcher, scheduler, stopper and trainable.

A trial of Tune is one segment of a run: from its newest checkpoint to its next rung or its end. So Tune
neither waits nor stores anything, and a lost actor costs the steps since its last checkpoint. Tune's names
of trials are random; nothing is derived from them. Imported only where a sweep runs on Ray.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import ray
from ray import tune
from ray.exceptions import OutOfMemoryError
from ray.tune import Trainable
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher
from ray.tune.stopper import Stopper

from seedbed.ray_cluster.cluster_interface import StopRequested
from seedbed.search.trial_segment import TrialSegment
from seedbed.startup.import_path import extend_import_path
from seedbed.sweeps.resolve_sweep import ResolvedSweep
from seedbed.sweeps.sweep_display import SweepDisplay
from seedbed.sweeps.trial_runner import SegmentRunner, run_segment
from seedbed.sweeps.trial_scheduler import SegmentReport, SweepState, TrialScheduler
from seedbed.training.run_progress import RunProgress
from seedbed_api.conditions import ExitCode
from seedbed_api.errors import InfrastructureError, SeedbedError

TUNE_ENVIRONMENT = {
    "TUNE_RESULT_BUFFER_LENGTH": "1",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # the state of the experiment: ours is in the output store
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",
    "RAY_AIR_NEW_OUTPUT": "0",
}
_MAX_SAMPLES = 10**9
"""No limit: the searcher says when it has finished."""
_TICK_SECONDS = 0.5
"""Time between two results of a trainable."""
_SEGMENT, _REPORT, _PROGRESS, _HUNG = "segment", "report", "progress", "hung"
_T = TypeVar("_T")


def run_on_tune(
    state: SweepState,
    *,
    slots: int,
    stopping: threading.Event,
    display: SweepDisplay,
    runner: SegmentRunner = run_segment,
    resources: Mapping[str, float] | None = None,
) -> None:
    """Train up to `slots` runs at a time until the search has ended; Ray must run.

    `resources` of one run are given where machines come and go: then as many runs train as fit.
    Raises StopRequested, and the error of a run that ends the sweep.
    """
    os.environ.update(TUNE_ENVIRONMENT)
    scheduler = TrialScheduler(state=state, stopping=stopping, display=display)
    if resources is None:
        # All machines are there. With a custom searcher Tune would start one actor after the other; one more
        # pending trial gives a free actor its next segment at once.
        scheduler.max_running = slots + 1
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(scheduler.max_running)
    callbacks = CallbackErrors(scheduler)
    with _scratch_folder() as folder:
        resources = resources or resources_per_trial(_cluster_resources(), slots=slots)
        _run_tune(state.sweep, callbacks, resources=resources, folder=folder, runner=runner)
    callbacks.raise_error()
    if state.search.ended is None:
        assert stopping.is_set(), "Ray Tune ended before the search did"
        raise StopRequested


def _cluster_resources() -> dict[str, float]:
    there: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return there


def _run_tune(
    sweep: ResolvedSweep,
    callbacks: CallbackErrors,
    *,
    resources: Mapping[str, float],
    folder: str,
    runner: SegmentRunner,
) -> None:
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # the display shows what matters
    given = {"sweep": sweep, "runner": runner, "modules": list(sys.path)}
    with_sweep = tune.with_parameters(SegmentTrainable, **given)
    trainable = tune.with_resources(with_sweep, dict(resources))
    tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=SegmentSearcher(callbacks),
            scheduler=LowestFirstScheduler(callbacks),
            num_samples=_MAX_SAMPLES,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: str(trial.trial_id),
        ),
        run_config=tune.RunConfig(
            name="sweep",
            storage_path=folder,
            stop=SegmentStopper(callbacks),
            # the run folder holds the checkpoints
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            verbose=0,
        ),
    ).fit()


def resources_per_trial(there: Mapping[str, float], *, slots: int) -> dict[str, float]:
    """Return the resources of one run, so that exactly `slots` runs fit into the cluster.

    A run takes at most one GPU; with fewer GPUs than slots several runs share one.
    """
    shares = {"CPU": int(1000 * there.get("CPU", 1.0) / slots) / 1000}
    if there.get("GPU"):
        shares["GPU"] = min(1.0, int(1000 * there["GPU"] / slots) / 1000)
    return shares


@contextmanager
def _scratch_folder() -> Iterator[str]:
    """Yield a temporary folder: Ray Tune needs one, and nothing of it is used."""
    folder = tempfile.mkdtemp(prefix="seedbed-tune-")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class CallbackErrors:
    """Holds the first exception of a callback: Tune would count it as a failure of the trial."""

    def __init__(self, scheduler: TrialScheduler) -> None:
        self.scheduler = scheduler
        self._error: Exception | None = None

    def __getstate__(self) -> dict[str, object]:
        """Return nothing: Tune stores its searcher, and nobody reads it."""
        return {}

    @property
    def done(self) -> bool:
        """Say whether Tune is to end."""
        return self._error is not None or self.scheduler.done

    def call(self, method: Callable[..., _T], *arguments: Any, otherwise: _T) -> _T:
        """Call a method of the scheduler; an exception ends Tune and is raised by `raise_error`."""
        try:
            return method(*arguments)
        except Exception as error:
            self._error = self._error or error
            return otherwise

    def raise_error(self) -> None:
        """Raise the error that ended the sweep early."""
        error = self._error or self.scheduler.error
        if error is not None:
            raise error


class SegmentSearcher(Searcher):
    """Gives Tune the next segment and passes results to the scheduler."""

    def __init__(self, callbacks: CallbackErrors) -> None:
        super().__init__()
        self._callbacks = callbacks

    def suggest(self, trial_id: str) -> Any:
        """Return the next segment; None where Tune is to ask again."""
        if self._callbacks.done:
            return Searcher.FINISHED
        segment = self._callbacks.call(self._callbacks.scheduler.next_segment, trial_id, otherwise=None)
        return None if segment is None else {_SEGMENT: segment}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Pass on progress and hangs."""
        if _HUNG in result:
            self._callbacks.call(self._callbacks.scheduler.report_hang, trial_id, otherwise=None)
        progress = result.get(_PROGRESS)
        if progress is not None:
            self._callbacks.call(
                self._callbacks.scheduler.report_progress, trial_id, progress, otherwise=None
            )

    def on_trial_complete(
        self,
        trial_id: str,
        result: dict[str, Any] | None = None,
        error: bool = False,
    ) -> None:
        """Pass on the report; `LowestFirstScheduler` has reported a lost actor before."""
        del error
        report: SegmentReport = (result or {}).get(_REPORT)
        self._callbacks.call(self._callbacks.scheduler.report_result, trial_id, report, otherwise=None)

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the output store has all state."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: the output store has all state."""


class LowestFirstScheduler(FIFOScheduler):
    """Starts segments in the order of the searcher: the lowest trial first."""

    def __init__(self, callbacks: CallbackErrors) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._callbacks = callbacks

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """Return a trial that waits for an actor, of the live ones: there may be thousands of others."""
        waiting = (trial for trial in tune_controller.get_live_trials() if trial.status == Trial.PENDING)
        return next(waiting, None)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """Report a lost actor, and why it was lost."""
        del tune_controller
        error = lost_actor_error(trial.get_pickled_error())
        self._callbacks.call(self._callbacks.scheduler.report_result, trial.trial_id, error, otherwise=None)


class SegmentStopper(Stopper):
    """Stops obsolete segments, and all segments at the end of the sweep."""

    def __init__(self, callbacks: CallbackErrors) -> None:
        self._callbacks = callbacks

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Say whether a segment is to stop."""
        if _REPORT in result:
            return True
        return self._callbacks.call(self._callbacks.scheduler.is_obsolete, trial_id, otherwise=True)

    def stop_all(self) -> bool:
        """Say whether Tune is to stop."""
        return self._callbacks.done


class SegmentTrainable(Trainable):
    """The actor: trains one segment after the other, in a thread, so that it can be stopped."""

    _thread: threading.Thread
    _moved: float
    """Time of the newest progress, by the monotonic clock."""
    _hung: bool

    def setup(
        self,
        config: dict[str, Any],
        sweep: ResolvedSweep | None = None,
        runner: SegmentRunner = run_segment,
        modules: Sequence[str] = (),
    ) -> None:
        """Start the first segment; `modules` is the import path of the driver."""
        extend_import_path(modules)
        assert sweep is not None, "Tune passes it on"
        self._sweep = sweep
        self._runner = runner
        self._start(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start another segment when the one before has ended."""
        self.cleanup()
        self._start(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Return the report of the segment, or its progress; end the process after a hang was reported."""
        if self._hung:
            os._exit(ExitCode.INFRASTRUCTURE)
        self._thread.join(_TICK_SECONDS)
        if not self._thread.is_alive():
            return {_REPORT: self._report, "done": True}
        self._hung = self._is_hung()
        result: dict[str, Any] = {_HUNG: True} if self._hung else {}
        return result if self._progress is None else result | {_PROGRESS: self._progress}

    def _is_hung(self) -> bool:
        spec = self._sweep.spec
        began = self._progress is not None
        patience = spec.progress_deadline_seconds if began else spec.pre_running_deadline_seconds
        return time.monotonic() - self._moved > patience

    def cleanup(self) -> None:
        """Stop the segment after its step; its state is saved."""
        self._stopping.set()
        self._thread.join()

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any] | None:
        """Do nothing: the run folder has the checkpoints."""
        del checkpoint_dir
        return {}

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Do nothing: the run folder has the checkpoints."""

    def _start(self, config: dict[str, Any]) -> None:
        self._stopping = threading.Event()
        self._progress: RunProgress | None = None
        self._report: SegmentReport = None
        self._moved, self._hung = time.monotonic(), False
        self._thread = threading.Thread(
            target=self._train, args=(config[_SEGMENT],), name="trial", daemon=True
        )
        self._thread.start()

    def _train(self, segment: TrialSegment) -> None:
        try:
            self._report = self._runner(self._sweep, segment, stopping=self._stopping, tell=self._note)
        except StopRequested:
            self._report = None
        except SeedbedError as error:
            self._report = error
        except Exception as error:
            self._report = InfrastructureError("DriverCrashed", f"{type(error).__name__}: {error}")

    def _note(self, progress: RunProgress) -> None:
        if progress != self._progress:
            self._progress, self._moved = progress, time.monotonic()


def lost_actor_error(error: Exception | None) -> InfrastructureError:
    """Return the error of a lost actor: Ray's message without its guesses about the cause."""
    line = " ".join(str(error).split()) if error else "no detail given"
    detail = line.partition("Worker exit detail: ")[2].partition(". ")[0] or line[:200]
    reason = "OutOfMemory" if isinstance(error, OutOfMemoryError) else "WorkersLost"
    return InfrastructureError(reason, f"its process was lost: {detail}")
