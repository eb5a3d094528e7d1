"""The Secret with the job's Ray token: once deleted it cannot come back, since nobody knows what it held.

Pods that run go on with the token that they have; one that starts later, a replaced worker, cannot start.
"""

from __future__ import annotations

from datetime import timedelta

from seedbed_operator.backends.child_metadata import token_name
from seedbed_operator.job_observation import PodView
from seedbed_operator.planning.attempt_outcome import Cause, End
from seedbed_operator.planning.diagnosis.container_creation import secret_of_a_container
from seedbed_operator.planning.diagnosis.startup_delay import team
from seedbed_operator.planning.job_context import Scene

PATIENCE = timedelta(seconds=20)
"""A kubelet asks again for a Secret that was created just before the pod."""


def token_lost(scene: Scene) -> End | None:
    """Return the end of an attempt of which a pod cannot start for want of the token."""
    name = token_name(scene.job)
    stuck = next((pod for pod in team(scene) if _wants(pod, name) and _has_waited(scene, pod)), None)
    if stuck is None:
        return None
    message = (
        f"Secret {name}, by whose token driver and workers know each other, was deleted: pod {stuck.name} "
        "cannot start; the attempt ends, after a checkpoint, and the next one makes the Secret anew"
    )
    return End(cause=Cause.INFRASTRUCTURE, reason="SecretNotFound", message=message, pod=scene.driver)


def _wants(pod: PodView, name: str) -> bool:
    return pod.waiting is not None and secret_of_a_container(pod.waiting) == name


def _has_waited(scene: Scene, pod: PodView) -> bool:
    return pod.scheduled is not None and scene.now >= pod.scheduled + PATIENCE
