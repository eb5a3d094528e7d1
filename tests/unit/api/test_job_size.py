"""The limits of a whole job: driver, pods with all their ranks, overrides, sweeps, quantities in every notation."""

from __future__ import annotations

from typing import Any

import pytest

from seedbed_api.job_size import size_violations
from seedbed_api.sweepjob import SweepJobSpec
from seedbed_api.trainingjob import TrainingJobSpec
from seedbed_api.trainingprofile import TrainingProfileSpec
from support.manifests.base_manifests import PROFILE, SWEEP_JOB, TRAINING_JOB

DRIVER = {"resources": {"cpu": "1", "memory": "2Gi"}}
WORKER = {"resources": {"cpu": "4", "memory": "16Gi"}, "gpu": {"count": 1}}


def profile(most: dict[str, Any], **worker: Any) -> TrainingProfileSpec:
    spec = {"driver": DRIVER, "worker": {**WORKER, **worker}, "maxPerJob": most}
    return TrainingProfileSpec.model_validate({**PROFILE["spec"], **spec})


def job(workers: int, **overrides: Any) -> TrainingJobSpec:
    training = {**TRAINING_JOB["spec"]["training"], "batch": {"globalSize": 4096, "microSize": 1}}
    cluster = {"workers": {"max": workers}, "overrides": overrides or None}
    return TrainingJobSpec.model_validate({**TRAINING_JOB["spec"], "training": training, "cluster": cluster})


def sweep(**spec: Any) -> SweepJobSpec:
    return SweepJobSpec.model_validate({**SWEEP_JOB["spec"], "maxTrialCount": 1000, **spec})


def lines(spec: Any, most: dict[str, Any], ranks: int | None = None, **worker: Any) -> list[str]:
    found = size_violations(spec, profile(most, **worker), ranks=ranks)
    return [violation.message for violation in found]


LIMITS: dict[str, tuple[Any, dict[str, Any], dict[str, Any], bool]] = {
    "no limits": (job(4096), {}, {}, True),
    "as many workers": (job(8), {"workers": 8}, {}, True),
    "one worker more": (job(9), {"workers": 8}, {}, False),
    "the most workers that there can be": (job(4096), {"workers": 8}, {}, False),
    "cores with the driver": (job(2), {"cpu": "9"}, {}, True),
    "cores without the driver": (job(2), {"cpu": "8"}, {}, False),
    "cores in thousandths": (job(2), {"cpu": "8999m"}, {}, False),
    "cores as an exponent": (job(2), {"cpu": "9e0"}, {}, True),
    "memory exactly": (job(2), {"memory": "34Gi"}, {}, True),
    "memory in another unit, one byte less": (job(2), {"memory": str(34 * 2**30 - 1)}, {}, False),
    "decimal gigabytes are less than binary ones": (job(2), {"memory": "34G"}, {}, False),
    "a terabyte as an exponent": (job(2), {"memory": "1e12"}, {}, True),
    "GPUs exactly": (job(4), {"gpus": 4}, {}, True),
    "a GPU more": (job(5), {"gpus": 4}, {}, False),
    "no GPUs at all": (job(1), {"gpus": 0}, {}, False),
    "no GPUs for a profile without any": (job(9), {"gpus": 0}, {"gpu": {"count": 0}}, True),
    "memory by an override": (job(2, memory="17Gi"), {"memory": "34Gi"}, {}, False),
    "memory by an override in thousandths of bytes": (
        job(2, memory="18253611008.5"),
        {"memory": "34Gi"},
        {},
        False,
    ),
    "less memory by an override": (job(2, memory="1Ki"), {"memory": "3Gi"}, {}, True),
    "cores by an override": (job(1, cpu="1e3"), {"cpu": "100"}, {}, False),
    "cores without end by an override": (job(1, cpu="9e99"), {"cpu": "100"}, {}, False),
    "ranks that share a pod": (job(4), {"gpus": 4}, {"workersPerPod": 4}, True),
    "a pod with more room than ranks": (job(5), {"gpus": 5}, {"workersPerPod": 4}, False),
    "a pod with room for 64 ranks by an override": (job(1, workersPerPod=64), {"gpus": 8}, {}, False),
    "parallel trials": (sweep(parallelTrialCount=9), {"workers": 8}, {}, False),
    "as many parallel trials": (sweep(parallelTrialCount=8), {"workers": 8, "gpus": 8}, {}, True),
    "ranks of a trial": (sweep(workersPerTrial=4), {"workers": 3}, {}, False),
    "trials of several ranks, one after the other": (
        sweep(workersPerTrial=4, parallelTrialCount=8),
        {"workers": 4},
        {},
        True,
    ),
    "the workers of a sweep's cluster do not count": (
        sweep(cluster={"workers": {"max": 4}}),
        {"workers": 1},
        {},
        True,
    ),
}


