"""A small Kubernetes of one job, without a clock of its own: API server, kubelets and garbage collector.

`settle` lets the operator act until it has nothing to do at this moment; everything else is done to it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from seedbed_api.pod_contract.driver_messages import LiveProgress
from seedbed_operator.backends.backend_interface import Backends
from seedbed_operator.backends.kueue_pod_group import gang_size
from seedbed_operator.backends.pods_backend import BACKENDS
from seedbed_operator.backends.recorded_settings import with_recorded_settings
from seedbed_operator.backends.spec_hash import recorded_template
from seedbed_operator.job_observation import (
    ContainerWaiting,
    Evidence,
    JobObservation,
    JobView,
    NamespaceView,
    PodEvent,
    PodView,
    ProfileView,
    RejectedWrite,
)
from seedbed_operator.plan import Action, Create, Delete, DeleteJob, Plan
from seedbed_operator.planning import plan, status_after_rejection
from support.operator.builders import (
    NOON,
    UNPLACED,
    JobBuilder,
    a_pod,
    a_profile,
    an_outcome,
    ended,
    says,
)

MOST_PASSES = 20
FRESH = timedelta(seconds=3)
SILENCE = timedelta(seconds=60)
"""A driver that did not answer is not asked again for so long: the longest pause of all."""


@dataclass
class World:
    """What is in the cluster, and what the operator has been told of it."""

    job: JobView
    profile: ProfileView | None = field(default_factory=a_profile)
    now: datetime = NOON
    pods: dict[str, PodView] = field(default_factory=dict)
    bodies: dict[str, Any] = field(default_factory=dict)
    services: dict[str, str] = field(default_factory=dict)
    """Uid of the owner, by name."""
    secrets: set[str] = field(default_factory=set)
    rejected_writes: tuple[RejectedWrite, ...] = ()
    answers: dict[str, LiveProgress] = field(default_factory=dict)
    """What drivers answer, by pod name."""
    driver_responses: dict[str, tuple[datetime, LiveProgress | None]] = field(default_factory=dict)
    """When a driver was asked last, and what it said, by pod uid."""
    changed: dict[str, datetime] = field(default_factory=dict)
    marks: dict[str, object] = field(default_factory=dict)
    """The newest step and activity of a driver, by pod uid."""
    logs: dict[str, str] = field(default_factory=dict)
    namespace_labels: dict[str, str] | None = field(default_factory=dict)
    """Labels of the job's namespace; None where the operator may not read them."""
    pod_events: dict[str, tuple[PodEvent, ...]] = field(default_factory=dict)
    recent_pod_events: dict[str, tuple[datetime, tuple[PodEvent, ...]]] = field(default_factory=dict)
    """When the events of a pod were asked for, and those found, by pod uid."""
    refuses: dict[str, tuple[int, str, str]] = field(default_factory=dict)
    """Code, reason and message for the creation of an object, by name."""
    backends: Backends = field(default_factory=lambda: BACKENDS)
    deleted_job: bool = False
    status_written: datetime | None = None
    requeue_at: datetime | None = None
    history: list[Plan] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    """Every reason of Running that was written."""
    last: int = 0

    # -- the operator ------------------------------------------------------------------------------------------

    def observe(self) -> JobObservation:
        return JobObservation(
            now=self.now,
            job=self.job,
            profile=self.profile,
            pods=tuple(sorted(self.pods.values(), key=lambda pod: pod.name)),
            rejected_writes=self.rejected_writes,
            status_written=self.status_written,
            evidence=Evidence(
                progress=self._fresh(),
                progress_asked=self._asked(),
                progress_changed=dict(self.changed),
                pod_events={
                    uid: found for uid, (asked, found) in self.recent_pod_events.items() if asked == self.now
                },
            ),
        )

    def planned(self) -> tuple[JobObservation, Plan]:
        """Return the plan of this moment, its needs gathered once."""
        observation = self.observe()
        made = plan(observation, self.backends)
        if made.evidence_requests:
            observation = replace(observation, evidence=self._gathered(observation, made))
            made = plan(observation, self.backends)
        return observation, made

    def act(self) -> bool:
        """Do one pass; say whether it wrote anything."""
        observation, made = self.planned()
        self.history.append(made)
        self.requeue_at = made.requeue_at
        refused = self._applied(made)
        status = status_after_rejection(observation, made, refused, self.backends) if refused else made.status
        if made.actions and not refused:
            self.rejected_writes = ()
        self.rejected_writes = refused or self.rejected_writes
        wrote = status is not None and status != self.job.status and not self.deleted_job
        if wrote:
            assert status is not None
            self.job = replace(self.job, status=status)
            self.status_written = self.now
            self.reasons.append(self.says().partition(" ")[2])
        return wrote or bool(made.actions)

    def settle(self) -> World:
        """Let the operator act until it has nothing to do."""
        for _ in range(MOST_PASSES):
            if self.deleted_job:
                return self
            if not self.act() and not self._asks_more():
                return self
        raise AssertionError(f"the operator finds no rest: {self.history[-1]}")

    def _asks_more(self) -> bool:
        """Say whether the last plan needs more than one question; nothing else may look again at once."""
        at_once = self.requeue_at is not None and self.requeue_at <= self.now
        evidence_requests = self.history[-1].evidence_requests
        assert evidence_requests or not at_once, f"it would look again at once, and again: {self.history[-1]}"
        return at_once

    def wait(self, seconds: float) -> World:
        """Let time pass, the operator waking when it asked for it, and let it settle."""
        end = self.now + timedelta(seconds=seconds)
        while self.requeue_at is not None and self.requeue_at <= end and not self.deleted_job:
            self.now = max(self.requeue_at, self.now + timedelta(seconds=1))
            if self.now > end:
                break
            self.settle()
        self.now = end
        return self.settle()

    # -- the API server ----------------------------------------------------------------------------------------

    def _applied(self, made: Plan) -> tuple[RejectedWrite, ...]:
        for action in made.actions:
            refusal = self._do(action)
            if refusal is not None:
                return (refusal,)
        return ()

    def _do(self, action: Action) -> RejectedWrite | None:
        match action:
            case Create():
                return self._create(action)
            case Delete():
                pod = self.pods.get(action.name)
                if pod is not None and pod.uid == action.uid:
                    self.delete(action.name)
            case DeleteJob():
                assert action.uid == self.job.uid
                self.deleted_job = True
        return None

    def _create(self, action: Create) -> RejectedWrite | None:
        name, meta = action.name, action.body["metadata"]
        if name in self.refuses:
            return self._refusal(action, *self.refuses[name])
        if action.kind in ("Secret", "NetworkPolicy"):
            self.secrets.add(name)
            return None
        owner = self.pods[action.owner].uid if action.owner else meta["ownerReferences"][0]["uid"]
        if action.kind == "Service":
            if self.services.setdefault(name, owner) != owner:
                return self._refusal(action, 409, "AlreadyExists", f'services "{name}" already exists')
        elif name in self.pods:
            return self._refusal(action, 409, "AlreadyExists", f'pods "{name}" already exists')
        else:
            self._add_pod(name, owner, action)
        return None

    def _refusal(self, action: Create, code: int, reason: str, message: str) -> RejectedWrite:
        before = [old for old in self.rejected_writes if old.name == action.name]
        count = before[0].count + 1 if before else 1
        return RejectedWrite(
            kind=action.kind,
            name=action.name,
            code=code,
            reason=reason,
            message=message,
            time=self.now,
            count=count,
        )

    def _add_pod(self, name: str, owner: str, action: Create) -> None:
        labels = action.body["metadata"]["labels"]
        self.last += 1
        self.bodies[name] = action.body
        self.pods[name] = a_pod(
            labels["seedbed.dev/role"],
            name=name,
            uid=f"uid-{self.last}",
            owner_uid=owner,
            job_uid=labels["seedbed.dev/job-uid"],
            attempt=int(labels["seedbed.dev/attempt"]),
            index=int(name.rpartition("-")[2]) if "-worker-" in name else 0,
            template=with_recorded_settings(
                recorded_template(action.body["metadata"]["annotations"]), action.body["spec"]
            ),
            gang_size=gang_size(action.body["metadata"]),
            **{**UNPLACED, "created": self.now},
        )

    def _gathered(self, observation: JobObservation, made: Plan) -> Evidence:
        logs, namespace = {}, None
        for need in made.evidence_requests:
            if need.kind == "Progress":
                self._hear(need.pod_uid, self.answers.get(need.pod))
            elif need.kind == "LogTail":
                logs[need.pod_uid] = self.logs.get(need.pod, "")
            elif need.kind == "NamespaceLabels":
                namespace = NamespaceView(labels=self.namespace_labels)
            else:
                self.recent_pod_events[need.pod_uid] = self.now, self.pod_events.get(need.pod, ())
        return replace(self.observe().evidence, log_tails=logs, namespace=namespace)

    def _hear(self, uid: str, answer: LiveProgress | None) -> None:
        self.driver_responses[uid] = (self.now, answer)
        self.changed.setdefault(uid, self.now)
        if answer is not None:
            self._note(uid, answer)

    def _note(self, uid: str, word: LiveProgress) -> None:
        """Note when a driver's step or activity last changed."""
        if self.marks.get(uid) != word.mark:
            self.marks[uid], self.changed[uid] = word.mark, self.now

    def _asked(self) -> dict[str, datetime]:
        return {uid: asked for uid, (asked, _) in self.driver_responses.items()}

    def _fresh(self) -> dict[str, LiveProgress | None]:
        """Return the answers that are so new that they are given again."""
        lasts = {True: SILENCE, False: FRESH}
        return {
            uid: answer
            for uid, (asked, answer) in self.driver_responses.items()
            if self.now - asked < lasts[answer is None]
        }

    # -- nodes -------------------------------------------------------------------------------------------------

    def schedule(self, *names: str, node: str = "node-a") -> World:
        for name in names or self.waiting():
            self._change(name, node=node, scheduled=self.now, unschedulable=None, gated=False)
        return self

    def start(self, *names: str) -> World:
        """Schedule pods and start their containers."""
        for name in names or self.waiting():
            node = self.pods[name].node or "node-a"
            self._change(
                name,
                node=node,
                scheduled=self.pods[name].scheduled or self.now,
                phase="Running",
                ip="10.0.0.9",
                ready=True,
                started=self.now,
                unschedulable=None,
                gated=False,
                waiting=None,
            )
        return self

    def unschedulable(self, name: str, message: str) -> World:
        return self._change(name, unschedulable=message)

    def cannot_start(self, name: str, reason: str, message: str = "") -> World:
        self.schedule(name)
        return self._change(name, waiting=ContainerWaiting(reason=reason, message=message))

    def say(self, driver: str, word: LiveProgress) -> World:
        """Let a driver answer, for the attempt that it is."""
        word = word.model_copy(update={"attempt": self.pods[driver].attempt})
        self._note(self.pods[driver].uid, word)
        self.answers[driver] = word
        self.driver_responses.pop(self.pods[driver].uid, None)
        return self

    def end(self, name: str, code: int, message: str = "", *, reason: str = "") -> World:
        """End a container; a pod that was being deleted is gone with it."""
        self.pods[name] = ended(self.pods[name], code, message, reason=reason, at=self.now)
        return self

    def vanish(self, *names: str) -> World:
        """Remove pod objects, as the kubelet does when their containers have ended, and collect garbage."""
        for name in names:
            del self.pods[name]
        return self

    def delete(self, name: str) -> World:
        """Delete as a user does: the kubelet gets the grace that the pod asks for."""
        grace = 120 if "driver" in name else 30
        pod = self.pods[name]
        if pod.phase == "Pending" or pod.ended:
            del self.pods[name]
            return self
        return self._change(name, deleting=True, deletion_due=self.now + timedelta(seconds=grace))

    def collect_garbage(self) -> World:
        """Delete what is owned by a pod that is gone."""
        uids = {pod.uid for pod in self.pods.values()} | {self.job.uid}
        for pod in list(self.pods.values()):
            if pod.owner_uid not in uids and not pod.deleting:
                self.delete(pod.name)
        return self

    def finish_deletions(self, code: int = 143) -> World:
        """Let every pod that is being deleted end and vanish, and what it owned after it."""
        for _ in range(3):
            for pod in list(self.pods.values()):
                if pod.deleting:
                    del self.pods[pod.name]
            self.collect_garbage()
        return self

    def lose_node(self, *names: str) -> World:
        """Lose the node of pods: the taint manager deletes them, and nobody ends them."""
        for name in names:
            self._change(
                name,
                ready=False,
                deleting=True,
                deletion_due=self.now + timedelta(seconds=120),
                disruption="DeletionByTaintManager",
            )
        return self

    # -- people ------------------------------------------------------------------------------------------------

    def edit(self, **spec: Any) -> World:
        assert self.job.spec is not None
        changed = self.job.spec.model_copy(update=spec)
        self.job = replace(self.job, spec=changed, generation=self.job.generation + 1)
        return self

    # -- looking -----------------------------------------------------------------------------------------------

    def names(self) -> list[str]:
        return sorted(name.removeprefix(f"{self.job.name}-") for name in self.pods)

    def waiting(self) -> list[str]:
        return [name for name, pod in self.pods.items() if pod.phase == "Pending"]

    def says(self, kind: str = "Running") -> str:
        return says(self.job.status, kind)

    def message(self, kind: str = "Running") -> str:
        return next(found.message for found in self.job.status.conditions if found.type == kind)

    def _change(self, name: str, **fields: Any) -> World:
        self.pods[name] = replace(self.pods[name], **fields)
        return self


def a_world(job: JobBuilder | None = None, **fields: Any) -> World:
    return World(job=(job or JobBuilder()).build(), **fields)


def complete(world: World, attempt: int = 1) -> World:
    """Let the driver end with the run complete, and all pods go."""
    driver = f"seedlings-{attempt}-driver"
    world.end(driver, 0, an_outcome()).settle().finish_deletions().settle()
    return world.finish_deletions().settle()
