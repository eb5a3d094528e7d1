"""Trials side by side on Ray Tune: its searcher asks what comes next, its actors train, the search decides.

A trial of Tune is one stretch of a run: from its newest checkpoint to its next rung, or to its end. So
nothing waits inside of Tune, nothing is kept there, and an actor that is lost costs the steps since its
last checkpoint.
"""

from __future__ import annotations

import logging
import os
import pickle
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
from seedbed.startup.import_path import look_where
from seedbed.sweeps.resolve_sweep import Sweep
from seedbed.sweeps.sweep_display import SweepDisplay
from seedbed.sweeps.trial_runner import Stretch, Training, advance
from seedbed.sweeps.trial_scheduler import Answer, Conducting, Standing
from seedbed.training.run_progress import RunProgress
from seedbed_api.conditions import ExitCode
from seedbed_api.errors import InfrastructureError, SeedbedError

SETTINGS = {
    "TUNE_RESULT_BUFFER_LENGTH": "1",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # Tune's own record of the experiment: ours is the output store
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",
    "RAY_AIR_NEW_OUTPUT": "0",
}
_EVERY = 10**9
"""As many samples as the searcher has."""
_TICK_SECONDS = 0.5
"""Between two words of an actor that trains."""
_STRETCH, _ANSWER, _PROGRESS, _HUNG = "stretch", "answer", "progress", "hung"
_T = TypeVar("_T")


def run_on_tune(
    standing: Standing,
    *,
    slots: int,
    stopping: threading.Event,
    display: SweepDisplay,
    training: Training = advance,
    share: Mapping[str, float] | None = None,
) -> None:
    """Train up to `slots` runs at a time until the search has ended; Ray must run.

    With a `share`, what each run takes of machines that come and go, as many train as these hold.
    Raises StopRequested, and the failure of a run that ends the sweep.
    """
    os.environ.update(SETTINGS)
    conducting = Conducting(standing=standing, stopping=stopping, display=display)
    if share is None:
        # all machines are there. With a searcher of one's own Tune would start one actor after the other; an
        # actor that becomes free has its next stretch at once
        conducting.most = slots + 1
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(conducting.most)
    guard = Guard(conducting)
    with _scratch() as folder:
        share = share or share_of(_there(), slots=slots)
        _tune(standing.sweep, guard, share=share, folder=folder, training=training)
    guard.raise_what_broke()
    if standing.search.ended is None:
        assert stopping.is_set(), "Ray Tune ended before the search did"
        raise StopRequested


def _there() -> dict[str, float]:
    there: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return there


def _tune(sweep: Sweep, guard: Guard, *, share: Mapping[str, float], folder: str, training: Training) -> None:
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # what matters is told by the display
    given = {"sweep": pickle.dumps(sweep), "training": training, "modules": list(sys.path)}
    with_sweep = tune.with_parameters(RunTrial, **given)
    trainable = tune.with_resources(with_sweep, dict(share))
    tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=Asking(guard),
            scheduler=LowestFirst(guard),
            num_samples=_EVERY,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: str(trial.trial_id),
        ),
        run_config=tune.RunConfig(
            name="sweep",
            storage_path=folder,
            stop=Until(guard),
            # the run folder holds the checkpoints
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            verbose=0,
        ),
    ).fit()


def share_of(there: Mapping[str, float], *, slots: int) -> dict[str, float]:
    """Return what each run takes of a Ray, so that as many as there are slots fit, and not one more.

    A run never takes more than one GPU; where there are fewer than slots, several share one.
    """
    shares = {"CPU": int(1000 * there.get("CPU", 1.0) / slots) / 1000}
    if there.get("GPU"):
        shares["GPU"] = min(1.0, int(1000 * there["GPU"] / slots) / 1000)
    return shares


@contextmanager
def _scratch() -> Iterator[str]:
    """Ray Tune wants a folder of its own; nothing that matters is kept there."""
    folder = tempfile.mkdtemp(prefix="seedbed-tune-")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Guard:
    """Keeps what breaks inside of Tune's callbacks, which would take it for the trial's own trouble."""

    def __init__(self, conducting: Conducting) -> None:
        self.conducting = conducting
        self._defect: Exception | None = None

    def __getstate__(self) -> dict[str, object]:
        """Keep nothing: Tune writes its searcher down, and nobody reads it back."""
        return {}

    @property
    def over(self) -> bool:
        """Say whether Tune is to end."""
        return self._defect is not None or self.conducting.over

    def ask(self, question: Callable[..., _T], *arguments: Any, otherwise: _T) -> _T:
        """Call the conducting; a defect ends everything, and is raised when Tune has ended."""
        try:
            return question(*arguments)
        except Exception as error:
            self._defect = self._defect or error
            return otherwise

    def raise_what_broke(self) -> None:
        """Raise what ended the sweep before its time."""
        broken = self._defect or self.conducting.broken
        if broken is not None:
            raise broken


