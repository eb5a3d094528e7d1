"""What pods about the receipt of a complete job have in common: who may have one, and how they end."""

from __future__ import annotations

from collections.abc import Iterable

from seedbed_operator.backends.backend_interface import Backend, DesiredAttempt
from seedbed_operator.job_observation import PodView, ProfileView
from seedbed_operator.plan import Delete, PlanBuilder
from seedbed_operator.planning.diagnosis import Diagnosis
from seedbed_operator.planning.diagnosis.profile_problems import diagnose_namespace, diagnose_profile
from seedbed_operator.planning.job_context import JobContext
from seedbed_operator.planning.start_attempt import attempt_image, build_attempt


def pod_maker(context: JobContext) -> tuple[ProfileView, Backend] | Diagnosis:
    """Return what makes a pod, or why the profile does not allow one any more."""
    profile, backend = context.profile, context.backend
    problem = diagnose_namespace(context) or diagnose_profile(context)
    if problem is not None or profile is None or backend is None:
        return problem or Diagnosis(reason="ProfileNotFound", message="its profile cannot be used")
    return profile, backend


def numbered(context: JobContext, builder: PlanBuilder, profile: ProfileView, number: int) -> DesiredAttempt:
    """Return the attempt whose number the pod has; it has the image of the training."""
    return build_attempt(builder, number, image=attempt_image(context, profile), workers=())


def delete_receipt_pods(builder: PlanBuilder, pods: Iterable[PodView]) -> PlanBuilder:
    """Delete pods that are not being deleted yet."""
    left = (pod for pod in pods if not pod.deleting)
    return builder.add_actions(*(Delete(kind="Pod", name=pod.name, uid=pod.uid) for pod in left))


def end_in_words(pod: PodView) -> str:
    """Return how a pod ended that left no result."""
    if pod.terminated is None:
        return pod.reason or "its node is lost"
    return f"exit code {pod.terminated.exit_code}, {pod.terminated.reason or pod.reason or 'no reason'}"
