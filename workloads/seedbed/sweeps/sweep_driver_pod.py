"""The driver pod of a SweepJob: runs the sweep on worker pods, reports progress, metrics and outcome."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

from prometheus_client.core import Metric

from seedbed.driver.trainingjob_status_builder import timing_statuses
from seedbed.pods.pod_cluster import PodCluster
from seedbed.pods.pod_settings import DriverSettings
from seedbed.search.trial_segment import SegmentResult, TrialSegment
from seedbed.sweeps.sweep_display import SweepDisplay
from seedbed.sweeps.sweep_driver import (
    SweepDriverExit,
    SweepDriverState,
    SweepRequest,
    run_sweep,
    status_inputs,
)
from seedbed.sweeps.sweep_metrics import ProgressTotals, sweep_families, work_families
from seedbed.sweeps.sweepjob_status_builder import build_sweep_status, dataset_status
from seedbed.training.run_progress import RunProgress
from seedbed_api.conditions import ExitCode, one_line
from seedbed_api.errors import SeedbedError
from seedbed_api.pod_contract.driver_messages import LiveProgress, Outcome, shorten_sweep
from seedbed_api.sweepjob import SweepJob
from seedbed_api.sweepjob_status import SweepJobStatus, SweepProgress, TrialCounts
from seedbed_api.timestamps import format_time
from seedbed_api.trainingjob_status import WorkerCounts

MAX_BYTES: Final = 24 << 10
"""Of the progress message: it becomes part of the object in the API server."""


class TotalsDisplay(SweepDisplay):
    """Prints trials line by line, and adds up their progress."""

    def __init__(self, title: str) -> None:
        super().__init__(title, interactive=False)
        self.totals = ProgressTotals()

    def begin(self, segment: TrialSegment) -> None:
        """Add a segment that starts."""
        super().begin(segment)
        self.totals.begin(segment.key)

    def update(self, segment: TrialSegment, progress: RunProgress) -> None:
        """Add the steps of a segment."""
        super().update(segment, progress)
        self.totals.update(segment.key, progress)

    def show_problem(self, segment: TrialSegment, result: SegmentResult) -> None:
        """Add the result of a segment."""
        super().show_problem(segment, result)
        self.totals.add_result(segment.key, result, datetime.now(UTC).timestamp())

    def end(self, segment: TrialSegment) -> None:
        """Remove a segment that has ended."""
        super().end(segment)
        self.totals.end(segment.key)


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepProgram:
    """The program of a SweepJob's driver pod."""

    settings: DriverSettings
    state: SweepDriverState
    cluster: PodCluster
    totals: ProgressTotals

    def live(self, now: datetime) -> LiveProgress:
        """Return the progress of the sweep."""
        state, settings, sweep = self.state, self.settings, self.state.sweep
        told = self._progress(build_sweep_status(status_inputs(state, running=self._running())))
        return LiveProgress(
            time=format_time(now),
            job_uid=settings.uid,
            attempt=settings.attempt,
            activity=self._activity(told),
            run_id=sweep.identity if sweep else None,
            environment_class=sweep.environment_class if sweep else None,
            workers=self._workers(),
            dataset=dataset_status(sweep) if sweep else None,
            timings=timing_statuses(state.timings.parts),
            sweep=told,
        )

    def metrics(self, now: datetime) -> Iterable[Metric]:
        """Yield the metrics of the sweep."""
        del now
        trials, job = self.state.trials, self.state.request.job
        if trials is not None:
            yield from sweep_families(trials, namespace=job.metadata.namespace or "", running=self._running())
        yield from work_families(self.totals, job)

    def _running(self) -> int:
        """Return how many segments train: one more than there are ranks may be handed out."""
        return min(len(self.totals.running), self.cluster.available_ranks())

    def step(self) -> None:
        """Do nothing: the steps of trials are their own."""

    def run(self) -> tuple[Outcome, int, SeedbedError | None]:
        """Run the sweep."""
        ended = run_sweep(self.state.request, self.state)
        return self._outcome(ended), ended.exit_code, ended.error

    def _outcome(self, ended: SweepDriverExit) -> Outcome:
        sweep, trials = ended.state.sweep, ended.state.trials
        return Outcome(
            result=_RESULTS.get(ended.exit_code, "Failed"),
            reason=_reason(ended),
            message=one_line(ended.error.message) if ended.error else "",
            attempt=self.settings.attempt,
            steps_executed=sum(trials.steps_by_trial.values()) if trials else 0,
            run_id=sweep.identity if sweep else None,
            environment_class=sweep.environment_class if sweep else None,
            dataset=dataset_status(sweep) if sweep else None,
            timings=timing_statuses(ended.state.timings.parts),
            sweep=self._progress(ended.status),
        )

    def _progress(self, status: SweepJobStatus) -> SweepProgress:
        kept = self.totals.checkpoint_time
        told = SweepProgress(
            trials=status.trials or TrialCounts(),
            best_trial=status.best_trial,
            top_trials=status.top_trials,
            ledger=status.ledger,
            steps=self.totals.steps,
            kept_time=None if kept is None else format_time(datetime.fromtimestamp(kept, UTC)),
        )
        return shorten_sweep(told, MAX_BYTES)

    def _activity(self, told: SweepProgress) -> Literal["Starting", "Training", "Finishing"]:
        if self.state.finished is not None:
            return "Finishing"
        found = told.trials.succeeded + told.trials.pruned + told.trials.failed
        return "Training" if told.steps or found else "Starting"

    def _workers(self) -> WorkerCounts:
        most = self.state.request.job.spec.most_ranks
        return WorkerCounts(ready=min(most, self.cluster.available_ranks()), desired=most)


_RESULTS: dict[int, Literal["Succeeded", "Failed", "Stopped"]] = {
    ExitCode.DONE: "Succeeded",
    ExitCode.STOPPED: "Stopped",
}


def _reason(ended: SweepDriverExit) -> str:
    if ended.error is not None:
        return ended.error.reason
    if ended.exit_code == ExitCode.STOPPED:
        return "Stopped"
    return "Trained" if ended.state.computed_here() else "AlreadyComputed"


@contextmanager
def sweep_program(
    settings: DriverSettings, cluster: PodCluster, stopping: threading.Event
) -> Iterator[SweepProgram]:
    """Yield the program of a SweepJob."""
    job, options = settings.job, settings.options()
    assert isinstance(job, SweepJob)
    with TotalsDisplay(job.metadata.name) as display:
        request = SweepRequest(job=job, options=options, display=display, stopping=stopping, cluster=cluster)
        state = SweepDriverState(request=request)
        yield SweepProgram(settings=settings, state=state, cluster=cluster, totals=display.totals)
