"""Store the operator's signature beside the receipt of a complete TrainingJob, by a small pod of its own.

The signature is in the status already and the job is complete: whatever happens here changes the condition
SignatureStored alone. The operator has no credentials of stores, and only new signatures get the condition.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from seedbed_api.conditions import ConditionType, SignatureStoredReason
from seedbed_api.exponential_backoff import ExponentialBackoff
from seedbed_api.pod_contract.signature_messages import SignatureUploadOutcome, parse_signature_upload
from seedbed_api.timestamps import parse_time
from seedbed_api.trainingjob_status import ObjectStatus, TrainingJobStatus
from seedbed_operator.backends.child_metadata import signature_uploader_name
from seedbed_operator.backends.signature_uploader_pod import ROLE
from seedbed_operator.job_observation import PodView
from seedbed_operator.plan import EvidenceRequest, PlanBuilder
from seedbed_operator.planning.diagnosis import Diagnosis
from seedbed_operator.planning.diagnosis.profile_problems import lacks_namespace_labels
from seedbed_operator.planning.diagnosis.startup_delay import diagnose_pod, pod_event_requests
from seedbed_operator.planning.job_context import JobContext
from seedbed_operator.planning.pod_state import has_ended_or_is_lost
from seedbed_operator.planning.receipt_pods import (
    delete_receipt_pods,
    end_in_words,
    numbered,
    pod_maker,
)

MOST_TRIES = 5
BACKOFF = ExponentialBackoff(first=15, longest=240)
PATIENCE = timedelta(hours=1)
"""After it nothing is tried any more, so that a job with ttlSecondsAfterFinished ends."""
RECHECK_INTERVAL = timedelta(seconds=30)
BY_HAND = (
    "the job stays complete; to store it write .status.receipt.signature to a file and give it to "
    "`seedbed sign` with the run folder and --envelope"
)


def plan_signature_storage(context: JobContext, builder: PlanBuilder) -> PlanBuilder:
    """Start, follow or end the pod that stores the signature of a complete job."""
    pods, receipt = _uploaders(context), _waiting_receipt(context, builder)
    if receipt is None:
        return delete_receipt_pods(builder, pods)
    outcome = next(filter(None, map(_outcome, reversed(pods))), None)
    if outcome is not None:
        return _conclude(delete_receipt_pods(builder, pods), outcome, receipt)
    at_work = next((pod for pod in pods if not has_ended_or_is_lost(pod, context.now)), None)
    if pods and context.now >= pods[0].created + PATIENCE:
        what = f"pod {at_work.name} did not end" if at_work else _failed(pods)
        return _give_up(delete_receipt_pods(builder, pods), f"{what} within an hour")
    if at_work is not None:
        return _follow(context, builder, at_work)
    if len(pods) >= MOST_TRIES:
        return _give_up(delete_receipt_pods(builder, pods), f"{_failed(pods)}, the last of {MOST_TRIES}")
    due = _next_try(pods)
    if due is not None and context.now < due:
        return _storing(builder, f"{_failed(pods)}; another one follows").requeue(due)
    return _create(context, builder, receipt, number=1 + max((pod.attempt for pod in pods), default=0))


def is_storing(builder: PlanBuilder) -> bool:
    """Return whether a signature waits to be stored; the job is not deleted meanwhile."""
    return builder.has_condition(ConditionType.SIGNATURE_STORED, status="Unknown")


def _waiting_receipt(context: JobContext, builder: PlanBuilder) -> ObjectStatus | None:
    """Return the receipt whose signature is to be stored, if the job is complete and can have pods."""
    status, job = context.status, context.job
    if not isinstance(status, TrainingJobStatus) or status.run_id is None or job.deleting or job.spec is None:
        return None
    waits = is_storing(builder) and context.is_true(ConditionType.COMPLETE)
    receipt = status.receipt
    return receipt if waits and receipt is not None and receipt.signature is not None else None


def _uploaders(context: JobContext) -> tuple[PodView, ...]:
    """Return the pods of all tries, the oldest first; ended ones stay until the signature is stored."""
    job = context.job
    found = (
        pod
        for pod in context.observation.pods
        if pod.role == ROLE
        and pod.job_uid == pod.owner_uid == job.uid
        and pod.name == signature_uploader_name(job, pod.attempt)
    )
    return tuple(sorted(found, key=lambda pod: pod.attempt))


def _outcome(pod: PodView) -> SignatureUploadOutcome | None:
    return parse_signature_upload(pod.terminated.message) if pod.terminated else None


def _conclude(builder: PlanBuilder, outcome: SignatureUploadOutcome, receipt: ObjectStatus) -> PlanBuilder:
    if outcome.receipt_digest != receipt.digest:
        problem = f"the pod was about receipt {outcome.receipt_digest}, not {receipt.digest}"
        return _refuse(builder, problem)
    if outcome.result == "Stored":
        return _set(builder, "True", SignatureStoredReason.STORED, outcome.message)
    return _refuse(builder, outcome.message)


def _create(context: JobContext, builder: PlanBuilder, receipt: ObjectStatus, *, number: int) -> PlanBuilder:
    """Create the pod of a try, if the profile still serves the namespace and allows the job."""
    if lacks_namespace_labels(context):
        return builder.add_requests(EvidenceRequest(kind="NamespaceLabels")).requeue(context.now)
    maker = pod_maker(context)
    if isinstance(maker, Diagnosis):
        return _blocked(context, builder, maker)
    refused = next((refusal.message for refusal in context.observation.rejected_writes), None)
    if refused is not None and _is_late(context):
        return _give_up(builder, f"the API server rejected its pod for an hour ({refused})")
    profile, backend = maker
    attempt = numbered(context, builder, profile, number)
    builder = builder.add_actions(*backend.signature_upload(context.job, profile, attempt, receipt))
    return _storing(builder, f"by pod {signature_uploader_name(context.job, number)}").requeue(
        context.now + RECHECK_INTERVAL
    )


def _blocked(context: JobContext, builder: PlanBuilder, why: Diagnosis) -> PlanBuilder:
    """Say what keeps the pod from being created; not for ever."""
    if _is_late(context):
        return _give_up(builder, f"{why.reason}: {why.message}")
    return _set(builder, "Unknown", why.reason, why.message).requeue(context.now + RECHECK_INTERVAL)


def _follow(context: JobContext, builder: PlanBuilder, pod: PodView) -> PlanBuilder:
    """Say what keeps a pod from starting, or that it works."""
    builder = builder.add_requests(*pod_event_requests(context, (pod,)))
    builder = builder.requeue(context.now + RECHECK_INTERVAL)
    why = diagnose_pod(context, pod)
    if why is None:
        return _storing(builder, f"by pod {pod.name}")
    return _set(builder, "Unknown", why.reason, why.message)


def _is_late(context: JobContext) -> bool:
    ended = parse_time(context.status.completion_time)
    return ended is not None and context.now >= ended + PATIENCE


def _next_try(pods: tuple[PodView, ...]) -> datetime | None:
    if not pods:
        return None
    return (pods[-1].over_since or pods[-1].created) + timedelta(seconds=BACKOFF.delay(len(pods)))


def _failed(pods: tuple[PodView, ...]) -> str:
    return f"pod {pods[-1].name} ended without a result ({end_in_words(pods[-1])})"


def _storing(builder: PlanBuilder, message: str) -> PlanBuilder:
    return _set(builder, "Unknown", SignatureStoredReason.STORING, message)


def _refuse(builder: PlanBuilder, problem: str) -> PlanBuilder:
    return _set(builder, "False", SignatureStoredReason.REFUSED, problem)


def _give_up(builder: PlanBuilder, problem: str) -> PlanBuilder:
    return _set(builder, "False", SignatureStoredReason.NOT_STORED, f"{problem[:600]}; {BY_HAND}")


def _set(
    builder: PlanBuilder, status: Literal["True", "False", "Unknown"], reason: str, message: str
) -> PlanBuilder:
    return builder.set_condition(ConditionType.SIGNATURE_STORED, status, reason, message)
