"""The condition Reproduced: asked for by an annotation, found by a pod of its own, said with the receipt's digest."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from seedbed_api.pod_contract.labels import VERIFY_ANNOTATION
from seedbed_api.pod_contract.verifier_messages import VerificationOutcome
from seedbed_api.trainingjob_status import TrainingJobStatus
from seedbed_operator.backends.child_metadata import verifier_name
from seedbed_operator.job_observation import JobObservation, JobView, PodView, RejectedWrite
from seedbed_operator.plan import Create, Delete, DeleteJob, Plan
from seedbed_operator.planning import plan, status_after_rejection
from support.operator.builders import (
    IMAGE,
    NOON,
    RUN,
    UID,
    a_pod,
    a_profile,
    a_sweep_job,
    a_training_job,
    ended,
    says,
)

RECEIPT = "sha256:" + "9" * 64
STATUS: dict[str, Any] = {
    "attempts": 1,
    "accounted_attempts": 1,
    "run_id": RUN,
    "environment": {"image": IMAGE},
    "receipt": {"uri": "s3://elsewhere/receipt.json", "digest": RECEIPT},
    "completion_time": "2030-01-02T11:00:00Z",
    "conditions": [
        {
            "type": "Complete",
            "status": "True",
            "reason": "Trained",
            "lastTransitionTime": "2030-01-02T11:00:00Z",
        },
        {
            "type": "Running",
            "status": "False",
            "reason": "Trained",
            "lastTransitionTime": "2030-01-02T11:00:00Z",
        },
    ],
}


def a_complete_job(request: str | None = "now", **spec: Any) -> JobView:
    job = a_training_job(**spec).build()
    status = TrainingJobStatus.model_validate(STATUS)
    return replace(job, status=status, annotations={VERIFY_ANNOTATION: request} if request else {})


def a_verifier(number: int = 1, **fields: Any) -> PodView:
    given = {
        "name": f"seedlings-{number}-verifier",
        "uid": f"verifier-{number}",
        "owner_uid": UID,
        "attempt": number,
    }
    return a_pod("verifier", **{**given, **fields})


def planned(job: JobView, *pods: PodView, **fields: Any) -> Plan:
    return plan(JobObservation(**{"now": NOON, "job": job, "profile": a_profile(), "pods": pods, **fields}))


def after(job: JobView, *pods: PodView, **fields: Any) -> JobView:
    """Return the job with the status of its next plan."""
    status = planned(job, *pods, **fields).status
    assert status is not None
    return replace(job, status=status)


def begun(job: JobView | None = None) -> JobView:
    return after(job or a_complete_job())


def word(
    result: str = "Reproduced", *, digest: str = RECEIPT, message: str = "reproduced: steps 0..8"
) -> str:
    return VerificationOutcome(result=result, message=message, receipt_digest=digest).encode().decode()  # type: ignore[arg-type]


def test_the_request_is_in_the_status_before_the_pod_is_created() -> None:
    first = planned(a_complete_job())
    assert first.actions == ()
    assert isinstance(first.status, TrainingJobStatus)
    assert first.status.verification is not None
    assert first.status.verification.plain() == {
        "request": "now",
        "number": 1,
        "failures": 0,
        "receiptDigest": RECEIPT,
    }
    assert says(first.status, "Reproduced") == "Unknown Verifying"
    second = planned(begun())
    assert [(action.kind, action.name) for action in second.actions] == [("Pod", "seedlings-1-verifier")]


def test_the_pod_reads_only_and_is_told_nothing_from_the_receipt() -> None:
    action = planned(begun()).actions[0]
    assert isinstance(action, Create)
    body = action.body
    box = body["spec"]["containers"][0]
    assert box["command"] == ["seedbed", "verifier"]
    environment = {each["name"]: each.get("value") for each in box["env"]}
    assert (environment["SEEDBED_RECEIPT_DIGEST"], environment["SEEDBED_EXPECTED_RUN_ID"]) == (RECEIPT, RUN)
    assert "elsewhere" not in str(body), "the driver may have reported any URL"
    assert "RAY_AUTH_TOKEN" not in environment
    assert all(mount["readOnly"] for mount in box["volumeMounts"] if mount["name"] not in ("tmp", "shm"))
    assert body["spec"]["automountServiceAccountToken"] is False
    assert body["spec"]["activeDeadlineSeconds"] == 86_400
    owner = body["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["uid"]) == ("TrainingJob", UID)


@pytest.mark.parametrize(
    ("result", "condition"),
    [
        ("Reproduced", "True Reproduced"),
        ("Differs", "False Differs"),
        ("Unverified", "False Unverified"),
        ("Refused", "False Refused"),
    ],
)
def test_the_pods_word_becomes_the_condition_and_the_pod_goes(result: str, condition: str) -> None:
    pod = ended(a_verifier(), 0 if result == "Reproduced" else 2, word(result, message="what was found"))
    found = planned(begun(), pod)
    assert found.status is not None
    assert says(found.status, "Reproduced") == condition
    reproduced = found.status.condition("Reproduced")
    assert reproduced is not None
    assert reproduced.message == f"receipt {RECEIPT}: what was found"
    assert found.actions == (Delete(kind="Pod", name=pod.name, uid=pod.uid),)
    done = replace(begun(), status=found.status)
    assert planned(done).actions == ()
    assert planned(done).status == found.status


def test_the_word_about_another_receipt_is_no_reproduction() -> None:
    job = after(begun(), ended(a_verifier(), 0, word(digest=RUN)))
    assert says(job.status, "Reproduced") == "False Refused"


def test_a_pod_without_a_word_is_followed_by_two_others() -> None:
    job = begun()
    for number in (1, 2):
        assert planned(job).actions[0].name == f"seedlings-{number}-verifier"  # type: ignore[union-attr]
        job = after(job, ended(a_verifier(number), 75, "some log"))
        assert says(job.status, "Reproduced") == "Unknown Verifying"
    job = after(job, ended(a_verifier(3), 137, "", reason="OOMKilled"))
    assert says(job.status, "Reproduced") == "Unknown VerifierFailed"
    assert planned(job).actions == ()
    again = replace(job, annotations={VERIFY_ANNOTATION: "again"})
    assert planned(begun(again)).actions[0].name == "seedlings-5-verifier"  # type: ignore[union-attr]


def test_another_value_asks_again_and_ends_the_pod_that_runs() -> None:
    job = replace(begun(), annotations={VERIFY_ANNOTATION: "2"})
    found = planned(job, a_verifier())
    assert found.actions == (Delete(kind="Pod", name="seedlings-1-verifier", uid="verifier-1"),)
    assert planned(replace(job, status=found.status)).actions[0].name == "seedlings-2-verifier"  # type: ignore[union-attr, arg-type]


def test_without_the_annotation_the_pod_goes_and_the_condition_says_so() -> None:
    job = replace(begun(), annotations={})
    found = planned(job, a_verifier())
    assert found.actions == (Delete(kind="Pod", name="seedlings-1-verifier", uid="verifier-1"),)
    assert found.status is not None
    assert says(found.status, "Reproduced") == "Unknown Withdrawn"


def test_a_running_pod_is_waited_for() -> None:
    found = planned(begun(), a_verifier())
    assert found.actions == ()
    assert found.requeue_at == NOON + timedelta(seconds=30)


def test_a_job_is_not_deleted_while_it_is_verified() -> None:
    job = begun(a_complete_job(ttlSecondsAfterFinished=60))
    assert not any(isinstance(action, DeleteJob) for action in planned(job, a_verifier()).actions)
    done = after(job, ended(a_verifier(), 0, word()))
    assert any(isinstance(action, DeleteJob) for action in planned(done).actions)


NOT_VERIFIED = {
    "nobody asks": a_complete_job(None),
    "an empty value": a_complete_job(""),
    "a job that failed": replace(
        a_complete_job(),
        status=TrainingJobStatus.model_validate(
            {**STATUS, "conditions": [{**STATUS["conditions"][0], "type": "Failed", "reason": "ModelError"}]}
        ),
    ),
    "no receipt": replace(
        a_complete_job(), status=TrainingJobStatus.model_validate({**STATUS, "receipt": None})
    ),
    "a job in deletion": replace(a_complete_job(), deleting=True),
    "a sweep": replace(a_sweep_job().build(), annotations={VERIFY_ANNOTATION: "now"}),
}


@pytest.mark.parametrize("narrative", NOT_VERIFIED)
def test_what_cannot_be_verified_gets_no_pod(narrative: str) -> None:
    found = planned(NOT_VERIFIED[narrative])
    assert found.status is None or found.status.condition("Reproduced") is None
    assert not any(isinstance(action, Create) and "verifier" in action.name for action in found.actions)


def test_a_pod_of_another_owner_says_nothing() -> None:
    foreign = ended(a_verifier(owner_uid="someone-else"), 0, word())
    assert says(after(begun(), foreign).status, "Reproduced") == "Unknown Verifying"
    named = ended(a_verifier(name="my-verifier"), 0, word())
    assert says(after(begun(), named).status, "Reproduced") == "Unknown Verifying"


def test_a_profile_that_is_gone_or_refuses_is_the_reason_of_the_condition() -> None:
    assert says(after(begun(), profile=None).status, "Reproduced") == "Unknown ProfileNotFound"
    narrow = a_profile(allowedURIPrefixes=["s3://other/"])
    assert says(after(begun(), profile=narrow).status, "Reproduced") == "Unknown URINotAllowed"


def test_a_rejected_pod_leaves_the_job_complete() -> None:
    job = begun()
    observation = JobObservation(now=NOON, job=job, profile=a_profile())
    rejected = RejectedWrite(
        kind="Pod",
        name=verifier_name(job, 1),
        code=403,
        reason="Forbidden",
        message="pods is forbidden: exceeded quota: team, requested: pods=1, used: pods=9, limited: pods=9",
        time=NOON,
    )
    status = status_after_rejection(observation, plan(observation), (rejected,))
    assert says(status, "Complete") == "True Trained"
    assert says(status, "Running") == "False Trained"
    assert says(status, "Reproduced") == "Unknown QuotaExceeded"
