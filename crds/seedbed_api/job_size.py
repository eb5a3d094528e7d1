"""The size of a whole job, and the limits that a profile sets to it.

What counts is what the pods request at most: the driver, and all worker pods with all ranks that they have
room for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from seedbed_api.conditions import RunningReason, one_line
from seedbed_api.errors import refusal
from seedbed_api.execution_settings import Overrides
from seedbed_api.job_kinds import JobSpec
from seedbed_api.profile_policy import PolicyViolation
from seedbed_api.resource_quantities import quantity_value
from seedbed_api.sweepjob import SweepJobSpec
from seedbed_api.trainingprofile import TrainingProfileSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class _Share:
    """What the driver and each rank request of one resource, and the limit of the job."""

    resource: str
    driver: Decimal
    rank: Decimal
    most: Decimal | None
    shown: str
    """The limit as it is written."""
    override: str | None = None
    """Field of the job that sets the request of a rank."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Shape:
    """How many ranks a job has, and how many share a pod."""

    ranks: int
    per_pod: int

    @property
    def room(self) -> int:
        """Return the ranks that the worker pods have room for and request resources for."""
        return -(-self.ranks // self.per_pod) * self.per_pod


def size_violations(
    spec: JobSpec, profile: TrainingProfileSpec, *, ranks: int | None = None
) -> Iterator[PolicyViolation]:
    """Yield the limits of the profile that a job exceeds; `ranks` are the most of a running attempt."""
    overrides = spec.cluster.overrides or Overrides()
    shape = _Shape(
        ranks=spec.most_ranks if ranks is None else ranks,
        per_pod=overrides.workers_per_pod or profile.worker.workers_per_pod,
    )
    most = profile.max_per_job.workers
    if most is not None and shape.ranks > most:
        problem = f"makes {_workers(shape.ranks)}, and maxPerJob.workers of the profile is {most}"
        yield _refused(spec, problem, f"use at most {most}")
    for share in _shares(overrides, profile):
        if share.most is not None and share.driver + shape.room * share.rank > share.most:
            yield _refused(spec, _excess(share, shape), _smaller(share, shape))


def _shares(overrides: Overrides, profile: TrainingProfileSpec) -> Iterator[_Share]:
    limits, driver, worker = profile.max_per_job, profile.driver.resources, profile.worker.resources
    for name, of_driver, of_rank, limit, override in (
        ("cpu", driver.cpu, worker.cpu, limits.cpu, overrides.cpu),
        ("memory", driver.memory, worker.memory, limits.memory, overrides.memory),
    ):
        yield _Share(
            resource=name,
            driver=quantity_value(of_driver),
            rank=quantity_value(override or of_rank),
            most=quantity_value(limit) if limit is not None else None,
            shown=str(limit),
            override=f"spec.cluster.overrides.{name}" if override else None,
        )
    gpus = limits.gpus
    yield _Share(
        resource="gpus",
        driver=Decimal(0),
        rank=Decimal(profile.worker.gpu.count),
        most=None if gpus is None else Decimal(gpus),
        shown=str(gpus),
    )


def _excess(share: _Share, shape: _Shape) -> str:
    needed = share.driver + shape.room * share.rank
    amount = f"{needed / 2**30:.6g}Gi" if share.resource == "memory" else f"{needed:.6g}"
    pods = -(-shape.ranks // shape.per_pod)
    return (
        f"makes {_workers(shape.ranks)} in {pods} pod{'s' if pods > 1 else ''}, which with the driver "
        f"request {amount} {share.resource}, and maxPerJob.{share.resource} of the profile is {share.shown}"
    )


def _smaller(share: _Share, shape: _Shape) -> str:
    """Return the fix: fewer workers where some fit, else smaller ones."""
    assert share.most is not None, "only a limit can be exceeded"
    left = share.most - share.driver
    fitting = int(left / (share.rank * shape.per_pod)) * shape.per_pod if left > 0 else 0
    if fitting > 0:
        return f"use at most {fitting}" + (f", or lower {share.override}" if share.override else "")
    if share.override:
        return f"lower {share.override}"
    return "name another profile: its driver with one worker pod is larger than that"


def _workers(count: int) -> str:
    return f"{count} worker{'s' if count > 1 else ''}"


def _refused(spec: JobSpec, problem: str, fix: str) -> PolicyViolation:
    if isinstance(spec, SweepJobSpec):
        alone = spec.has_lone_trials
        field = "spec.parallelTrialCount" if alone else "spec.workersPerTrial"
        value = spec.parallel_trial_count if alone else spec.workers_per_trial
    else:
        field, value = "spec.cluster.workers.max", spec.cluster.workers.max
    message = one_line(refusal(field, value, problem, fix))
    return PolicyViolation(reason=RunningReason.PROFILE_LIMIT_EXCEEDED, message=message)