@pytest.mark.parametrize(("spec", "most", "worker", "fits"), LIMITS.values(), ids=LIMITS.keys())
def test_the_size_of_a_job(spec: Any, most: dict[str, Any], worker: dict[str, Any], fits: bool) -> None:
    found = lines(spec, most, **worker)
    assert (found == []) is fits
    for line in found:
        (limit,) = most
        assert f"maxPerJob.{limit} of the profile is " in line
        assert "(got " in line


SAID: dict[str, tuple[Any, dict[str, Any], str]] = {
    "workers": (
        job(64),
        {"workers": 8},
        "spec.cluster.workers.max: makes 64 workers, and maxPerJob.workers of the profile is 8 (got 64); "
        "use at most 8",
    ),
    "memory": (
        job(64, memory="20Gi"),
        {"memory": "64Gi"},
        "spec.cluster.workers.max: makes 64 workers in 64 pods, which with the driver request 1282Gi memory, and "
        "maxPerJob.memory of the profile is 64Gi (got 64); use at most 3, or lower spec.cluster.overrides.memory",
    ),
    "an override alone": (
        job(1, cpu="9e20"),
        {"cpu": "4"},
        "spec.cluster.workers.max: makes 1 worker in 1 pod, which with the driver request 9.00000e+20 cpu, and "
        "maxPerJob.cpu of the profile is 4 (got 1); lower spec.cluster.overrides.cpu",
    ),
    "a profile that nobody can use": (
        job(1),
        {"memory": "1Gi"},
        "spec.cluster.workers.max: makes 1 worker in 1 pod, which with the driver request 18Gi memory, and "
        "maxPerJob.memory of the profile is 1Gi (got 1); name another profile: its driver with one worker pod is "
        "larger than that",
    ),
    "a sweep": (
        sweep(parallelTrialCount=9),
        {"gpus": 8},
        "spec.parallelTrialCount: makes 9 workers in 9 pods, which with the driver request 9 gpus, and "
        "maxPerJob.gpus of the profile is 8 (got 9); use at most 8",
    ),
}


@pytest.mark.parametrize(("spec", "most", "line"), SAID.values(), ids=SAID.keys())
def test_what_is_said_to_a_job_that_is_too_large(spec: Any, most: dict[str, Any], line: str) -> None:
    assert lines(spec, most) == [line]


def test_a_running_attempt_counts_with_the_ranks_that_it_was_given() -> None:
    assert lines(job(64), {"workers": 8}, ranks=8) == []
    assert lines(job(1), {"workers": 8}, ranks=9) != []


def test_workers_that_make_no_step_faster_do_not_count() -> None:
    """They are never started: 64 leaves are as fast with 32 workers as with 63."""
    spec = TRAINING_JOB["spec"]
    training = {**spec["training"], "batch": {"globalSize": 64, "microSize": 1}}
    idle = TrainingJobSpec.model_validate({**spec, "training": training, "cluster": {"workers": {"max": 63}}})
    assert lines(idle, {"workers": 32}) == []
