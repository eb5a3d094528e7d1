"""A sweep in a driver pod: its trials run on worker pods; what is told of them meanwhile and at the end."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

from prometheus_client.core import Metric

from seedbed.driver.trainingjob_status_builder import timings_of
from seedbed.pods.pod_cluster import PodCluster
from seedbed.pods.pod_settings import DriverSettings
from seedbed.sweeps.sweep_display import SweepDisplay
from seedbed.sweeps.sweep_driver import SweepEnded, SweepSession, computed_here, run_sweep, told_of
from seedbed.sweeps.sweep_metrics import Place, Tally, sweep_families, work_families
from seedbed.sweeps.sweepjob_status_builder import dataset_status, status_of
from seedbed.sweeps.trial_runner import Reached, Stretch
from seedbed.training.run_progress import RunProgress
from seedbed_api.conditions import ExitCode, one_line
from seedbed_api.errors import SeedbedError
from seedbed_api.pod_contract.driver_messages import LiveProgress, Outcome, cut_to
from seedbed_api.sweepjob import SweepJob
from seedbed_api.sweepjob_status import SweepJobStatus, SweepProgress, TrialCounts
from seedbed_api.timestamps import written
from seedbed_api.trainingjob_status import WorkerCounts

MOST_BYTES: Final = 24 << 10
"""Of what is told of trials: it becomes a part of the object in the API server."""


class TallyingDisplay(SweepDisplay):
    """Tells of trials line by line, and counts what they do."""

    def __init__(self, title: str) -> None:
        super().__init__(title, interactive=False)
        self.tally = Tally()

    def begin(self, stretch: Stretch) -> None:
        """Count a stretch from now on."""
        super().begin(stretch)
        self.tally.begin(_place(stretch))

    def update(self, stretch: Stretch, progress: RunProgress) -> None:
        """Count the steps of a run."""
        super().update(stretch, progress)
        self.tally.see(_place(stretch), progress)

    def explain(self, stretch: Stretch, reached: Reached) -> None:
        """Count what a stretch came to."""
        super().explain(stretch, reached)
        self.tally.reach(_place(stretch), reached, datetime.now(UTC).timestamp())

    def end(self, stretch: Stretch) -> None:
        """Count a stretch no longer."""
        super().end(stretch)
        self.tally.end(_place(stretch))


def _place(stretch: Stretch) -> Place:
    return stretch.trial, stretch.place


@dataclass(frozen=True, kw_only=True, slots=True)
class Searching:
    """A SweepJob: many runs."""

    settings: DriverSettings
    session: SweepSession
    cluster: PodCluster
    tally: Tally

    def live(self, now: datetime) -> LiveProgress:
        """Return how the trials stand."""
        session, settings, sweep = self.session, self.settings, self.session.sweep
        told = self._progress(status_of(told_of(session, running=self._running())))
        return LiveProgress(
            time=written(now),
            job_uid=settings.uid,
            attempt=settings.attempt,
            activity=self._activity(told),
            run_id=sweep.identity if sweep else None,
            environment_class=sweep.environment_class if sweep else None,
            workers=self._workers(),
            dataset=dataset_status(sweep) if sweep else None,
            timings=timings_of(session.timeline.parts),
            sweep=told,
        )

    def metrics(self, now: datetime) -> Iterable[Metric]:
        """Yield what the sweep tells Prometheus."""
        del now
        standing, job = self.session.standing, self.session.job
        if standing is not None:
            yield from sweep_families(
                standing, namespace=job.metadata.namespace or "", running=self._running()
            )
        yield from work_families(self.tally, job)

    def _running(self) -> int:
        """Return how many stretches train: more may have been handed out than there is room for."""
        return min(len(self.tally.running), self.cluster.available_ranks())

    def step(self) -> None:
        """Trials have steps of their own."""

    def run(self) -> tuple[Outcome, int, SeedbedError | None]:
        """Search."""
        ended = run_sweep(self.session)
        return self._outcome(ended), ended.exit_code, ended.error

    def _outcome(self, ended: SweepEnded) -> Outcome:
        sweep, standing = ended.session.sweep, ended.session.standing
        return Outcome(
            result=_RESULTS.get(ended.exit_code, "Failed"),
            reason=_reason(ended),
            message=one_line(ended.error.message) if ended.error else "",
            attempt=self.settings.attempt,
            steps_executed=sum(standing.computed.values()) if standing else 0,
            run_id=sweep.identity if sweep else None,
            environment_class=sweep.environment_class if sweep else None,
            dataset=dataset_status(sweep) if sweep else None,
            timings=timings_of(ended.session.timeline.parts),
            sweep=self._progress(ended.status),
        )

    def _progress(self, status: SweepJobStatus) -> SweepProgress:
        kept = self.tally.kept
        told = SweepProgress(
            trials=status.trials or TrialCounts(),
            best_trial=status.best_trial,
            top_trials=status.top_trials,
            ledger=status.ledger,
            steps=self.tally.steps,
            kept_time=None if kept is None else written(datetime.fromtimestamp(kept, UTC)),
        )
        return cut_to(told, MOST_BYTES)

    def _activity(self, told: SweepProgress) -> Literal["Starting", "Training", "Finishing"]:
        if self.session.finished is not None:
            return "Finishing"
        found = told.trials.succeeded + told.trials.pruned + told.trials.failed
        return "Training" if told.steps or found else "Starting"

    def _workers(self) -> WorkerCounts:
        most = self.session.job.spec.most_ranks
        return WorkerCounts(ready=min(most, self.cluster.available_ranks()), desired=most)


_RESULTS: dict[int, Literal["Succeeded", "Failed", "Stopped"]] = {
    ExitCode.DONE: "Succeeded",
    ExitCode.STOPPED: "Stopped",
}


def _reason(ended: SweepEnded) -> str:
    if ended.error is not None:
        return ended.error.reason
    if ended.exit_code == ExitCode.STOPPED:
        return "Stopped"
    return "Trained" if computed_here(ended.session) else "AlreadyComputed"


@contextmanager
def searching(
    settings: DriverSettings, cluster: PodCluster, stopping: threading.Event
) -> Iterator[Searching]:
    """Yield the program of a SweepJob."""
    job, options = settings.job, settings.options()
    assert isinstance(job, SweepJob)
    with TallyingDisplay(job.metadata.name) as display:
        session = SweepSession(job=job, options=options, display=display, stopping=stopping, machines=cluster)
        yield Searching(settings=settings, session=session, cluster=cluster, tally=display.tally)
