"""All or nothing: an attempt that cannot place its minimum of workers gives back what it holds.

Otherwise two half-started jobs could hold what the other one needs, for ever: nodes, or the quota of a queue
that admits pod by pod. Nothing is counted.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from seedbed_api.timestamps import parsed
from seedbed_operator.job_observation import PodEvent, PodView
from seedbed_operator.plan import EvidenceRequest
from seedbed_operator.planning.attempt_outcome import Cause, End
from seedbed_operator.planning.diagnosis.startup_delay import team, why_not_running
from seedbed_operator.planning.job_context import Scene
from seedbed_operator.planning.job_phase import has_trained, lacks_workers_since, says_it_trains
from seedbed_operator.planning.rejected_writes import refused_since
from seedbed_operator.planning.worker_count import pods_for, present, ranks_at_first
from seedbed_operator.planning.worker_replacement import may_replace_at

PATIENCE = timedelta(seconds=60)
"""While workers hold nodes: a scheduler places what fits within seconds, and idle GPUs are dear."""
PATIENCE_OF_A_DRIVER = timedelta(seconds=300)
"""While only the driver does: it holds little, and a new attempt costs its start."""
PATIENCE_FOR_NEW_NODES = timedelta(seconds=900)
"""While an autoscaler says that nodes come: giving back would only make it wait longer."""
_SCALING_UP = frozenset({"TriggeredScaleUp", "Nominated", "ProvisionNode"})
"""Events about a pod: of the cluster autoscaler (GKE, AKS and others run it), of Karpenter (EKS, node
auto-provisioning of AKS), of Alibaba's autoscaler."""
_NODE_COMES = re.compile(r"\bnodeclaim/|triggered scale-?up|provisioning ?request", re.IGNORECASE)
"""What they say in their messages, whatever the reason is called in another version."""
_NODES_DO_NOT_COME = frozenset(
    {"NotTriggerScaleUp", "FailedScheduling", "FailedScaleUp", "ProvisionNodeFailed"}
)
_MOST_ASKED = 3


def incomplete_since(scene: Scene) -> datetime | None:
    """Return since when a pod of the minimum has no node, or is refused; workers that crash are not meant."""
    began = parsed(scene.status.attempt_start_time)
    if began is None or has_trained(scene):
        return None
    since = [pod.created for pod in unplaced(scene)]
    if len(present(scene)) < pods_for(scene, ranks_at_first(scene)):
        since += [refused_since(refusal) for refusal in scene.observation.rejected_writes]
    held = min((pod.scheduled for pod in _holding(scene) if pod.scheduled), default=began)
    return max(began, held, min(since)) if since else None


def unplaced(scene: Scene) -> tuple[PodView, ...]:
    """Return the pods of the attempt that have no node, whether a scheduler or a queue owes it."""
    return tuple(pod for pod in team(scene) if pod.scheduled is None)


def gives_back_at(scene: Scene) -> datetime | None:
    """Return when the attempt gives back what it holds, unless its pods are placed by then."""
    if has_trained(scene):
        return _gives_back_after_training(scene)
    since = incomplete_since(scene)
    if since is None or not _holding(scene):
        return None
    return since + _patience(scene)


def _gives_back_after_training(scene: Scene) -> datetime | None:
    """Return the same of an attempt that has lost workers: it holds what it has until they are replaced.

    Those that have a node get as long to start as a first attempt. Those that crash are left their pause. A
    driver that says that it has them is believed for as long as one that makes no step.
    """
    since = lacks_workers_since(scene)
    if since is None:
        return None
    if says_it_trains(scene):
        return since + timedelta(seconds=scene.spec.progress_deadline_seconds)
    placed = [pod for pod in present(scene) if pod.scheduled is not None]
    if len(placed) >= pods_for(scene, ranks_at_first(scene)):
        return since + timedelta(seconds=scene.spec.pre_running_deadline_seconds)
    return max(since, may_replace_at(scene) or since) + _patience(scene)


def events_needed_for_patience(scene: Scene) -> tuple[EvidenceRequest, ...]:
    """Return whose events would tell that nodes are being added, once patience is about to end."""
    due = gives_back_at(scene)
    if due is None or scene.now < due:
        return ()
    waiting = [pod for pod in unplaced(scene) if not pod.gated]
    pods = [pod for pod in waiting[:_MOST_ASKED] if pod.uid not in scene.evidence.pod_events]
    return tuple(EvidenceRequest(kind="PodEvents", pod=pod.name, pod_uid=pod.uid) for pod in pods)


def given_back(scene: Scene) -> End | None:
    """Return the end of an attempt that has waited long enough for its minimum."""
    due = gives_back_at(scene)
    if due is None or scene.now < due:
        return None
    why = why_not_running(scene)
    return End(cause=Cause.GIVEN_BACK, reason=why.reason, message=why.message)


def _holding(scene: Scene) -> tuple[PodView, ...]:
    return tuple(pod for pod in team(scene) if pod.scheduled is not None)


def _patience(scene: Scene) -> timedelta:
    notices = (scene.evidence.pod_events.get(pod.uid, ()) for pod in unplaced(scene))
    if any(_brings_nodes(notice) for found in notices for notice in found):
        return PATIENCE_FOR_NEW_NODES
    holds_workers = any(pod.role == "worker" for pod in _holding(scene))
    return PATIENCE if holds_workers else PATIENCE_OF_A_DRIVER


def _brings_nodes(notice: PodEvent) -> bool:
    """Tell whether an autoscaler says of a pod that its node comes."""
    named = notice.reason in _SCALING_UP
    said = _NODE_COMES.search(notice.message) is not None and notice.reason not in _NODES_DO_NOT_COME
    return named or said
