"""Verify a complete TrainingJob on request: a pod recomputes it; its word becomes the condition Reproduced.

The annotation seedbed.dev/verify asks for it, and another value asks again. What the pod is told comes from
the job's own spec and from the digest that its driver reported, nothing from the receipt.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from seedbed_api.conditions import ConditionType, ReproducedReason
from seedbed_api.pod_contract.labels import VERIFY_ANNOTATION
from seedbed_api.pod_contract.verifier_messages import VerificationOutcome, parse_verification
from seedbed_api.trainingjob_status import TrainingJobStatus, VerificationStatus
from seedbed_operator.backends.child_metadata import verifier_name
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

MOST_FAILURES = 3
RECHECK_INTERVAL = timedelta(seconds=30)
_LONGEST_REQUEST = 64


def plan_verification(context: JobContext, builder: PlanBuilder) -> PlanBuilder:
    """Start, follow or end the verification that a finished job asks for."""
    status, request = context.status, _request(context)
    if not isinstance(status, TrainingJobStatus):
        return builder
    pods, known = _verifiers(context), status.verification
    if request is None or status.receipt is None or status.run_id is None or context.job.deleting:
        return _withdraw(builder, pods)
    if known is None or known.request != request:
        return _begin(builder, status, request, pods)
    if not is_verifying(builder):
        return delete_receipt_pods(builder, pods)
    pod = next((pod for pod in pods if pod.attempt == known.number), None)
    if pod is None:
        return _create(context, builder, known)
    if has_ended_or_is_lost(pod, context.now):
        return _conclude(builder, known, pod)
    return _follow(context, builder, pod)


def is_verifying(builder: PlanBuilder) -> bool:
    """Return whether a verification has begun and has no result yet; the job is not deleted meanwhile."""
    found = builder.status.condition(ConditionType.REPRODUCED)
    final = (ReproducedReason.VERIFIER_FAILED, ReproducedReason.WITHDRAWN)
    return found is not None and found.status == "Unknown" and found.reason not in final


def _request(context: JobContext) -> str | None:
    """Return what the annotation asks for, if the job is complete and can have pods."""
    asked = context.job.annotations.get(VERIFY_ANNOTATION, "")[:_LONGEST_REQUEST]
    return asked if asked and context.is_true(ConditionType.COMPLETE) and context.job.spec else None


def _verifiers(context: JobContext) -> tuple[PodView, ...]:
    job = context.job
    return tuple(
        pod
        for pod in context.observation.pods
        if pod.role == "verifier"
        and pod.job_uid == pod.owner_uid == job.uid
        and pod.name == verifier_name(job, pod.attempt)
    )


def _begin(
    builder: PlanBuilder, status: TrainingJobStatus, request: str, pods: tuple[PodView, ...]
) -> PlanBuilder:
    """Record the request before its pod is created, so that a crash in between creates one pod."""
    assert status.receipt is not None
    number = 1 + max(
        (status.verification.number if status.verification else 0, *(pod.attempt for pod in pods))
    )
    verification = VerificationStatus(request=request, number=number, receipt_digest=status.receipt.digest)
    builder = delete_receipt_pods(builder, pods).set_status(verification=verification)
    return _set(builder, "Unknown", ReproducedReason.VERIFYING, "a pod is being created").requeue(builder.now)


def _create(context: JobContext, builder: PlanBuilder, known: VerificationStatus) -> PlanBuilder:
    """Create the pod, if the profile still serves the namespace and allows the job."""
    if lacks_namespace_labels(context):
        return builder.add_requests(EvidenceRequest(kind="NamespaceLabels")).requeue(context.now)
    maker = pod_maker(context)
    if isinstance(maker, Diagnosis):
        return _set(builder, "Unknown", maker.reason, maker.message).requeue(context.now + RECHECK_INTERVAL)
    profile, backend = maker
    attempt = numbered(context, builder, profile, known.number)
    builder = builder.add_actions(*backend.verification(context.job, profile, attempt, known.receipt_digest))
    return _recomputes(builder, verifier_name(context.job, known.number))


def _follow(context: JobContext, builder: PlanBuilder, pod: PodView) -> PlanBuilder:
    """Say what keeps a pod from starting, or that it works."""
    builder = builder.add_requests(*pod_event_requests(context, (pod,)))
    why = diagnose_pod(context, pod)
    if why is None:
        return _recomputes(builder, pod.name)
    return _set(builder, "Unknown", why.reason, why.message).requeue(context.now + RECHECK_INTERVAL)


def _recomputes(builder: PlanBuilder, name: str) -> PlanBuilder:
    builder = _set(builder, "Unknown", ReproducedReason.VERIFYING, f"pod {name} recomputes the run")
    return builder.requeue(builder.now + RECHECK_INTERVAL)


def _conclude(builder: PlanBuilder, known: VerificationStatus, pod: PodView) -> PlanBuilder:
    outcome = parse_verification(pod.terminated.message) if pod.terminated else None
    if outcome is None:
        return _retry(builder, known, pod)
    builder = delete_receipt_pods(builder, (pod,))
    if outcome.receipt_digest != known.receipt_digest:
        message = f"the pod verified receipt {outcome.receipt_digest}, not {known.receipt_digest}"
        return _set(builder, "False", ReproducedReason.REFUSED, message)
    reproduced = outcome.result == "Reproduced"
    return _set(builder, "True" if reproduced else "False", outcome.result, _told(outcome))


def _told(outcome: VerificationOutcome) -> str:
    return f"receipt {outcome.receipt_digest}: {outcome.message}"


def _retry(builder: PlanBuilder, known: VerificationStatus, pod: PodView) -> PlanBuilder:
    """Delete a pod that ended without a result, and try another one a few times."""
    failures = known.failures + 1
    update = {"failures": failures, "number": known.number + 1}
    builder = delete_receipt_pods(builder, (pod,)).set_status(verification=known.model_copy(update=update))
    message = f"pod {pod.name} ended without a result ({end_in_words(pod)})"
    if failures >= MOST_FAILURES:
        return _set(builder, "Unknown", ReproducedReason.VERIFIER_FAILED, f"{message}, the third of them")
    return _set(builder, "Unknown", ReproducedReason.VERIFYING, f"{message}; another one follows").requeue(
        builder.now
    )


def _withdraw(builder: PlanBuilder, pods: tuple[PodView, ...]) -> PlanBuilder:
    builder = delete_receipt_pods(builder, pods)
    if not is_verifying(builder):
        return builder
    return _set(
        builder, "Unknown", ReproducedReason.WITHDRAWN, f"the annotation {VERIFY_ANNOTATION} was removed"
    )


def _set(
    builder: PlanBuilder, status: Literal["True", "False", "Unknown"], reason: str, message: str
) -> PlanBuilder:
    return builder.set_condition(ConditionType.REPRODUCED, status, reason, message)
