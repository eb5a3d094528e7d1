"""The Secret with the job's Ray token: once deleted it cannot come back, since nobody knows what it held.

Pods that run go on with the token that they have; one that starts later, a replaced worker, cannot start.
"""

from __future__ import annotations

from datetime import timedelta

from seedbed_operator.backends.child_metadata import token_name
from seedbed_operator.job_observation import PodView
from seedbed_operator.planning.attempt_outcome import AttemptOutcome, OutcomeCause
from seedbed_operator.planning.diagnosis.container_creation import missing_secret_name
from seedbed_operator.planning.diagnosis.startup_delay import attempt_pods
from seedbed_operator.planning.job_context import JobContext

GRACE_PERIOD = timedelta(seconds=20)
"""A kubelet asks again for a Secret that was created just before the pod."""


def lost_token_outcome(context: JobContext) -> AttemptOutcome | None:
    """Return the end of an attempt of which a pod cannot start for want of the token."""
    name = token_name(context.job)
    stuck = next(
        (pod for pod in attempt_pods(context) if _needs_secret(pod, name) and _has_waited(context, pod)), None
    )
    if stuck is None:
        return None
    message = (
        f"Secret {name}, by whose token driver and workers know each other, was deleted: pod {stuck.name} "
        "cannot start; the attempt ends, after a checkpoint, and the next one makes the Secret anew"
    )
    return AttemptOutcome(
        cause=OutcomeCause.INFRASTRUCTURE, reason="SecretNotFound", message=message, pod=context.driver
    )


def _needs_secret(pod: PodView, name: str) -> bool:
    return pod.waiting is not None and missing_secret_name(pod.waiting) == name


def _has_waited(context: JobContext, pod: PodView) -> bool:
    return pod.scheduled is not None and context.now >= pod.scheduled + GRACE_PERIOD
