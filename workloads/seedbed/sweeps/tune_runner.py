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
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager

from seedbed.ray_cluster.cluster_interface import StopRequested
from seedbed.sweeps.resolve_sweep import Sweep
from seedbed.sweeps.sweep_display import SweepDisplay
from seedbed.sweeps.sweep_state import Standing
from seedbed.sweeps.trial_runner import Training, advance
from seedbed.sweeps.trial_scheduler import Conducting
from seedbed.sweeps.tune_callback_errors import Guard

SETTINGS = {
    "TUNE_RESULT_BUFFER_LENGTH": "1",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # Tune's own record of the experiment: ours is the output store
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",
    "TUNE_WARN_THRESHOLD_S": "60",
    "RAY_AIR_NEW_OUTPUT": "0",
}
_EVERY = 10**9
"""As many samples as the searcher has."""


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
    prepare(os.environ)
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


def prepare(environ: MutableMapping[str, str]) -> None:
    """Set what Ray Tune reads when it is imported."""
    environ.update(SETTINGS)


def _there() -> dict[str, float]:
    import ray

    there: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return there


def _tune(sweep: Sweep, guard: Guard, *, share: Mapping[str, float], folder: str, training: Training) -> None:
    from ray import tune

    from seedbed.sweeps.tune_adapters import Asking, LowestFirst, RunTrial, Until

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
