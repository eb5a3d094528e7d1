"""What the driver of a sweep tells Prometheus: how trials stand, what they use, what the memo has saved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict

from prometheus_client.core import Metric

from seedbed.search.learning_curve import Finished
from seedbed.search.objective_values import SCALE
from seedbed.search.trial_decisions import State
from seedbed.search.trial_ranking import ranked
from seedbed.sweeps.progress_totals import Tally
from seedbed.sweeps.sweep_state import Standing
from seedbed.training.resource_usage import resident_bytes
from seedbed_api import metric_names as names
from seedbed_api.prometheus_exposition import Sample, measured, single
from seedbed_api.sweepjob import SweepJob


def sweep_families(standing: Standing, *, namespace: str, running: int) -> Iterator[Metric]:
    """Yield what is known of a sweep at this moment; `running` says how many trials are trained now."""
    labels = {"namespace": namespace, "name": standing.sweep.job.metadata.name, "kind": "SweepJob"}
    yield measured(names.TRIALS, _states(standing, running, labels))
    yield single(names.TRIALS_PLANNED, standing.search.proposer.total, labels)
    yield measured(names.RUNG_TRIALS, _rungs(standing, labels))
    yield single(names.TRIALS_REUSED, standing.reused, labels)
    yield single(names.SAVED_SECONDS, saved_seconds(standing), labels)
    best = next(iter(ranked(standing.decided, standing.search.goal)), None)
    yield single(names.BEST_OBJECTIVE, None if best is None else (best.objective or 0) / SCALE, labels)


def work_families(tally: Tally, job: SweepJob) -> Iterator[Metric]:
    """Yield what all runs together do and use, in the families of a training.

    The ranks of the runs under way are counted through, so that there are not as many series as trials.
    """
    labels = {"namespace": job.metadata.namespace or "", "name": job.metadata.name, "kind": "SweepJob"}
    yield single(names.STEPS, tally.steps, labels)
    images = tally.steps * job.spec.trial_template.spec.training.batch.global_size
    yield single(names.IMAGES, images, labels)
    parts = asdict(tally.seconds()).items()
    yield measured(names.SECONDS, ((labels | {"part": part}, seconds) for part, seconds in parts))
    usages = (usage for progress in tally.under_way() for usage in progress.usages)
    ranks = [(labels | {"process": f"rank-{place}"}, usage) for place, usage in enumerate(usages)]
    driver = (labels | {"process": "driver"}, resident_bytes())
    yield measured(names.MEMORY, [driver, *((rank, usage.resident_bytes) for rank, usage in ranks)])
    busy = ((rank, usage.gpu) for rank, usage in ranks if usage.gpu is not None)
    yield measured(names.GPU_UTILIZATION, busy)


def _states(standing: Standing, running: int, labels: dict[str, str]) -> Iterator[Sample]:
    counts = Counter(trial.state for trial in standing.decided)
    for state in State:
        yield labels | {"state": str(state)}, counts[state]
    yield labels | {"state": "Waiting"}, len(standing.search.waiting)
    yield labels | {"state": "Running"}, running


def _rungs(standing: Standing, labels: dict[str, str]) -> Iterator[Sample]:
    """Yield how many trials have come to each rung with all their folds."""
    courses = [reached.course for reached in list(standing.known.values())]
    for epoch in standing.search.stopper.rungs:
        runs = sum(course.at(epoch) is not None for course in courses)
        yield labels | {"epoch": str(epoch)}, runs // standing.search.folds


def saved_seconds(standing: Standing) -> float | None:
    """Return what the reused trials would have taken at the pace of the others, where that is known."""
    epochs: Counter[bool] = Counter()
    reused = {trial.index for trial in standing.decided if standing.is_reused(trial)}
    for (trial, _), reached in list(standing.known.items()):
        epochs[trial in reused] += _epochs(standing, reached.course.values, reached.course.end)
    if not epochs[True]:
        return 0.0
    return standing.seconds / epochs[False] * epochs[True] if epochs[False] and standing.seconds else None


def _epochs(standing: Standing, values: tuple[tuple[int, int], ...], end: object) -> int:
    """Return how many epochs a run is worth: all, or up to where it was evaluated last."""
    planned = standing.sweep.spec.trial_template.spec.training.epochs
    if isinstance(end, Finished) and planned:
        return planned
    return values[-1][0] if values else 0
