"""Gang scheduling: an attempt whose minimum of workers is not scheduled in time gives its pods back.

Otherwise two half-started jobs could block each other for ever: on nodes, or on the quota of a queue that
admits pod by pod. No failure is counted.
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
"""While workers hold nodes: a scheduler needs seconds, and idle GPUs are expensive."""
DRIVER_WAIT = timedelta(seconds=300)
"""While only the driver holds a node: it costs little, and a new attempt costs a start."""
NEW_NODES_WAIT = timedelta(seconds=900)
"""While an autoscaler adds nodes: giving back would only extend the wait."""
_SCALING_UP = frozenset({"TriggeredScaleUp", "Nominated", "ProvisionNode"})
"""Events about a pod: of the cluster autoscaler (GKE, AKS and others run it), of Karpenter (EKS, node
auto-provisioning of AKS), of Alibaba's autoscaler."""
_NODE_COMING = re.compile(r"\bnodeclaim/|triggered scale-?up|provisioning ?request", re.IGNORECASE)
"""Messages of autoscalers, for versions with other reasons."""
_NO_NEW_NODE = frozenset({"NotTriggerScaleUp", "FailedScheduling", "FailedScaleUp", "ProvisionNodeFailed"})
_MAX_REQUESTS = 3


def incomplete_since(context: JobContext) -> datetime | None:
    """Return since when a pod of the minimum has no node or is rejected; crashed workers do not count."""
    began = parse_time(context.status.attempt_start_time)
    if began is None or has_trained(context):
        return None
    since = [pod.created for pod in unscheduled_pods(context)]
    if len(active_workers(context)) < pods_for(context, min_ranks(context)):
        since += [rejected_since(refusal) for refusal in context.observation.rejected_writes]
    held = min((pod.scheduled for pod in _scheduled_pods(context) if pod.scheduled), default=began)
    return max(began, held, min(since)) if since else None


def unscheduled_pods(context: JobContext) -> tuple[PodView, ...]:
    """Return the pods of the attempt without a node, whether a scheduler or a queue holds them."""
    return tuple(pod for pod in attempt_pods(context) if pod.scheduled is None)


def gang_deadline(context: JobContext) -> datetime | None:
    """Return when the attempt gives its pods back, unless all are scheduled by then."""
    if has_trained(context):
        return _gang_deadline_after_training(context)
    since = incomplete_since(context)
    if since is None or not _scheduled_pods(context):
        return None
    return since + _gang_wait(context)


def _gang_deadline_after_training(context: JobContext) -> datetime | None:
    """Return the same for an attempt that has lost workers; it waits for their replacement.

    Scheduled workers may take as long to start as in a first attempt; crashed workers wait for their
    back-off. A driver that reports enough workers gets the progress deadline.
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
    """Return requests for pod Events that show a scale-up, once the wait is over."""
    due = gang_deadline(context)
    if due is None or context.now < due:
        return ()
    waiting = [pod for pod in unscheduled_pods(context) if not pod.gated]
    pods = [pod for pod in waiting[:_MAX_REQUESTS] if pod.uid not in context.evidence.pod_events]
    return tuple(EvidenceRequest(kind="PodEvents", pod=pod.name, pod_uid=pod.uid) for pod in pods)


def gang_deadline_outcome(context: JobContext) -> AttemptOutcome | None:
    """Return the outcome of an attempt that has waited too long for its minimum."""
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
    """Return whether an Event of an autoscaler announces a node for a pod."""
    named = notice.reason in _SCALING_UP
    said = _NODE_COMING.search(notice.message) is not None and notice.reason not in _NO_NEW_NODE
    return named or said
