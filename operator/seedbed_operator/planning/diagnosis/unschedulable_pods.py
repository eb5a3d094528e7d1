"""Diagnose pods without a node, from the scheduler's message, with advice."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from seedbed_api.conditions import RunningReason
from seedbed_operator.job_observation import PodView, ProfileView
from seedbed_operator.planning.diagnosis import NEXT_ATTEMPT, NEXT_VERIFICATION, Diagnosis

_CAPACITY_ADVICE = (
    (r"insufficient ", "wait for other jobs, add nodes to the pool, or request less: {size}"),
    (r"too many pods", "add nodes to the pool, or raise the kubelet's maxPods"),
    (r"topology spread", "set topologySpread.mode of the profile's worker to Preferred, or add nodes"),
    (r"volume node affinity|persistentvolume", "put the claim's volume and the node pool into the same zone"),
    (r"no nodes available", "add nodes to the cluster"),
)
"""Scheduler messages about nodes with matching labels and taints."""
_PLACEMENT_ADVICE = (
    (
        r"node affinity|node selector",
        "label nodes {labels} to match nodeSelector of the profile's {role}, or correct it",
    ),
    (r"untolerated taint", "add a toleration to the profile's {role}, or remove the taint"),
    (r"unschedulable", "uncordon nodes of the pool, or add some"),
)
_SIZES = {
    "driver": "resources of the profile's driver",
    "worker": "spec.cluster.workers.min, resources of the profile's worker",
    "verifier": "resources of the profile's worker",
    "signature-uploader": "100m of CPU, 512Mi of memory",
}
_NEXT_PODS = {
    "driver": NEXT_ATTEMPT,
    "worker": NEXT_ATTEMPT,
    "verifier": NEXT_VERIFICATION,
    "signature-uploader": "a changed profile applies to the next try, within an hour",
}
_CLAIM = re.compile(r'persistentvolumeclaim "([^"]+)" not found', re.IGNORECASE)
_UNBOUND = re.compile(r"unbound (immediate )?persistentvolumeclaims", re.IGNORECASE)


def diagnose_queue(pods: Sequence[PodView], workload: str | None = None) -> Diagnosis | None:
    """Diagnose pods that a queue has not admitted; `workload` is the name of its Workload."""
    gated = [pod for pod in pods if pod.gated]
    if not gated:
        return None
    if len(gated) == len(pods):
        message = "the queue holds the pods by a scheduling gate; they start when it admits the job"
    else:
        message = (
            f"the queue has admitted {len(pods) - len(gated)} of {len(pods)} pods and holds the others by a "
            "scheduling gate; unless it admits them soon, the admitted ones are deleted"
        )
    seen = f" (`kubectl describe workload {workload}`)" if workload else ""
    return Diagnosis(reason=RunningReason.QUEUED, message=f"{message}{seen}")


def diagnose_unschedulable(pods: Iterable[PodView], profile: ProfileView | None = None) -> Diagnosis | None:
    """Diagnose the first pod for which the scheduler finds no node."""
    pod = next((pod for pod in pods if pod.unschedulable and not pod.gated), None)
    if pod is None or pod.unschedulable is None:
        return None
    return _diagnose_claim(pod.unschedulable) or _diagnose_no_node(pod, pod.unschedulable, profile)


def diagnose_pending_workers(pods: Iterable[PodView]) -> Diagnosis | None:
    """Diagnose workers without a node while the driver runs."""
    waiting = [pod for pod in pods if pod.role == "worker" and pod.node is None and not pod.ended]
    if not waiting:
        return None
    message = f"{len(waiting)} worker pods wait for a node"
    return Diagnosis(reason=RunningReason.WORKERS_PENDING, message=message)


def _diagnose_claim(text: str) -> Diagnosis | None:
    if missing := _CLAIM.search(text):
        message = f"PersistentVolumeClaim {missing[1]} does not exist; create it in the namespace of the job"
        return Diagnosis(reason=RunningReason.CLAIM_NOT_FOUND, message=message)
    if _UNBOUND.search(text):
        message = "a PersistentVolumeClaim is not bound to a volume; check its storage class and size"
        return Diagnosis(reason=RunningReason.VOLUME_UNAVAILABLE, message=message)
    return None


def _diagnose_no_node(pod: PodView, text: str, profile: ProfileView | None) -> Diagnosis:
    why = text.partition(". ")[0].strip().rstrip(".")
    message = f"no node for the {pod.role} pod: {why}"
    part = "driver" if pod.role in ("driver", "signature-uploader") else "worker"
    words = {"role": part, "size": _SIZES[pod.role], "labels": _labels(pod, profile)}
    if advice := "; ".join(_advice(why)).format(**words):
        message += f"; {advice}" + (f"; {_NEXT_PODS[pod.role]}" if "profile" in advice else "")
    return Diagnosis(reason=RunningReason.UNSCHEDULABLE, message=message)


def _advice(why: str) -> list[str]:
    """Return advice; for full nodes of the pool, other nodes do not matter."""
    for family in (_CAPACITY_ADVICE, _PLACEMENT_ADVICE):
        if found := [advice for pattern, advice in family if re.search(pattern, why, re.IGNORECASE)]:
            return found
    return []


def _labels(pod: PodView, profile: ProfileView | None) -> str:
    if profile is None or profile.spec is None:
        return ""
    place = profile.spec.driver if pod.role == "driver" else profile.spec.worker
    return ", ".join(f"{key}={value}" for key, value in place.node_selector.items())