class Asking(Searcher):
    """Hands out what comes next, and takes in what came of it."""

    def __init__(self, guard: Guard) -> None:
        super().__init__()
        self._guard = guard

    def suggest(self, trial_id: str) -> Any:
        """Return the next stretch; None where Tune is to ask again."""
        if self._guard.over:
            return Searcher.FINISHED
        stretch = self._guard.ask(self._guard.conducting.next, trial_id, otherwise=None)
        return None if stretch is None else {_STRETCH: pickle.dumps(stretch)}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Show how far a run is, and note that it does not move."""
        if _HUNG in result:
            self._guard.ask(self._guard.conducting.note_hang, trial_id, otherwise=None)
        progress = result.get(_PROGRESS)
        if progress is not None:
            self._guard.ask(self._guard.conducting.tell, trial_id, pickle.loads(progress), otherwise=None)

    def on_trial_complete(
        self,
        trial_id: str,
        result: dict[str, Any] | None = None,
        error: bool = False,
    ) -> None:
        """Take in the answer; a lost actor was told of by the scheduler."""
        del error
        answer = (result or {}).get(_ANSWER)
        told: Answer = None if answer is None else pickle.loads(answer)
        self._guard.ask(self._guard.conducting.answered, trial_id, told, otherwise=None)

    def save(self, checkpoint_path: str) -> None:
        """Keep nothing: the output store does."""

    def restore(self, checkpoint_path: str) -> None:
        """Keep nothing: the output store does."""


class LowestFirst(FIFOScheduler):
    """Starts what was asked for, in that order; the search has put the lowest trial first."""

    def __init__(self, guard: Guard) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._guard = guard

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """Return a trial that waits for an actor; looking at live ones alone, of thousands that were."""
        waiting = (trial for trial in tune_controller.get_live_trials() if trial.status == Trial.PENDING)
        return next(waiting, None)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """Take in that an actor is lost, and why."""
        del tune_controller
        error = why_lost(trial.get_pickled_error())
        self._guard.ask(self._guard.conducting.answered, trial.trial_id, error, otherwise=None)


class Until(Stopper):
    """Ends runs that decide nothing any more, and all of them when the sweep is over."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Say whether a run that is under way is to end."""
        if _ANSWER in result:
            return True
        return self._guard.ask(self._guard.conducting.in_vain, trial_id, otherwise=True)

    def stop_all(self) -> bool:
        """Say whether Tune is to end."""
        return self._guard.over


class RunTrial(Trainable):
    """The actor: trains one stretch after the other, in a thread, so that it can be told to stop."""

    _thread: threading.Thread
    _moved: float
    """When the run last went on, by the monotonic clock."""
    _hung: bool

    def setup(
        self,
        config: dict[str, Any],
        sweep: bytes = b"",
        training: Training = advance,
        modules: Sequence[str] = (),
    ) -> None:
        """Begin the first stretch; `modules` is where the driver looks for them."""
        look_where(modules)
        self._sweep: Sweep = pickle.loads(sweep)
        self._training = training
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Begin another stretch, when the one before has ended."""
        self.cleanup()
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Return the answer when it is there, else how far the run is; a hang is told of, then ended."""
        if self._hung:
            os._exit(ExitCode.INFRASTRUCTURE)
        self._thread.join(_TICK_SECONDS)
        if not self._thread.is_alive():
            return {_ANSWER: pickle.dumps(self._answer), "done": True}
        self._hung = self._is_hung()
        told: dict[str, Any] = {_HUNG: True} if self._hung else {}
        return told if self._progress is None else told | {_PROGRESS: pickle.dumps(self._progress)}

    def _is_hung(self) -> bool:
        spec = self._sweep.spec
        began = self._progress is not None
        patience = spec.progress_deadline_seconds if began else spec.pre_running_deadline_seconds
        return time.monotonic() - self._moved > patience

    def cleanup(self) -> None:
        """Keep the state after the step, and end."""
        self._stopping.set()
        self._thread.join()

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any] | None:
        """Keep nothing: the run folder does."""
        del checkpoint_dir
        return {}

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Keep nothing: the run folder does."""

    def _begin(self, config: dict[str, Any]) -> None:
        self._stopping = threading.Event()
        self._progress: RunProgress | None = None
        self._answer: Answer = None
        self._moved, self._hung = time.monotonic(), False
        stretch = pickle.loads(config[_STRETCH])
        self._thread = threading.Thread(target=self._train, args=(stretch,), name="trial", daemon=True)
        self._thread.start()

    def _train(self, stretch: Stretch) -> None:
        try:
            self._answer = self._training(self._sweep, stretch, stopping=self._stopping, tell=self._note)
        except StopRequested:
            self._answer = None
        except SeedbedError as error:
            self._answer = error
        except Exception as error:
            self._answer = InfrastructureError("DriverCrashed", f"{type(error).__name__}: {error}")

    def _note(self, progress: RunProgress) -> None:
        if progress != self._progress:
            self._progress, self._moved = progress, time.monotonic()


def why_lost(error: Exception | None) -> InfrastructureError:
    """Return what Ray says of a lost actor, without its guesses about the cause."""
    line = " ".join(str(error).split()) if error else "no word of it"
    detail = line.partition("Worker exit detail: ")[2].partition(". ")[0] or line[:200]
    reason = "OutOfMemory" if isinstance(error, OutOfMemoryError) else "WorkersLost"
    return InfrastructureError(reason, f"its process was lost: {detail}")
