"""Prometheus metrics of a sweep: trials by state, steps and resources of all runs, time saved by reuse."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, astuple, dataclass, field
from threading import Lock

from prometheus_client.core import Metric

from seedbed.search.learning_curve import Failed, Finished
from seedbed.search.objective_values import SCALE
from seedbed.search.trial_decisions import TrialState
from seedbed.search.trial_ranking import rank_trials
from seedbed.search.trial_segment import RunKey, SegmentResult
from seedbed.sweeps.trial_scheduler import SweepState
from seedbed.training.resource_usage import resident_bytes
from seedbed.training.run_progress import PartSeconds, RunProgress
from seedbed_api import metric_names as names
from seedbed_api.prometheus_exposition import Sample, metric_family, single_sample
from seedbed_api.sweepjob import SweepJob


@dataclass(kw_only=True, slots=True)
class ProgressTotals:
    """Totals over all runs of a sweep in this attempt."""

    steps: int = 0
    """Never decreases; steps that a lost run repeats count twice."""
    checkpoint_time: float | None = None
    """When a run last saved a checkpoint or ended a segment, in seconds since 1970."""
    running: dict[RunKey, int] = field(default_factory=dict)
    """Counted steps of the running segments."""
    latest: dict[RunKey, RunProgress] = field(default_factory=dict)
    """Newest progress of each of them."""
    finished_seconds: PartSeconds = field(default_factory=PartSeconds)
    """Seconds of worker groups that have ended."""
    _lock: Lock = field(default_factory=Lock)
    """Moves seconds of a group from `latest` to `finished_seconds` in one step for readers."""

    def begin(self, place: RunKey) -> None:
        """Add a segment that starts."""
        self.running[place] = 0
        self._add_seconds(place)

    def update(self, place: RunKey, progress: RunProgress) -> None:
        """Add the progress of a segment."""
        before = self.latest.get(place)
        self._add_steps(place, progress.step - (before.step if before else progress.resumed_from))
        if before is not None and sum(astuple(progress.seconds)) < sum(astuple(before.seconds)):
            self._add_seconds(place)  # a new worker group counts from 0
        with self._lock:
            self.latest[place] = progress
        if progress.checkpoint is not None:
            self.checkpoint_time = max(self.checkpoint_time or 0.0, progress.checkpoint.time)

    def add_result(self, place: RunKey, result: SegmentResult, now: float) -> None:
        """Add the result of a segment: a short one may have reported no progress."""
        self._add_steps(place, result.steps - self.running.get(place, 0))
        if result.steps and not isinstance(result.curve.end, Failed):
            self.checkpoint_time = max(self.checkpoint_time or 0.0, now)

    def end(self, place: RunKey) -> None:
        """Remove a segment that has ended."""
        self.running.pop(place, None)
        self._add_seconds(place)

    def seconds(self) -> PartSeconds:
        """Return the seconds of rank 0 over all runs, as far as they were reported."""
        with self._lock:
            return _total(self.finished_seconds, *(progress.seconds for progress in self.latest.values()))

    def running_progress(self) -> list[RunProgress]:
        """Return the progress of the running segments, by trial."""
        with self._lock:
            return [self.latest[place] for place in sorted(self.latest)]

    def _add_seconds(self, place: RunKey) -> None:
        with self._lock:
            before = self.latest.pop(place, None)
            if before is not None:
                self.finished_seconds = _total(self.finished_seconds, before.seconds)

    def _add_steps(self, place: RunKey, steps: int) -> None:
        if steps > 0:
            self.steps += steps
            self.running[place] = self.running.get(place, 0) + steps


def _total(*spent: PartSeconds) -> PartSeconds:
    names = asdict(PartSeconds())
    return PartSeconds(**{name: sum(getattr(each, name) for each in spent) for name in names})


def sweep_families(state: SweepState, *, namespace: str, running: int) -> Iterator[Metric]:
    """Yield the metrics of the search; `running` is the number of running trials."""
    labels = {"namespace": namespace, "name": state.sweep.job.metadata.name, "kind": "SweepJob"}
    yield metric_family(names.TRIALS, _states(state, running, labels))
    yield single_sample(names.TRIALS_PLANNED, state.search.sampler.total, labels)
    yield metric_family(names.RUNG_TRIALS, _rungs(state, labels))
    yield single_sample(names.TRIALS_REUSED, state.reused_count, labels)
    yield single_sample(names.SAVED_SECONDS, saved_seconds(state), labels)
    best = next(iter(rank_trials(state.decided, state.search.goal)), None)
    yield single_sample(names.BEST_OBJECTIVE, None if best is None else (best.objective or 0) / SCALE, labels)


def work_families(totals: ProgressTotals, job: SweepJob) -> Iterator[Metric]:
    """Yield totals of all runs, in the metric families of a training.

    Ranks are numbered over all running segments, so that the number of series does not grow with trials.
    """
    labels = {"namespace": job.metadata.namespace or "", "name": job.metadata.name, "kind": "SweepJob"}
    yield single_sample(names.STEPS, totals.steps, labels)
    images = totals.steps * job.spec.trial_template.spec.training.batch.global_size
    yield single_sample(names.IMAGES, images, labels)
    parts = asdict(totals.seconds()).items()
    yield metric_family(names.SECONDS, ((labels | {"part": part}, seconds) for part, seconds in parts))
    usages = (usage for progress in totals.running_progress() for usage in progress.usages)
    ranks = [(labels | {"process": f"rank-{place}"}, usage) for place, usage in enumerate(usages)]
    driver = (labels | {"process": "driver"}, resident_bytes())
    yield metric_family(names.MEMORY, [driver, *((rank, usage.resident_bytes) for rank, usage in ranks)])
    busy = ((rank, usage.gpu) for rank, usage in ranks if usage.gpu is not None)
    yield metric_family(names.GPU_UTILIZATION, busy)


def _states(state: SweepState, running: int, labels: dict[str, str]) -> Iterator[Sample]:
    counts = Counter(trial.state for trial in state.decided)
    for trial_state in TrialState:
        yield labels | {"state": str(trial_state)}, counts[trial_state]
    yield labels | {"state": "Waiting"}, len(state.search.waiting)
    yield labels | {"state": "Running"}, running


def _rungs(state: SweepState, labels: dict[str, str]) -> Iterator[Sample]:
    """Yield how many trials have reached each rung with all folds."""
    courses = [result.curve for result in list(state.results.values())]
    for epoch in state.search.pruner.rungs:
        runs = sum(curve.objective_at(epoch) is not None for curve in courses)
        yield labels | {"epoch": str(epoch)}, runs // state.search.folds


def saved_seconds(state: SweepState) -> float | None:
    """Return the time of the reused trials at the pace of the others; None if it is unknown."""
    epochs: Counter[bool] = Counter()
    reused = {trial.index for trial in state.decided if state.is_reused(trial)}
    for (trial, _), result in list(state.results.items()):
        epochs[trial in reused] += _epochs(state, result.curve.values, result.curve.end)
    if not epochs[True]:
        return 0.0
    return (
        state.training_seconds / epochs[False] * epochs[True]
        if epochs[False] and state.training_seconds
        else None
    )


def _epochs(state: SweepState, values: tuple[tuple[int, int], ...], end: object) -> int:
    """Return how many epochs of a run are trained: all, or up to the newest evaluation."""
    planned = state.sweep.spec.trial_template.spec.training.epochs
    if isinstance(end, Finished) and planned:
        return planned
    return values[-1][0] if values else 0
