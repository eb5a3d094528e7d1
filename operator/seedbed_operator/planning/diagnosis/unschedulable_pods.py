"""Pods without a node: the scheduler's words in plain ones, and what would make room."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from seedbed_api.conditions import RunningReason
from seedbed_operator.job_observation import PodView, ProfileView
from seedbed_operator.planning.diagnosis import NEXT_ATTEMPT, Diagnosis

_CAPACITY_ADVICE = (
    (r"insufficient ", "wait for others to end, add nodes to the pool, or ask for less: {size}"),
    (r"too many pods", "add nodes to the pool, or raise the kubelet's maxPods"),
    (r"topology spread", "set topologySpread.mode of the profile's worker to Preferred, or add nodes"),
    (r"volume node affinity|persistentvolume", "let the claim's volume and the pool be in the same zone"),
    (r"no nodes available", "add nodes to the cluster"),
)
"""What the scheduler says of nodes that have the right labels and no taint that the pod does not bear."""
_PLACEMENT_ADVICE = (
    (
        r"node affinity|node selector",
        "label nodes {labels} as nodeSelector of the profile's {role} wants, or correct it",
    ),
    (r"untolerated taint", "add a toleration to the profile's {role}, or remove the taint"),
    (r"unschedulable", "uncordon nodes of the pool, or add some"),
)
_SIZES = {
    "driver": "resources of the profile's driver",
    "worker": "spec.cluster.workers.min, resources of the profile's worker",
}
_CLAIM = re.compile(r'persistentvolumeclaim "([^"]+)" not found', re.IGNORECASE)
_UNBOUND = re.compile(r"unbound (immediate )?persistentvolumeclaims", re.IGNORECASE)


def diagnose_queue(pods: Sequence[PodView], workload: str | None = None) -> Diagnosis | None:
    """Explain pods that a queue has not let pass; `workload` is what it knows them by."""
    gated = [pod for pod in pods if pod.gated]
    if not gated:
        return None
    if len(gated) == len(pods):
        message = "a queue holds the pods by a scheduling gate; they start when it admits the job"
    else:
        message = (
            f"a queue has admitted {len(pods) - len(gated)} of {len(pods)} pods and holds the others by a "
            "scheduling gate; unless it admits them soon, those that it has admitted make room again"
        )
    seen = f" (`kubectl describe workload {workload}`)" if workload else ""
    return Diagnosis(reason=RunningReason.QUEUED, message=f"{message}{seen}")


def diagnose_unschedulable(pods: Iterable[PodView], profile: ProfileView | None = None) -> Diagnosis | None:
    """Explain the first pod for which the scheduler finds no node."""
    pod = next((pod for pod in pods if pod.unschedulable and not pod.gated), None)
    if pod is None or pod.unschedulable is None:
        return None
    return _diagnose_claim(pod.unschedulable) or _diagnose_no_node(pod, pod.unschedulable, profile)


def diagnose_pending_workers(pods: Iterable[PodView]) -> Diagnosis | None:
    """Explain workers that have no node yet while the driver runs."""
    waiting = [pod for pod in pods if pod.role == "worker" and pod.node is None and not pod.ended]
    if not waiting:
        return None
    message = f"{len(waiting)} worker pods wait for a node"
    return Diagnosis(reason=RunningReason.WORKERS_PENDING, message=message)


def _diagnose_claim(told: str) -> Diagnosis | None:
    if missing := _CLAIM.search(told):
        message = f"PersistentVolumeClaim {missing[1]} is not there; create it in the namespace of the job"
        return Diagnosis(reason=RunningReason.CLAIM_NOT_FOUND, message=message)
    if _UNBOUND.search(told):
        message = "a PersistentVolumeClaim is not bound to a volume; check its storage class and size"
        return Diagnosis(reason=RunningReason.VOLUME_UNAVAILABLE, message=message)
    return None


def _diagnose_no_node(pod: PodView, told: str, profile: ProfileView | None) -> Diagnosis:
    why = told.partition(". ")[0].strip().rstrip(".")
    message = f"no node for the {pod.role} pod: {why}"
    words = {"role": pod.role, "size": _SIZES[pod.role], "labels": _labels(pod, profile)}
    if advice := "; ".join(_advice(why)).format(**words):
        message += f"; {advice}" + (f"; {NEXT_ATTEMPT}" if "profile" in advice else "")
    return Diagnosis(reason=RunningReason.UNSCHEDULABLE, message=message)


def _advice(why: str) -> list[str]:
    """Return what would help; where nodes of the pool are merely full, the others do not matter."""
    for family in (_CAPACITY_ADVICE, _PLACEMENT_ADVICE):
        if found := [advice for pattern, advice in family if re.search(pattern, why, re.IGNORECASE)]:
            return found
    return []


def _labels(pod: PodView, profile: ProfileView | None) -> str:
    if profile is None or profile.spec is None:
        return ""
    place = profile.spec.driver if pod.role == "driver" else profile.spec.worker
    return ", ".join(f"{key}={value}" for key, value in place.node_selector.items())
