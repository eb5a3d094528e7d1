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
from seedbed.search.trial_segment import SegmentResult, TrialSegment
from seedbed.sweeps.resolve_sweep import ResolvedSweep
from seedbed.sweeps.sweep_display import SweepDisplay
from seedbed.sweeps.trial_scheduler import SweepState, TrialScheduler
from seedbed_api.manifest_loader import sweep_job
from support.runs.sweep_commands import ASHA, a_sweep

EPOCHS = 4


def scheduler(**changes: object) -> TrialScheduler:
    """Return a sweep under way whose runs are made up; 6 trials, judged after epochs 1 and 2."""
    fields = {"earlyStopping": ASHA, "maxTrialCount": 6, "backoffLimit": 1} | changes
    job = sweep_job(a_sweep(Path("data"), Path("runs"), **fields))
    probed = ({}, "sha256:" + "1" * 64)
    digest = "sha256:" + "2" * 64
    sweep = ResolvedSweep(job=job, options=RunOptions(probed=probed), dataset_digest=digest, code_digest=None)
    return TrialScheduler(
        state=SweepState(sweep=sweep, search=Search(job.spec)),
        stopping=threading.Event(),
        display=SweepDisplay("test", stream=io.StringIO()),
    )


def loss(segment: TrialSegment, epoch: int) -> int:
    """Return what a run shows after an epoch: a function of trial and fold."""
    level = random.Random(f"{segment.trial} {segment.run_index}").randrange(1, 9)
    return SCALE * level + (EPOCHS - epoch)


def result(segment: TrialSegment) -> SegmentResult:
    """Return what a training would."""
    last = segment.until_epoch or EPOCHS
    values = tuple((epoch, loss(segment, epoch)) for epoch in range(1, last + 1))
    end = Finished(value=values[-1][1]) if segment.until_epoch is None else None
    return SegmentResult(curve=LearningCurve(values=values, end=end), steps=last)
