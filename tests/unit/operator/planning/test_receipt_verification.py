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
from seedbed_operator.backends.network_policy import NetworkRules
from seedbed_operator.backends.pods_backend import backends_with
from seedbed_operator.job_observation import JobObservation, JobView, PodView, RejectedWrite
from seedbed_operator.plan import Create, Delete, DeleteJob, EvidenceRequest, Plan
from seedbed_operator.planning import plan, status_after_rejection
from seedbed_operator.planning.diagnosis import NEXT_VERIFICATION
from support.operator.builders import (
    IMAGE,
    NOON,
    RUN,
    UID,
    UNPLACED,
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


def created(found: Plan) -> list[str]:
    return [f"{action.kind} {action.name}" for action in found.actions if isinstance(action, Create)]


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
    assert created(second) == ["Secret seedbed-owner", "Pod seedlings-1-verifier"]


def test_key_and_network_policy_are_there_before_the_pod() -> None:
    """The job may have ended before there were any, or somebody has deleted them since."""
    seen = JobObservation(now=NOON, job=begun(), profile=a_profile())
    fenced = plan(seen, backends_with(NetworkRules()))
    fence = f"NetworkPolicy seedlings-{UID[:8]}-pods"
    assert created(fenced) == ["Secret seedbed-owner", fence, "Pod seedlings-1-verifier"]
    assert created(planned(begun(), profile=a_profile(outputTrust="Store"))) == ["Pod seedlings-1-verifier"]


def test_a_namespace_that_the_profile_does_not_serve_any_more_gets_no_pod() -> None:
    other = a_profile(allowedNamespaces={"names": ["vision"]})
    found = planned(begun(), profile=other)
    assert found.actions == ()
    assert found.status is not None
    assert says(found.status, "Reproduced") == "Unknown NamespaceNotAllowed"
    by_label = a_profile(allowedNamespaces={"selector": {"matchLabels": {"team": "vision"}}})
    asked = planned(begun(), profile=by_label)
    assert (asked.actions, asked.evidence_requests) == ((), (EvidenceRequest(kind="NamespaceLabels"),))


def test_a_pod_that_does_not_start_says_why_and_then_that_it_works() -> None:
    pod = a_verifier(**UNPLACED, unschedulable="0/3 nodes are available: 3 Insufficient memory.")
    job = after(begun(), pod)
    assert says(job.status, "Reproduced") == "Unknown Unschedulable"
    found = job.status.condition("Reproduced")
    assert found is not None
    assert found.message.endswith("request less: resources of the profile's worker; " + NEXT_VERIFICATION)
    assert says(after(job, a_verifier()).status, "Reproduced") == "Unknown Verifying"


def test_a_pod_whose_container_does_not_start_asks_for_its_events() -> None:
    late = a_verifier(phase="Pending", started=None, scheduled=NOON - timedelta(minutes=1))
    assert [(each.kind, each.pod) for each in planned(begun(), late).evidence_requests] == [
        ("PodEvents", late.name)
    ]


def test_the_pod_reads_only_and_is_told_nothing_from_the_receipt() -> None:
    action = planned(begun()).actions[-1]
    assert isinstance(action, Create)
    body = action.body
    box = body["spec"]["containers"][0]
    assert box["command"] == ["seedbed", "verifier"]
    environment = {each["name"]: each.get("value") for each in box["env"]}
    assert (environment["SEEDBED_RECEIPT_DIGEST"], environment["SEEDBED_EXPECTED_RUN_ID"]) == (RECEIPT, RUN)
    assert "elsewhere" not in str(body), "the driver may have reported any URL"
    assert "RAY_AUTH_TOKEN" not in environment
    names = [{each["name"] for each in part} for part in (box["volumeMounts"], body["spec"]["volumes"])]
    assert names == [{"tmp", "shm", "owner-secret"}] * 2, "what others put into a cache is no evidence"
    assert "SEEDBED_CACHE_FOLDER" not in environment
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
        assert created(planned(job))[-1] == f"Pod seedlings-{number}-verifier"
        job = after(job, ended(a_verifier(number), 75, "some log"))
        assert says(job.status, "Reproduced") == "Unknown Verifying"
    job = after(job, ended(a_verifier(3), 137, "", reason="OOMKilled"))
    assert says(job.status, "Reproduced") == "Unknown VerifierFailed"
    assert planned(job).actions == ()
    again = replace(job, annotations={VERIFY_ANNOTATION: "again"})
    assert created(planned(begun(again)))[-1] == "Pod seedlings-5-verifier"


def test_another_value_asks_again_and_ends_the_pod_that_runs() -> None:
    job = replace(begun(), annotations={VERIFY_ANNOTATION: "2"})
    found = planned(job, a_verifier())
    assert found.actions == (Delete(kind="Pod", name="seedlings-1-verifier", uid="verifier-1"),)
    assert found.status is not None
    assert created(planned(replace(job, status=found.status)))[-1] == "Pod seedlings-2-verifier"


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
