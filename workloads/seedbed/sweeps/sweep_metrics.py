"""What the driver of a sweep tells Prometheus: how trials stand, what they use, what the memo has saved."""

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
from seedbed.sweeps.trial_runner import SegmentResult
from seedbed.sweeps.trial_scheduler import SweepState
from seedbed.training.resource_usage import resident_bytes
from seedbed.training.run_progress import PartSeconds, RunProgress
from seedbed_api import metric_names as names
from seedbed_api.prometheus_exposition import Sample, measured, single
from seedbed_api.sweepjob import SweepJob

RunKey = tuple[int, int]
"""Trial, and place among its folds."""


@dataclass(kw_only=True, slots=True)
class ProgressTotals:
    """What was seen of all runs of this attempt together."""

    steps: int = 0
    """Only ever more, also where a run that was lost does some of them again."""
    checkpoint_time: float | None = None
    """When a run last kept its state or came to where it was to, in seconds since 1970."""
    running: dict[RunKey, int] = field(default_factory=dict)
    """Steps that were counted of the stretches under way."""
    latest: dict[RunKey, RunProgress] = field(default_factory=dict)
    """How far each of them was seen last."""
    finished_seconds: PartSeconds = field(default_factory=PartSeconds)
    """Seconds of the worker groups that are over."""
    _lock: Lock = field(default_factory=Lock)
    """No second is between the groups that are over and those under way when somebody asks."""

    def begin(self, place: RunKey) -> None:
        """Count a stretch from now on."""
        self.running[place] = 0
        self._add_seconds(place)

    def update(self, place: RunKey, progress: RunProgress) -> None:
        """Take in how far a run is."""
        before = self.latest.get(place)
        self._add_steps(place, progress.step - (before.step if before else progress.resumed_from))
        if before is not None and sum(astuple(progress.seconds)) < sum(astuple(before.seconds)):
            self._add_seconds(place)  # another worker group, which counts from 0
        with self._lock:
            self.latest[place] = progress
        if progress.checkpoint is not None:
            self.checkpoint_time = max(self.checkpoint_time or 0.0, progress.checkpoint.time)

    def add_result(self, place: RunKey, result: SegmentResult, now: float) -> None:
        """Take in what a stretch came to: one that is short was not seen on its way."""
        self._add_steps(place, result.steps - self.running.get(place, 0))
        if result.steps and not isinstance(result.curve.end, Failed):
            self.checkpoint_time = max(self.checkpoint_time or 0.0, now)

    def end(self, place: RunKey) -> None:
        """Count a stretch no longer."""
        self.running.pop(place, None)
        self._add_seconds(place)

    def seconds(self) -> PartSeconds:
        """Return the seconds of rank 0 of all runs together, as far as they were seen."""
        with self._lock:
            return _total(self.finished_seconds, *(progress.seconds for progress in self.latest.values()))

    def running_progress(self) -> list[RunProgress]:
        """Return how far the runs are that train now, by trial."""
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
    """Yield what is known of a sweep at this moment; `running` says how many trials are trained now."""
    labels = {"namespace": namespace, "name": state.sweep.job.metadata.name, "kind": "SweepJob"}
    yield measured(names.TRIALS, _states(state, running, labels))
    yield single(names.TRIALS_PLANNED, state.search.sampler.total, labels)
    yield measured(names.RUNG_TRIALS, _rungs(state, labels))
    yield single(names.TRIALS_REUSED, state.reused_count, labels)
    yield single(names.SAVED_SECONDS, saved_seconds(state), labels)
    best = next(iter(rank_trials(state.decided, state.search.goal)), None)
    yield single(names.BEST_OBJECTIVE, None if best is None else (best.objective or 0) / SCALE, labels)


def work_families(totals: ProgressTotals, job: SweepJob) -> Iterator[Metric]:
    """Yield what all runs together do and use, in the families of a training.

    The ranks of the runs under way are counted through, so that there are not as many series as trials.
    """
    labels = {"namespace": job.metadata.namespace or "", "name": job.metadata.name, "kind": "SweepJob"}
    yield single(names.STEPS, totals.steps, labels)
    images = totals.steps * job.spec.trial_template.spec.training.batch.global_size
    yield single(names.IMAGES, images, labels)
    parts = asdict(totals.seconds()).items()
    yield measured(names.SECONDS, ((labels | {"part": part}, seconds) for part, seconds in parts))
    usages = (usage for progress in totals.running_progress() for usage in progress.usages)
    ranks = [(labels | {"process": f"rank-{place}"}, usage) for place, usage in enumerate(usages)]
    driver = (labels | {"process": "driver"}, resident_bytes())
    yield measured(names.MEMORY, [driver, *((rank, usage.resident_bytes) for rank, usage in ranks)])
    busy = ((rank, usage.gpu) for rank, usage in ranks if usage.gpu is not None)
    yield measured(names.GPU_UTILIZATION, busy)


def _states(state: SweepState, running: int, labels: dict[str, str]) -> Iterator[Sample]:
    counts = Counter(trial.state for trial in state.decided)
    for trial_state in TrialState:
        yield labels | {"state": str(trial_state)}, counts[trial_state]
    yield labels | {"state": "Waiting"}, len(state.search.waiting)
    yield labels | {"state": "Running"}, running


def _rungs(state: SweepState, labels: dict[str, str]) -> Iterator[Sample]:
    """Yield how many trials have come to each rung with all their folds."""
    courses = [result.curve for result in list(state.results.values())]
    for epoch in state.search.pruner.rungs:
        runs = sum(curve.objective_at(epoch) is not None for curve in courses)
        yield labels | {"epoch": str(epoch)}, runs // state.search.folds


def saved_seconds(state: SweepState) -> float | None:
    """Return what the reused trials would have taken at the pace of the others, where that is known."""
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
    """Return how many epochs a run is worth: all, or up to where it was evaluated last."""
    planned = state.sweep.spec.trial_template.spec.training.epochs
    if isinstance(end, Finished) and planned:
        return planned
    return values[-1][0] if values else 0
