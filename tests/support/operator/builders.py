"""Builders of what planning looks at: jobs, profiles, pods, the words of drivers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from seedbed_api.conditions import Condition
from seedbed_api.job_kinds import STATUSES, JobKind
from seedbed_api.pod_contract.driver_messages import LiveProgress, Outcome
from seedbed_api.sweepjob import SweepJobSpec
from seedbed_api.sweepjob_status import SweepProgress, Trial, TrialCounts
from seedbed_api.timestamps import format_time
from seedbed_api.trainingjob import TrainingJobSpec
from seedbed_api.trainingjob_status import (
    CheckpointStatus,
    DatasetStatus,
    LifecycleStatus,
    ModelStatus,
    ObjectStatus,
    Progress,
    WorkerCounts,
    percent,
)
from seedbed_api.trainingprofile import TrainingProfileSpec
from seedbed_operator.job_observation import ContainerTerminated, JobView, PodView, ProfileView

NOON = datetime(2030, 1, 2, 12, 0, 0, tzinfo=UTC)
UID = "0a1b2c3d-0000-4000-8000-000000000001"
IMAGE = "registry.example/seedbed@sha256:" + "a" * 64
DATASET = "sha256:" + "d" * 64
RUN = "sha256:" + "e" * 64
SWEEP = "sha256:" + "7" * 64
ENVIRONMENT = "sha256:" + "c" * 64
LEDGER = ObjectStatus(uri="s3://runs/sweeps/7/ledger.json", digest="sha256:" + "6" * 64)
TOTAL_STEPS = 100


def after(count: float) -> datetime:
    """Return a moment so many seconds after noon."""
    return NOON + timedelta(seconds=count)


def a_recipe() -> dict[str, Any]:
    return {
        "dataset": {"uri": "s3://data/seedlings"},
        "model": {"name": "simple-cnn"},
        "training": {
            "epochs": 2,
            "batch": {"globalSize": 64, "microSize": 8},
            "optimizer": {"type": "SGD", "learningRate": "0.1"},
        },
        "output": {"uri": "s3://runs"},
    }


def a_search() -> dict[str, Any]:
    recipe = a_recipe()
    output = recipe.pop("output")
    return {
        "objective": {"metric": "validation/accuracy", "direction": "Maximize"},
        "algorithm": {"type": "Random"},
        "parameters": [
            {
                "name": "lr",
                "fieldPath": "spec.training.optimizer.learningRate",
                "searchSpace": {"logUniform": {"min": "1e-3", "max": "0.2"}},
            }
        ],
        "trialTemplate": {"spec": recipe},
        "maxTrialCount": 12,
        "parallelTrialCount": 3,
        "output": output,
    }


@dataclass(frozen=True, kw_only=True)
class JobBuilder:
    """A job; every method returns another builder."""

    kind: JobKind = "TrainingJob"
    fields: dict[str, Any] = field(default_factory=a_recipe)
    view: dict[str, Any] = field(default_factory=dict)

    def with_spec(self, **fields: Any) -> JobBuilder:
        return replace(self, fields={**self.fields, **fields})

    def with_cluster(self, **fields: Any) -> JobBuilder:
        return self.with_spec(cluster={**self.fields.get("cluster", {}), **fields})

    def with_workers(self, least: int, most: int) -> JobBuilder:
        return self.with_cluster(workers={"min": least, "max": most})

    def with_overrides(self, **fields: Any) -> JobBuilder:
        return self.with_cluster(overrides=fields)

    def suspended(self, value: bool = True) -> JobBuilder:
        return self.with_spec(suspend=value)

    def with_status(self, **fields: Any) -> JobBuilder:
        status = self.view.get("status", STATUSES[self.kind]())
        return replace(self, view={**self.view, "status": status.model_copy(update=fields)})

    def seen(self, **fields: Any) -> JobBuilder:
        return replace(self, view={**self.view, **fields})

    def build(self) -> JobView:
        given = {
            "namespace": "team",
            "name": "seedlings",
            "uid": UID,
            "resource_version": "1",
            "generation": 1,
            "created": NOON,
            "deleting": False,
            "labels": {},
            "annotations": {},
            "kind": self.kind,
            "spec": SPECS[self.kind].model_validate(self.fields),
            "spec_error": None,
            "status": STATUSES[self.kind](),
        }
        return JobView(**{**given, **self.view})


SPECS = {"TrainingJob": TrainingJobSpec, "SweepJob": SweepJobSpec}


def a_training_job(**spec: Any) -> JobBuilder:
    return JobBuilder().with_spec(**spec)


def a_sweep_job(**spec: Any) -> JobBuilder:
    """Return 12 trials, 3 at a time."""
    return JobBuilder(kind="SweepJob", fields=a_search()).with_spec(**spec)


def a_profile(*, generation: int = 1, **spec: Any) -> ProfileView:
    given = TrainingProfileSpec.model_validate({"image": IMAGE, **spec})
    return ProfileView(name="default", generation=generation, spec=given)


def a_driver(attempt: int = 1, **fields: Any) -> PodView:
    given = {"name": f"seedlings-{attempt}-driver", "uid": f"driver-{attempt}", "owner_uid": UID}
    return a_pod("driver", attempt=attempt, **{**given, **fields})


def a_worker(index: int = 0, *, attempt: int = 1, **fields: Any) -> PodView:
    name = f"seedlings-{attempt}-worker-{index}"
    given = {"name": name, "uid": f"worker-{attempt}-{index}", "owner_uid": f"driver-{attempt}"}
    return a_pod("worker", attempt=attempt, index=index, **{**given, **fields})


def a_pod(role: str, **fields: Any) -> PodView:
    """Return a pod that runs since noon."""
    given: dict[str, Any] = {
        "namespace": "team",
        "resource_version": "1",
        "job_uid": UID,
        "role": role,
        "index": 0,
        "created": NOON,
        "deleting": False,
        "deletion_due": None,
        "phase": "Running",
        "node": "node-a",
        "ip": "10.0.0.1",
        "ready": True,
        "scheduled": NOON,
        "unschedulable": None,
        "gated": False,
        "started": NOON,
        "disruption": None,
        "reason": "",
        "message": "",
        "waiting": None,
        "terminated": None,
    }
    return PodView(**{**given, **fields})


UNPLACED: dict[str, Any] = {
    "phase": "Pending",
    "node": None,
    "ip": None,
    "ready": False,
    "scheduled": None,
    "started": None,
}
"""Fields of a pod that has just been created."""


def ended(pod: PodView, code: int, message: str = "", *, reason: str = "", at: datetime = NOON) -> PodView:
    """Return a pod whose container has ended."""
    why = reason or ("Completed" if code == 0 else "Error")
    last = ContainerTerminated(exit_code=code, reason=why, message=message, started=pod.started, finished=at)
    return replace(pod, phase="Succeeded" if code == 0 else "Failed", ready=False, terminated=last)


def progress(step: int) -> Progress:
    return Progress(epoch=0, step=step, total_steps=TOTAL_STEPS, percent=percent(step, TOTAL_STEPS))


def a_checkpoint(step: int, at: datetime = NOON) -> CheckpointStatus:
    return CheckpointStatus(step=step, digest="sha256:" + "b" * 64, time=format_time(at))


def live(step: int | None, activity: str = "Training", **fields: Any) -> LiveProgress:
    given: dict[str, Any] = {
        "time": format_time(NOON),
        "job_uid": UID,
        "attempt": 1,
        "activity": activity,
        "run_id": RUN,
        "dataset": DatasetStatus(digest=DATASET, samples=1000),
        "workers": WorkerCounts(ready=1, desired=1),
        "progress": progress(step) if step is not None else None,
    }
    return LiveProgress(**{**given, **fields})


def trials(done: int, **fields: Any) -> SweepProgress:
    """Return how a sweep stands of whose 12 trials so many have succeeded, the newest the best."""
    rows = [a_trial(index) for index in reversed(range(done))]
    given: dict[str, Any] = {
        "trials": TrialCounts(total=12, running=min(3, 12 - done), succeeded=done, finished=f"{done}/12"),
        "best_trial": rows[0] if rows else None,
        "top_trials": tuple(rows),
        "steps": 10 * done,
    }
    return SweepProgress(**{**given, **fields})


def a_trial(index: int) -> Trial:
    return Trial(index=index, run_id=RUN, objective=f"0.{10 + index}", parameters=())


def a_sweeps_word(done: int, activity: str = "Training", **fields: Any) -> LiveProgress:
    """Return what the driver of a sweep tells."""
    return live(None, activity, sweep=trials(done), run_id=SWEEP, **fields)


def a_sweeps_end(result: str = "Succeeded", reason: str = "Trained", **fields: Any) -> str:
    """Return the last word of the driver of a sweep."""
    told = fields.pop("sweep", trials(12, ledger=LEDGER))
    word = {"progress": None, "model": None, "receipt": None, "run_id": SWEEP, "sweep": told}
    return an_outcome(result, reason, **{**word, **fields})


def an_outcome(result: str = "Succeeded", reason: str = "Trained", **fields: Any) -> str:
    given: dict[str, Any] = {
        "result": result,
        "reason": reason,
        "attempt": 1,
        "run_id": RUN,
        "environment_class": ENVIRONMENT,
        "dataset": DatasetStatus(digest=DATASET, samples=1000),
    }
    if result == "Succeeded":
        given |= {
            "progress": progress(TOTAL_STEPS),
            "model": ModelStatus(uri="s3://runs/model", weights_digest="sha256:" + "f" * 64),
            "receipt": ObjectStatus(uri="s3://runs/receipt.json", digest="sha256:" + "9" * 64),
        }
    return Outcome(**{**given, **fields}).encode().decode()


def condition(status: LifecycleStatus, kind: str) -> Condition | None:
    return next((found for found in status.conditions if found.type == kind), None)


def says(status: LifecycleStatus, kind: str) -> str:
    """Return a condition as `True Training`; `-` where there is none."""
    found = condition(status, kind)
    return f"{found.status} {found.reason}" if found else "-"
