"""All or nothing: an attempt that cannot place its minimum of workers gives back what it holds.

Otherwise two half-started jobs could hold what the other one needs, for ever: nodes, or the quota of a queue
that admits pod by pod. Nothing is counted.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from seedbed_api.timestamps import parse_time
from seedbed_operator.job_observation import PodEvent, PodView
from seedbed_operator.plan import EvidenceRequest
from seedbed_operator.planning.attempt_outcome import AttemptOutcome, OutcomeCause
from seedbed_operator.planning.diagnosis.startup_delay import attempt_pods, diagnose_startup
from seedbed_operator.planning.job_context import JobContext
from seedbed_operator.planning.job_phase import driver_reports_training, has_trained, lacks_workers_since
from seedbed_operator.planning.rejected_writes import rejected_since
from seedbed_operator.planning.worker_count import active_workers, min_ranks, pods_for
from seedbed_operator.planning.worker_replacement import replacement_allowed_at

WORKERS_WAIT = timedelta(seconds=60)
"""While workers hold nodes: a scheduler places what fits within seconds, and idle GPUs are dear."""
DRIVER_WAIT = timedelta(seconds=300)
"""While only the driver does: it holds little, and a new attempt costs its start."""
NEW_NODES_WAIT = timedelta(seconds=900)
"""While an autoscaler says that nodes come: giving back would only make it wait longer."""
_SCALING_UP = frozenset({"TriggeredScaleUp", "Nominated", "ProvisionNode"})
"""Events about a pod: of the cluster autoscaler (GKE, AKS and others run it), of Karpenter (EKS, node
auto-provisioning of AKS), of Alibaba's autoscaler."""
_NODE_COMING = re.compile(r"\bnodeclaim/|triggered scale-?up|provisioning ?request", re.IGNORECASE)
"""What they say in their messages, whatever the reason is called in another version."""
_NO_NEW_NODE = frozenset({"NotTriggerScaleUp", "FailedScheduling", "FailedScaleUp", "ProvisionNodeFailed"})
_MAX_REQUESTS = 3


def incomplete_since(context: JobContext) -> datetime | None:
    """Return since when a pod of the minimum has no node, or is refused; workers that crash are not meant."""
    began = parse_time(context.status.attempt_start_time)
    if began is None or has_trained(context):
        return None
    since = [pod.created for pod in unscheduled_pods(context)]
    if len(active_workers(context)) < pods_for(context, min_ranks(context)):
        since += [rejected_since(refusal) for refusal in context.observation.rejected_writes]
    held = min((pod.scheduled for pod in _scheduled_pods(context) if pod.scheduled), default=began)
    return max(began, held, min(since)) if since else None


def unscheduled_pods(context: JobContext) -> tuple[PodView, ...]:
    """Return the pods of the attempt that have no node, whether a scheduler or a queue owes it."""
    return tuple(pod for pod in attempt_pods(context) if pod.scheduled is None)


def gang_deadline(context: JobContext) -> datetime | None:
    """Return when the attempt gives back what it holds, unless its pods are placed by then."""
    if has_trained(context):
        return _gang_deadline_after_training(context)
    since = incomplete_since(context)
    if since is None or not _scheduled_pods(context):
        return None
    return since + _gang_wait(context)


def _gang_deadline_after_training(context: JobContext) -> datetime | None:
    """Return the same of an attempt that has lost workers: it holds what it has until they are replaced.

    Those that have a node get as long to start as a first attempt. Those that crash are left their pause. A
    driver that says that it has them is believed for as long as one that makes no step.
    """
    since = lacks_workers_since(context)
    if since is None:
        return None
    if driver_reports_training(context):
        return since + timedelta(seconds=context.spec.progress_deadline_seconds)
    placed = [pod for pod in active_workers(context) if pod.scheduled is not None]
    if len(placed) >= pods_for(context, min_ranks(context)):
        return since + timedelta(seconds=context.spec.pre_running_deadline_seconds)
    return max(since, replacement_allowed_at(context) or since) + _gang_wait(context)


def autoscaler_event_requests(context: JobContext) -> tuple[EvidenceRequest, ...]:
    """Return whose events would tell that nodes are being added, once patience is about to end."""
    due = gang_deadline(context)
    if due is None or context.now < due:
        return ()
    waiting = [pod for pod in unscheduled_pods(context) if not pod.gated]
    pods = [pod for pod in waiting[:_MAX_REQUESTS] if pod.uid not in context.evidence.pod_events]
    return tuple(EvidenceRequest(kind="PodEvents", pod=pod.name, pod_uid=pod.uid) for pod in pods)


def gang_deadline_outcome(context: JobContext) -> AttemptOutcome | None:
    """Return the end of an attempt that has waited long enough for its minimum."""
    due = gang_deadline(context)
    if due is None or context.now < due:
        return None
    why = diagnose_startup(context)
    return AttemptOutcome(cause=OutcomeCause.GIVEN_BACK, reason=why.reason, message=why.message)


def _scheduled_pods(context: JobContext) -> tuple[PodView, ...]:
    return tuple(pod for pod in attempt_pods(context) if pod.scheduled is not None)


def _gang_wait(context: JobContext) -> timedelta:
    notices = (context.evidence.pod_events.get(pod.uid, ()) for pod in unscheduled_pods(context))
    if any(_announces_node(notice) for found in notices for notice in found):
        return NEW_NODES_WAIT
    holds_workers = any(pod.role == "worker" for pod in _scheduled_pods(context))
    return WORKERS_WAIT if holds_workers else DRIVER_WAIT


def _announces_node(notice: PodEvent) -> bool:
    """Tell whether an autoscaler says of a pod that its node comes."""
    named = notice.reason in _SCALING_UP
    said = _NODE_COMING.search(notice.message) is not None and notice.reason not in _NO_NEW_NODE
    return named or said
