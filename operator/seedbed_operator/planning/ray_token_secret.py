"""Detect a deleted Secret of the job's Ray token: its value is lost, so the attempt must end.

Running pods keep the token; a pod that starts later cannot.
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
"""A kubelet retries for a Secret that was created just before the pod."""


def lost_token_outcome(context: JobContext) -> AttemptOutcome | None:
    """Return the outcome of an attempt with a pod that cannot start without the token."""
    name = token_name(context.job)
    stuck = next(
        (pod for pod in attempt_pods(context) if _needs_secret(pod, name) and _has_waited(context, pod)), None
    )
    if stuck is None:
        return None
    message = (
        f"Secret {name} with the Ray token was deleted: pod {stuck.name} cannot start; "
        "the attempt ends after a checkpoint, and the next one creates the Secret again"
    )
    return AttemptOutcome(
        cause=OutcomeCause.INFRASTRUCTURE, reason="SecretNotFound", message=message, pod=context.driver
    )


def _needs_secret(pod: PodView, name: str) -> bool:
    return pod.waiting is not None and missing_secret_name(pod.waiting) == name


def _has_waited(context: JobContext, pod: PodView) -> bool:
    return pod.scheduled is not None and context.now >= pod.scheduled + GRACE_PERIOD
