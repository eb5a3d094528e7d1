"""The condition SignatureStored: a pod of its own stores what the operator signed, and never changes how the job ended."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from seedbed_api.pod_contract.labels import VERIFY_ANNOTATION
from seedbed_api.pod_contract.signature_messages import SignatureUploadOutcome
from seedbed_api.trainingjob_status import TrainingJobStatus
from seedbed_operator.backends.network_policy import NetworkRules
from seedbed_operator.backends.pods_backend import backends_with
from seedbed_operator.job_observation import JobObservation, JobView, PodView, RejectedWrite
from seedbed_operator.plan import Create, Delete, DeleteJob, EvidenceRequest, Plan
from seedbed_operator.planning import plan, status_after_rejection
from seedbed_operator.planning.signature_storage import MOST_TRIES, PATIENCE
from support.operator.builders import (
    IMAGE,
    NOON,
    RUN,
    UID,
    UNPLACED,
    a_pod,
    a_profile,
    a_training_job,
    ended,
    says,
)

RECEIPT = "sha256:" + "9" * 64
ENVELOPE = '{"payload":"$(HOME)"}'


def a_condition(kind: str, status: str, reason: str) -> dict[str, str]:
    time = "2030-01-02T11:30:00Z"
    return {"type": kind, "status": status, "reason": reason, "message": "", "lastTransitionTime": time}


STATUS: dict[str, Any] = {
    "attempts": 1,
    "accounted_attempts": 1,
    "run_id": RUN,
    "environment": {"image": IMAGE},
    "receipt": {"uri": "s3://elsewhere/receipt.json", "digest": RECEIPT, "signature": ENVELOPE},
    "completion_time": "2030-01-02T11:30:00Z",
    "conditions": [
        a_condition("Complete", "True", "Trained"),
        a_condition("Running", "False", "Trained"),
        a_condition("Signed", "True", "Signed"),
        a_condition("SignatureStored", "Unknown", "Storing"),
    ],
}


def a_signed_job(status: dict[str, Any] | None = None, **spec: Any) -> JobView:
    job = a_training_job(**spec).build()
    return replace(job, status=TrainingJobStatus.model_validate({**STATUS, **(status or {})}))


def an_uploader(number: int = 1, **fields: Any) -> PodView:
    given = {
        "name": f"seedlings-{number}-signature-uploader",
        "uid": f"uploader-{number}",
        "owner_uid": UID,
        "attempt": number,
        "created": NOON - timedelta(minutes=1),
        "over_since": NOON,
    }
    return a_pod("signature-uploader", **{**given, **fields})


def failed(number: int = 1, **fields: Any) -> PodView:
    return ended(an_uploader(number, **fields), 75, "some log")


def word(
    result: str = "Stored", message: str = "s3://runs/signatures/k.dsse.json", digest: str = RECEIPT
) -> str:
    return SignatureUploadOutcome(result=result, message=message, receipt_digest=digest).encode().decode()  # type: ignore[arg-type]


def planned(job: JobView, *pods: PodView, **fields: Any) -> Plan:
    return plan(JobObservation(**{"now": NOON, "job": job, "profile": a_profile(), "pods": pods, **fields}))


def stored(found: Plan) -> str:
    assert found.status is not None
    assert says(found.status, "Complete") == "True Trained", "the job stays what it is"
    assert says(found.status, "Running") == "False Trained"
    return says(found.status, "SignatureStored")


def told(found: Plan) -> str:
    assert found.status is not None
    condition = found.status.condition("SignatureStored")
    assert condition is not None
    return condition.message


def created(found: Plan) -> list[str]:
    return [f"{action.kind} {action.name}" for action in found.actions if isinstance(action, Create)]


def test_a_signed_job_gets_a_pod_after_what_it_needs() -> None:
    found = planned(a_signed_job())
    assert created(found) == ["Secret seedbed-owner", "Pod seedlings-1-signature-uploader"]
    assert stored(found) == "Unknown Storing"
    seen = JobObservation(now=NOON, job=a_signed_job(), profile=a_profile())
    fence = f"NetworkPolicy seedlings-{UID[:8]}-pods"
    assert created(plan(seen, backends_with(NetworkRules()))) == [
        "Secret seedbed-owner",
        fence,
        "Pod seedlings-1-signature-uploader",
    ]


def test_the_pod_is_small_and_is_told_nothing_that_the_driver_said_but_the_digest() -> None:
    action = planned(a_signed_job(), profile=a_profile(worker={"gpu": {"count": 1}})).actions[-1]
    assert isinstance(action, Create)
    body = action.body
    box = body["spec"]["containers"][0]
    assert box["command"] == ["seedbed", "signature-uploader"]
    environment = {each["name"]: each.get("value") for each in box["env"]}
    assert environment["SEEDBED_SIGNATURE"] == ENVELOPE.replace("$", "$$"), "the kubelet replaces $(HOME)"
    assert (environment["SEEDBED_RECEIPT_DIGEST"], environment["SEEDBED_EXPECTED_RUN_ID"]) == (RECEIPT, RUN)
    assert "elsewhere" not in str(body), "the driver may have reported any URL"
    assert not {"RAY_AUTH_TOKEN", "SEEDBED_CACHE_FOLDER", "SEEDBED_SIGNATURE_POLICY"} & set(environment)
    assert box["resources"]["requests"] == {"cpu": "100m", "memory": "512Mi", "ephemeral-storage": "0"}
    assert body["spec"]["automountServiceAccountToken"] is False
    assert body["spec"]["activeDeadlineSeconds"] == 600
    owner = body["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["uid"]) == ("TrainingJob", UID)


@pytest.mark.parametrize(
    ("pod", "condition", "message"),
    [
        (ended(an_uploader(), 0, word()), "True Stored", "s3://runs/signatures/k.dsse.json"),
        (ended(an_uploader(), 2, word("Refused", "gone")), "False Refused", "gone"),
        (
            ended(an_uploader(), 0, word(digest=RUN)),
            "False Refused",
            f"the pod was about receipt {RUN}, not {RECEIPT}",
        ),
    ],
    ids=["stored", "refused", "about another receipt"],
)
def test_the_word_of_the_pod_becomes_the_condition(pod: PodView, condition: str, message: str) -> None:
    found = planned(a_signed_job(), pod)
    assert (stored(found), told(found)) == (condition, message)
    assert found.actions == (Delete(kind="Pod", name=pod.name, uid=pod.uid),)
    events = [(each.type, each.reason) for each in found.events]
    assert events == ([] if condition.startswith("True") else [("Warning", "SignatureNotStored")])
    assert found.status is not None
    settled = replace(a_signed_job(), status=found.status)
    assert (planned(settled).actions, planned(settled).events) == ((), ()), (
        "a restarted operator repeats nothing"
    )


def test_a_pod_without_a_word_is_followed_by_others_at_growing_distances() -> None:
    pods: tuple[PodView, ...] = ()
    for number, seconds in enumerate((15, 30, 60, 120), start=1):
        pods = (*pods, failed(number))
        waits = planned(a_signed_job(), *pods)
        assert (created(waits), stored(waits)) == ([], "Unknown Storing")
        assert waits.requeue_at == NOON + timedelta(seconds=seconds)
        assert "exit code 75" in told(waits)
        later = planned(a_signed_job(), *pods, now=NOON + timedelta(seconds=seconds))
        assert created(later)[-1] == f"Pod seedlings-{number + 1}-signature-uploader"
    last = planned(a_signed_job(), *pods, failed(MOST_TRIES))
    assert stored(last) == "False NotStored"
    assert told(last).endswith("`seedbed sign` with the run folder and --envelope")
    assert len(last.actions) == MOST_TRIES
    assert [(each.type, each.reason, each.message) for each in last.events] == [
        ("Warning", "SignatureNotStored", told(last))
    ]


def test_a_running_pod_is_waited_for_and_not_repeated() -> None:
    found = planned(a_signed_job(), an_uploader())
    assert (found.actions, stored(found)) == ((), "Unknown Storing")
    assert told(found) == "by pod seedlings-1-signature-uploader"
    assert found.requeue_at == NOON + timedelta(seconds=30)


def test_a_pod_that_finds_no_node_says_so_and_is_given_up_after_an_hour() -> None:
    pod = an_uploader(**UNPLACED, unschedulable="0/3 nodes are available: 3 Insufficient memory.")
    found = planned(a_signed_job(), pod)
    assert stored(found) == "Unknown Unschedulable"
    assert "100m of CPU, 512Mi of memory" in told(found)
    late = planned(a_signed_job(), pod, now=pod.created + PATIENCE)
    assert stored(late) == "False NotStored"
    assert late.actions == (Delete(kind="Pod", name=pod.name, uid=pod.uid),)


def test_a_job_is_deleted_after_its_signature_is_stored_or_given_up() -> None:
    job = a_signed_job(ttlSecondsAfterFinished=60)
    for pods in ((), (an_uploader(),), (failed(),)):
        assert not any(isinstance(action, DeleteJob) for action in planned(job, *pods).actions)
    for pod in (ended(an_uploader(), 0, word()), an_uploader(created=NOON - PATIENCE)):
        done = replace(job, status=planned(job, pod).status)
        assert any(isinstance(action, DeleteJob) for action in planned(done).actions)


UNSIGNED = {
    "of before there was the condition": a_signed_job({"conditions": STATUS["conditions"][:3]}),
    "stored already": a_signed_job(
        {"conditions": [*STATUS["conditions"][:3], a_condition("SignatureStored", "True", "Stored")]}
    ),
    "without a signature": a_signed_job({"receipt": {"uri": "s3://r/receipt.json", "digest": RECEIPT}}),
    "that failed": a_signed_job(
        {"conditions": [a_condition("Failed", "True", "ModelError"), *STATUS["conditions"][1:]]}
    ),
    "in deletion": replace(a_signed_job(), deleting=True),
}


@pytest.mark.parametrize("narrative", UNSIGNED)
def test_a_job_gets_no_pod(narrative: str) -> None:
    found = planned(UNSIGNED[narrative])
    assert not any(isinstance(action, Create) and "signature" in action.name for action in found.actions)


def test_a_pod_of_another_owner_says_nothing() -> None:
    for fields in ({"owner_uid": "someone-else"}, {"name": "my-uploader"}, {"job_uid": "2"}):
        foreign = ended(an_uploader(**fields), 0, word())
        assert stored(planned(a_signed_job(), foreign)) == "Unknown Storing"


def test_a_profile_that_is_gone_or_refuses_is_the_reason_and_after_an_hour_the_end() -> None:
    now = NOON + PATIENCE
    for profile, reason in (
        (None, "ProfileNotFound"),
        (a_profile(allowedURIPrefixes=["s3://other/"]), "URINotAllowed"),
        (a_profile(allowedNamespaces={"names": ["vision"]}), "NamespaceNotAllowed"),
    ):
        found = planned(a_signed_job(), profile=profile)
        assert (stored(found), found.actions) == (f"Unknown {reason}", ())
        late = planned(a_signed_job(), profile=profile, now=now)
        assert stored(late) == "False NotStored"
        assert reason in told(late)
    by_label = a_profile(allowedNamespaces={"selector": {"matchLabels": {"team": "vision"}}})
    asked = planned(a_signed_job(), profile=by_label)
    assert (asked.actions, asked.evidence_requests) == ((), (EvidenceRequest(kind="NamespaceLabels"),))


def rejection(name: str, **fields: Any) -> RejectedWrite:
    message = "pods is forbidden: exceeded quota: team, requested: pods=1, used: pods=9, limited: pods=9"
    given = {"kind": "Pod", "code": 403, "reason": "Forbidden", "message": message, "time": NOON}
    return RejectedWrite(**{**given, "name": name, **fields})


def test_a_rejected_pod_is_the_reason_and_after_an_hour_the_end() -> None:
    rejected = rejection("seedlings-1-signature-uploader")
    observation = JobObservation(now=NOON, job=a_signed_job(), profile=a_profile())
    status = status_after_rejection(observation, plan(observation), (rejected,))
    assert says(status, "Complete") == "True Trained"
    assert says(status, "SignatureStored") == "Unknown QuotaExceeded"
    assert status.condition("Reproduced") is None
    late = planned(a_signed_job(), now=NOON + PATIENCE, rejected_writes=(rejected,))
    assert (stored(late), late.actions) == ("False NotStored", ())
    assert "exceeded quota" in told(late)


def test_each_of_two_pods_has_its_own_condition() -> None:
    """A verification is asked for while the signature is stored."""
    job = replace(a_signed_job(), annotations={VERIFY_ANNOTATION: "now"})
    job = replace(job, status=planned(job, an_uploader()).status)
    observation = JobObservation(now=NOON, job=job, profile=a_profile())
    both = plan(observation)
    assert [name for name in created(both) if name.startswith("Pod")] == [
        "Pod seedlings-1-signature-uploader",
        "Pod seedlings-1-verifier",
    ]
    first = status_after_rejection(observation, both, (rejection("seedlings-1-signature-uploader"),))
    assert says(first, "SignatureStored") == "Unknown QuotaExceeded"
    assert says(first, "Reproduced") == "Unknown Verifying"
    second = status_after_rejection(observation, both, (rejection("seedlings-1-verifier"),))
    assert says(second, "Reproduced") == "Unknown QuotaExceeded"
    assert says(second, "SignatureStored") == "Unknown Storing"
