"""Why an attempt that has begun makes no step yet: the families of causes, the earliest in its way first."""

from __future__ import annotations

from datetime import timedelta

from seedbed_api.conditions import RunningReason
from seedbed_operator.backends.child_metadata import token_name
from seedbed_operator.backends.kueue_pod_group import group_name
from seedbed_operator.job_observation import PodView
from seedbed_operator.plan import EvidenceRequest
from seedbed_operator.planning.diagnosis import Explanation
from seedbed_operator.planning.diagnosis.api_rejections import refused
from seedbed_operator.planning.diagnosis.container_creation import (
    is_about_images,
    without_a_container,
    without_an_image,
)
from seedbed_operator.planning.diagnosis.profile_problems import without_a_profile
from seedbed_operator.planning.diagnosis.ray_startup import (
    coming_up,
    with_failing_workers,
    without_its_workers,
)
from seedbed_operator.planning.diagnosis.sidecar_problems import held_up_by_another
from seedbed_operator.planning.diagnosis.unschedulable_pods import (
    held_by_a_queue,
    waiting_for_workers,
    without_a_node,
)
from seedbed_operator.planning.diagnosis.volume_mounts import starts_slowly, without_a_volume
from seedbed_operator.planning.job_context import Scene
from seedbed_operator.planning.pod_state import is_over
from seedbed_operator.planning.worker_count import missing_workers, ranks_at_first

SOON = timedelta(seconds=5)
"""A pod that has a node starts within so long, or there is something to tell."""

SILENT_FOR = timedelta(seconds=30)
"""A driver that is ready and asked so long after does not answer for other causes than its start."""


def why_not_running(scene: Scene) -> Explanation:
    """Return why the newest attempt makes no step: before its first one, or since it lacks workers."""
    found = _not_to_be_made(scene) or why_pods_wait(scene)
    if found is not None:
        return found
    if scene.driver is None or scene.driver.phase != "Running":
        message = f"attempt {scene.attempt}: its pods are being created"
        return Explanation(reason=RunningReason.PENDING, message=message)
    return (
        with_failing_workers(scene.crew)
        or waiting_for_workers(team(scene))
        or without_its_workers(scene.live, ranks_at_first(scene))
        or coming_up(scene.live, scene.driver, silent=_is_silent(scene, scene.driver))
    )


def why_pods_wait(scene: Scene) -> Explanation | None:
    """Return what keeps pods of the attempt from being made, placed or started; None where nothing does."""
    pods, evidence = team(scene), scene.evidence
    return (
        _refused(scene)
        or held_by_a_queue(pods, _workload(scene))
        or without_a_node(pods, scene.profile)
        or without_an_image(pods, evidence, _image(scene))
        or without_a_container(pods, token_name(scene.job))
        or held_up_by_another(slow(scene))
        or without_a_volume(slow(scene), evidence)
        or starts_slowly(slow(scene))
    )


def _is_silent(scene: Scene, driver: PodView) -> bool:
    """Tell whether a driver that is ready has not answered for a while, although it was asked again."""
    asked, changed = (
        seen.get(driver.uid) for seen in (scene.evidence.progress_asked, scene.evidence.progress_changed)
    )
    if scene.live is not None or not driver.ready or asked is None or changed is None:
        return False
    return asked >= (driver.ready_since or changed) + SILENT_FOR


def _not_to_be_made(scene: Scene) -> Explanation | None:
    """Explain why workers of the minimum are not there at all."""
    return without_a_profile(scene) if missing_workers(scene, ranks=ranks_at_first(scene)) else None


def team(scene: Scene) -> tuple[PodView, ...]:
    """Return driver and workers of the newest attempt that are not over."""
    pods = (*((scene.driver,) if scene.driver else ()), *scene.crew)
    return tuple(pod for pod in pods if not is_over(pod, scene.now))


def slow(scene: Scene) -> tuple[PodView, ...]:
    """Return pods that have had a node for a while and whose container does not run."""
    return tuple(
        pod
        for pod in team(scene)
        if pod.phase == "Pending" and pod.scheduled is not None and scene.now >= pod.scheduled + SOON
    )


def events_needed(scene: Scene) -> tuple[EvidenceRequest, ...]:
    """Return whose events would explain what pods themselves do not."""
    late = slow(scene)
    pods = [pod for pod in team(scene) if pod in late or is_about_images(pod.waiting)]
    missing = [pod for pod in pods[:_MOST_ASKED] if pod.uid not in scene.evidence.pod_events]
    return tuple(EvidenceRequest(kind="PodEvents", pod=pod.name, pod_uid=pod.uid) for pod in missing)


_MOST_ASKED = 3


def _workload(scene: Scene) -> str | None:
    grouped = scene.driver is not None and scene.driver.gang_size is not None
    return group_name(scene.job, scene.attempt) if grouped else None


def _image(scene: Scene) -> str:
    environment = scene.status.environment
    return (environment.image if environment else None) or "of the profile"


def _refused(scene: Scene) -> Explanation | None:
    refusals = [refusal for refusal in scene.observation.rejected_writes if refusal.kind != scene.job.kind]
    return refused(refusals[-1]) if refusals else None
