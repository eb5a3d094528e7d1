"""A queue in front of the API server that does with plain pods what Kueue 0.17 does: gates, groups, finalizers.

`pkg/controller/jobs/pod` of its source is what it follows: webhook, pods of a group, when a group is over.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from seedbed_operator.kube_client.client_interface import RawObject
from seedbed_operator.kube_client.resource_kinds import PODS
from support.operator.fake_api_server import ApiServer, copied

QUEUE = "kueue.x-k8s.io/queue-name"
GROUP = "kueue.x-k8s.io/pod-group-name"
COUNT = "kueue.x-k8s.io/pod-group-total-count"
RETRIABLE = "kueue.x-k8s.io/retriable-in-group"
MANAGED = "kueue.x-k8s.io/managed"
GATE = {"name": "kueue.x-k8s.io/admission"}
ENDED = ("Succeeded", "Failed")


@dataclass
class Queue:
    """Room for so many pods."""

    server: ApiServer
    room: int
    groups: bool = True
    """Whether it knows groups; one that does not admits pod by pod."""
    excess: list[str] = field(default_factory=list)
    """Pods that it deleted since their group was full."""
    _holders: set[str] = field(default_factory=set)
    """Groups and single pods that were admitted and hold their room."""

    def __post_init__(self) -> None:
        self.server.admit = self._gate

    def _gate(self, pod: dict[str, Any]) -> None:
        """Gate a pod, as the webhook does; one whose controller is a pod that is managed passes unseen."""
        labels, metadata = pod["metadata"]["labels"], pod["metadata"]
        owner = next((each for each in metadata.get("ownerReferences", ()) if each.get("controller")), None)
        if QUEUE not in labels or (owner is not None and owner["kind"] == "Pod"):
            return
        grouped = GROUP in labels
        assert grouped == (COUNT in metadata["annotations"]), "the webhook refuses one without the other"
        labels[MANAGED] = "true"
        metadata["finalizers"] = [MANAGED]
        pod["spec"]["schedulingGates"] = [GATE]
        gated = {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}
        pod["status"]["conditions"] = [gated]

    # -- the controller ----------------------------------------------------------------------------------------

    def reconcile(self) -> None:
        """Let go what is over, delete what is too much, and admit what there is room for, oldest first."""
        for name, pods in self._workloads().items():
            self._release(name, pods)
        for pods in self._workloads().values():
            self._delete_excess(pods)
        for name, pods in self._in_turn():
            self._admit(name, pods)

    def held(self) -> int:
        """Return how much room is taken."""
        workloads = self._workloads()
        return sum(self._size(workloads[name]) for name in self._holders if name in workloads)

    def _workloads(self) -> dict[str, list[RawObject]]:
        found: defaultdict[str, list[RawObject]] = defaultdict(list)
        pods = [pod for pod in self.server.all(PODS) if pod["metadata"].get("finalizers")]
        for pod in sorted(pods, key=lambda pod: int(pod["metadata"]["uid"][:8], 16)):
            metadata = pod["metadata"]
            found[metadata["labels"].get(GROUP, metadata["name"])].append(pod)
        return (
            found
            if self.groups
            else {pod["metadata"]["name"]: [pod] for pods in found.values() for pod in pods}
        )

    def _in_turn(self) -> list[tuple[str, list[RawObject]]]:
        """Return what waits, a job's next pod after the other jobs' next."""
        waiting = [(name, pods) for name, pods in self._workloads().items() if name not in self._holders]
        place: defaultdict[str, int] = defaultdict(int)
        keyed = []
        for name, pods in waiting:
            job = pods[0]["metadata"]["labels"]["seedbed.dev/job"]
            keyed.append((place[job], name, pods))
            place[job] += 1
        return [(name, pods) for _, name, pods in sorted(keyed, key=lambda each: each[0])]

    def _release(self, name: str, pods: list[RawObject]) -> None:
        grouped = self._is_group(pods)
        for pod in pods:
            if "deletionTimestamp" in pod["metadata"] and not pod["spec"].get("nodeName"):
                self.server._pod_status(pod, phase="Failed")
        pods = [self._now(pod) for pod in pods]
        over = all(pod["status"]["phase"] in ENDED for pod in pods)
        retriable = not any(pod["metadata"]["annotations"].get(RETRIABLE) == "false" for pod in pods)
        if over and not (grouped and retriable):
            self._holders.discard(name)
            for pod in pods:
                self._let_go(pod)
        elif grouped and name in self._holders:
            failed = [pod for pod in pods if pod["status"]["phase"] == "Failed"]
            surplus = len(pods) - self._size(pods)
            for pod in failed[: max(surplus, 0)]:
                self._let_go(pod)

    def _delete_excess(self, pods: list[RawObject]) -> None:
        if not self._is_group(pods):
            return
        active = [pod for pod in pods if _is_active(pod)]
        for pod in active[self._size(pods) :]:
            self.excess.append(pod["metadata"]["name"])
            self._let_go(pod)
            metadata = pod["metadata"]
            self.server.remove(PODS, metadata["namespace"], metadata["name"])

    def _is_group(self, pods: list[RawObject]) -> bool:
        return self.groups and GROUP in pods[0]["metadata"]["labels"]

    def _size(self, pods: list[RawObject]) -> int:
        return int(pods[0]["metadata"]["annotations"][COUNT]) if self._is_group(pods) else 1

    def _admit(self, name: str, pods: list[RawObject]) -> None:
        active = [pod for pod in pods if _is_active(pod)]
        if len(active) < self._size(pods) or self.held() + self._size(pods) > self.room:
            return
        self._holders.add(name)
        for pod in active:
            self._ungate(pod)

    def ungate_replacements(self) -> None:
        """Let pass the pods of groups that were admitted already."""
        for name, pods in self._workloads().items():
            for pod in pods if name in self._holders else ():
                if pod["spec"].get("schedulingGates"):
                    self._ungate(pod)

    def _now(self, pod: RawObject) -> RawObject:
        metadata = pod["metadata"]
        found = self.server.find(PODS, metadata["namespace"], metadata["name"])
        assert found is not None
        return found

    def _ungate(self, pod: RawObject) -> None:
        def change(raw: dict[str, Any]) -> None:
            raw["spec"].pop("schedulingGates")
            raw["status"]["conditions"] = []

        self.server.edit(PODS, pod["metadata"]["namespace"], pod["metadata"]["name"], change)

    def _let_go(self, pod: RawObject) -> None:
        """Take the finalizer off; a pod that was to be deleted and has ended goes with it."""
        metadata = pod["metadata"]
        self.server.edit(
            PODS, metadata["namespace"], metadata["name"], lambda raw: raw["metadata"].pop("finalizers")
        )
        now = self._now(pod)
        if "deletionTimestamp" in now["metadata"] and now["status"]["phase"] in ENDED:
            self.server.vanish(now)

    def evict(self, name: str, reason: str = "WorkloadEvicted") -> None:
        """Take back what was admitted: tell the pods of a group, and delete them."""
        target = {"type": "TerminationTarget", "status": "True", "reason": reason}
        for pod in self._workloads()[name]:
            conditions = [*copied(pod["status"].get("conditions", [])), target]
            self.server._pod_status(pod, conditions=conditions)
            metadata = pod["metadata"]
            self.server.remove(PODS, metadata["namespace"], metadata["name"])


def _is_active(pod: RawObject) -> bool:
    """Tell whether a pod runs, may run, or has succeeded."""
    going = "deletionTimestamp" in pod["metadata"] and not pod["spec"].get("nodeName")
    return not going and pod["status"]["phase"] != "Failed"
