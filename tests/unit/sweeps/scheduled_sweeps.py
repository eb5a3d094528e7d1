"""A sweep under a scheduler, one step at a time."""

from __future__ import annotations

import io
import random
import threading
from pathlib import Path

from seedbed.driver.resolve_run import RunOptions
from seedbed.search.learning_curve import Finished, LearningCurve
from seedbed.search.objective_values import SCALE
from seedbed.search.search_state import Search
from seedbed.sweeps.resolve_sweep import Sweep
from seedbed.sweeps.sweep_display import SweepDisplay
from seedbed.sweeps.trial_runner import Reached, Stretch
from seedbed.sweeps.trial_scheduler import Conducting, Standing
from seedbed_api.manifest_loader import sweep_job
from support.runs.sweep_commands import ASHA, a_sweep

EPOCHS = 4


def conducting(**changes: object) -> Conducting:
    """Return a sweep under way whose runs are made up; 6 trials, judged after epochs 1 and 2."""
    fields = {"earlyStopping": ASHA, "maxTrialCount": 6, "backoffLimit": 1} | changes
    job = sweep_job(a_sweep(Path("data"), Path("runs"), **fields))
    probed = ({}, "sha256:" + "1" * 64)
    digest = "sha256:" + "2" * 64
    sweep = Sweep(job=job, options=RunOptions(probed=probed), dataset_digest=digest, code_digest=None)
    return Conducting(
        standing=Standing(sweep=sweep, search=Search(job.spec)),
        stopping=threading.Event(),
        display=SweepDisplay("test", stream=io.StringIO()),
    )


def loss(stretch: Stretch, epoch: int) -> int:
    """Return what a run shows after an epoch: a function of trial and fold."""
    level = random.Random(f"{stretch.trial} {stretch.place}").randrange(1, 9)
    return SCALE * level + (EPOCHS - epoch)


def reached(stretch: Stretch) -> Reached:
    """Return what a training would."""
    last = stretch.until or EPOCHS
    values = tuple((epoch, loss(stretch, epoch)) for epoch in range(1, last + 1))
    end = Finished(value=values[-1][1]) if stretch.until is None else None
    return Reached(course=LearningCurve(values=values, end=end), computed=last)
