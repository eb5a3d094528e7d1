"""Names that an attempt needs and another's pod bears: an older object's go by themselves, others stay."""

from __future__ import annotations

from seedbed_api.conditions import RunningReason
from seedbed_operator.backends.child_metadata import driver_name
from seedbed_operator.job_observation import PodView
from seedbed_operator.planning.diagnosis import Explanation
from seedbed_operator.planning.diagnosis.api_rejections import name_taken
from seedbed_operator.planning.job_context import Scene, older_objects_pods, pods_left_behind


def in_the_way(scene: Scene) -> Explanation | None:
    """Return which pod has to go before the next attempt can begin; none is touched."""
    if kept := pods_left_behind(scene):
        return _left_behind(scene, kept)
    if older := older_objects_pods(scene):
        names = ", ".join(pod.name for pod in older[:3])
        message = (
            f"waiting for pods of a deleted job of this name to be gone: {names}; "
            "one that stays is held by a finalizer or by a lost node"
        )
        return Explanation(reason=RunningReason.TERMINATING_OLD_PODS, message=message)
    wanted = driver_name(scene.job, scene.attempt + 1)
    pods = (*scene.strangers, *scene.orphans)
    if any(pod.name == wanted for pod in pods):
        return name_taken("Pod", wanted)
    return None


def _left_behind(scene: Scene, kept: tuple[PodView, ...]) -> Explanation:
    """Name the pods that somebody wanted to keep; workers go with the driver that owns them."""
    drivers = [pod.name for pod in kept if pod.role == "driver"]
    message = (
        "a deleted job of this name has left its pods behind (--cascade=orphan), and nothing removes them: "
        f"when they are no longer wanted, `kubectl delete pod -n {scene.job.namespace} {' '.join(drivers)}` "
        f"removes {', '.join(pod.name for pod in kept[:6])}{' …' if len(kept) > 6 else ''}; "
        "or create this job under another name"
    )
    return Explanation(reason=RunningReason.NAME_CONFLICT, message=message)
