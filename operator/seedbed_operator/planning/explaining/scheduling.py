"""Pods without a node: the scheduler's words in plain ones, and what would make room."""

from __future__ import annotations

import re
from collections.abc import Iterable

from seedbed_api.conditions import RunningReason
from seedbed_operator.observations import PodView
from seedbed_operator.planning.explaining.explanations import Explanation

_FEWER = (
    "free some, add nodes to the pool, or ask for less: spec.cluster.workers.min, resources of the profile"
)
_ADVICE = (
    (r"insufficient ", _FEWER),
    (r"too many pods", "add nodes to the pool, or raise the kubelet's maxPods"),
    (
        r"node affinity|node selector",
        "label nodes as nodeSelector of the profile's {role} wants, or correct it",
    ),
    (r"untolerated taint", "add a toleration to the profile's {role}, or remove the taint"),
    (r"unschedulable", "uncordon nodes of the pool, or add some"),
    (r"topology spread", "set topologySpread.mode of the profile's worker to Preferred, or add nodes"),
    (r"volume node affinity|persistentvolume", "let the claim's volume and the pool be in the same zone"),
    (r"no nodes available", "add nodes to the cluster"),
)
_CLAIM = re.compile(r'persistentvolumeclaim "([^"]+)" not found', re.IGNORECASE)
_UNBOUND = re.compile(r"unbound (immediate )?persistentvolumeclaims", re.IGNORECASE)


def held_by_a_queue(pods: Iterable[PodView]) -> Explanation | None:
    """Explain pods that a queue has not let pass."""
    if not any(pod.gated for pod in pods):
        return None
    message = "a queue holds the pods by a scheduling gate; they start when it admits the job"
    return Explanation(reason=RunningReason.QUEUED, message=message)


def without_a_node(pods: Iterable[PodView]) -> Explanation | None:
    """Explain the first pod for which the scheduler finds no node."""
    pod = next((pod for pod in pods if pod.unschedulable and not pod.gated), None)
    if pod is None or pod.unschedulable is None:
        return None
    return _missing_claim(pod.unschedulable) or _no_room(pod, pod.unschedulable)


def waiting_for_workers(pods: Iterable[PodView]) -> Explanation | None:
    """Explain workers that have no node yet while the driver runs."""
    waiting = [pod for pod in pods if pod.role == "worker" and pod.node is None and not pod.ended]
    if not waiting:
        return None
    message = f"{len(waiting)} worker pods wait for a node"
    return Explanation(reason=RunningReason.WORKERS_PENDING, message=message)


def _missing_claim(told: str) -> Explanation | None:
    if missing := _CLAIM.search(told):
        message = f"PersistentVolumeClaim {missing[1]} is not there; create it in the namespace of the job"
        return Explanation(reason=RunningReason.CLAIM_NOT_FOUND, message=message)
    if _UNBOUND.search(told):
        message = "a PersistentVolumeClaim is not bound to a volume; check its storage class and size"
        return Explanation(reason=RunningReason.VOLUME_UNAVAILABLE, message=message)
    return None


def _no_room(pod: PodView, told: str) -> Explanation:
    why = told.split("preemption:", maxsplit=1)[0].strip().rstrip(".")
    message = f"no node for the {pod.role} pod: {why}"
    if advice := _advice(pod, why):
        message += f"; {advice}"
    return Explanation(reason=RunningReason.UNSCHEDULABLE, message=message)


def _advice(pod: PodView, why: str) -> str:
    found = [advice for pattern, advice in _ADVICE if re.search(pattern, why, re.IGNORECASE)]
    return "; ".join(advice.format(role=pod.role) for advice in found[:2])
