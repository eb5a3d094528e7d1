"""Random walks through a world: what may happen to a job, and what must hold after each pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from seedbed_api.execution_settings import Output, Workers
from seedbed_api.pod_contract.driver_messages import LiveProgress
from seedbed_api.timestamps import parse_time
from seedbed_api.trainingjob_status import CheckpointStatus, LifecycleStatus, WorkerCounts
from seedbed_operator.backends.child_metadata import driver_name, service_name, worker_name
from seedbed_operator.job_observation import ContainerTerminated, InjectedContainer, PodView
from seedbed_operator.plan import Create, Delete
from seedbed_operator.planning import plan
from seedbed_operator.planning.pod_state import is_lost
from support.operator.builders import (
    SWEEP,
    TOTAL_STEPS,
    a_checkpoint,
    a_pod,
    a_profile,
    a_sweeps_end,
    an_outcome,
    condition,
    live,
    says,
    trials,
)
from support.operator.simulated_cluster import World

COUNTERS = ("attempts", "accounted_attempts", "failures", "infrastructure_failures", "preemptions")
CODES = (0, 1, 2, 75, 137, 143)


@dataclass
class Walk:
    """A world, what was there before, and how far its drivers have come."""

    world: World
    before: LifecycleStatus = field(init=False)
    step: int = 0
    foreign: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.before = type(self.world.job.status)()

    def drivers(self) -> list[PodView]:
        return self._of("driver")

    def _of(self, role: str) -> list[PodView]:
        pods = self.world.pods.values()
        return [pod for pod in pods if pod.role == role and pod.uid not in self.foreign and not pod.ended]

    def do(self, name: str, number: int) -> None:
        """Let something happen, and the operator act on it."""
        EVENTS[name](self, number)
        self.world.settle()
        self.check()

    def check(self) -> None:
        status = self.world.job.status
        observation = self.world.observe()
        assert plan(observation) == plan(observation), "the same is seen, the same is planned"
        self._nothing_foreign_is_touched()
        self._counts_only_grow(status)
        self._ends_are_final(status)
        self._it_will_look_again(status)
        self._nothing_hangs_without_workers(status)
        assert type(status).model_validate(status.plain()) == status, "what is written can be read"
        assert len([pod for pod in self.drivers() if not pod.deleting]) <= 1, "one attempt at a time"
        self._no_group_is_too_large()
        self.before = status

    def _nothing_foreign_is_touched(self) -> None:
        for made in self.world.history:
            for action in made.actions:
                if isinstance(action, Delete):
                    assert action.uid not in self.foreign
                elif isinstance(action, Create):
                    assert action.body["metadata"]["namespace"] == "team"
        self.world.history.clear()

    def _no_group_is_too_large(self) -> None:
        """A queue deletes the pods of a group beyond its count, of whose pods it counts all that have not failed."""
        pods = [
            pod
            for pod in self.world.pods.values()
            if pod.gang_size is not None and pod.uid not in self.foreign
        ]
        for attempt in {pod.attempt for pod in pods}:
            group = [pod for pod in pods if pod.attempt == attempt and pod.phase != "Failed"]
            counts = {pod.gang_size for pod in group}
            assert len(counts) <= 1, "all pods of a group have one count"
            assert all(len(group) <= (count or 0) for count in counts), [pod.name for pod in group]

    def _counts_only_grow(self, status: LifecycleStatus) -> None:
        for name in COUNTERS:
            assert (getattr(status, name) or 0) >= (getattr(self.before, name) or 0), name
        assert (status.accounted_attempts or 0) <= (status.attempts or 0)

    def _nothing_hangs_without_workers(self, status: LifecycleStatus) -> None:
        failure = status.last_failure
        if failure is None or failure == self.before.last_failure:
            return
        if failure.reason == "ProgressDeadlineExceeded":
            of_it = [pod for pod in self._of("worker") if pod.attempt == failure.attempt]
            assert any(pod.phase == "Running" for pod in of_it), (
                "it waited for workers, and was held to be hung"
            )

    def _ends_are_final(self, status: LifecycleStatus) -> None:
        ends = [condition(status, kind) for kind in ("Complete", "Failed")]
        assert sum(end is not None for end in ends) <= 1, "complete or failed, not both"
        for end in ends:
            if end is not None and end.status == "True" and not self._was_over():
                assert not self._left(), "it ends when its last pod is gone, but for those of lost nodes"
                assert status.completion_time is not None
        for old in self.before.conditions:
            if old.type in ("Complete", "Failed"):
                new = condition(status, old.type)
                assert new is not None
                assert (new.reason, new.message) == (old.reason, old.message)
                assert not (old.status == "True" and new.status != "True")

    def _was_over(self) -> bool:
        """Say whether the end was final before: a pod that was held to be lost may be heard of later."""
        return any(says(self.before, kind).startswith("True") for kind in ("Complete", "Failed"))

    def _left(self) -> list[str]:
        ours = [pod for pod in self.world.pods.values() if pod.uid not in self.foreign]
        return [pod.name for pod in ours if not is_lost(pod, self.world.now)]

    def _it_will_look_again(self, status: LifecycleStatus) -> None:
        at_rest = any(
            found.type in ("Complete", "Failed", "Suspended") and found.status == "True"
            for found in status.conditions
        )
        running = any(pod.phase == "Running" and not pod.deleting for pod in self.drivers())
        retry = parse_time(status.retry_time)
        backs_off = retry is not None and retry > self.world.now
        if not at_rest and (running or backs_off):
            assert self.world.requeue_at is not None, "a deadline is pending and nobody would notice"

    # -- what may happen ---------------------------------------------------------------------------------------

    def start(self, number: int) -> None:
        waiting = self.world.waiting()
        self.world.start(*[name for at, name in enumerate(waiting) if (number >> (at % 8)) & 1])

    def start_all(self, _: int) -> None:
        self.world.start()

    def gate(self, number: int) -> None:
        """A queue holds pods that have no node, and admits some of them later."""
        for at, name in enumerate(self.world.waiting()):
            pod = self.world.pods[name]
            if pod.node is None:
                self.world.pods[name] = replace(pod, gated=bool((number >> (at % 8)) & 1))

    def inject(self, number: int) -> None:
        """A webhook has put a container into a pod: it runs before ours, fails, or runs on beside it."""
        pods = [pod for pod in (*self.drivers(), *self._of("worker")) if not pod.deleting]
        if not pods:
            return
        pod = pods[number % len(pods)]
        failed = ContainerTerminated(exit_code=3, reason="Error", message="", started=None, finished=None)
        if pod.phase == "Pending" and number % 3:
            culprit = InjectedContainer(name="init", kind="init", running=number % 3 == 1)
            self.world.pods[pod.name] = replace(
                pod, node="node-a", scheduled=self.world.now, injected_containers=(culprit,)
            )
        if pod.phase == "Pending" and number % 3 == 2:
            culprit = InjectedContainer(name="init", kind="init", terminated=failed)
            pod = self.world.pods[pod.name]
            self.world.pods[pod.name] = replace(
                pod, phase="Failed", injected_containers=(culprit,), over_since=self.world.now
            )
        if pod.phase == "Running":
            beside = InjectedContainer(
                name="proxy", kind="beside", running=True, terminated=failed if number % 2 else None
            )
            self.world.pods[pod.name] = replace(pod, injected_containers=(beside,))

    def advance(self, number: int) -> None:
        self.step = min(self.step + number % 7, TOTAL_STEPS)
        kept = a_checkpoint(self.step, self.world.now) if number % 2 else None
        activity = ("Training", "Evaluating", "Starting", "Checkpointing")[number % 4]
        for pod in self.drivers():
            if pod.phase == "Running":
                counts = WorkerCounts(ready=number % 4, desired=4)
                self.world.say(pod.name, self._live(activity, kept, counts))

    def _live(self, activity: str, kept: CheckpointStatus | None, counts: WorkerCounts) -> LiveProgress:
        if self.world.job.kind == "TrainingJob":
            return live(self.step, activity, checkpoint=kept, workers=counts)
        told = trials(self.step * 12 // TOTAL_STEPS, steps=self.step, kept_time=kept.time if kept else None)
        return live(None, activity, run_id=SWEEP, workers=counts, sweep=told)

    def end_driver(self, number: int) -> None:
        running = [pod for pod in self.drivers() if pod.phase == "Running"]
        if running:
            code = CODES[number % len(CODES)]
            self.world.end(running[-1].name, code, self._word(code))

    def _word(self, code: int) -> str:
        outcome = an_outcome if self.world.job.kind == "TrainingJob" else a_sweeps_end
        words = {
            0: outcome(),
            2: outcome("Failed", "ModelError"),
            75: outcome("Failed", "StorageUnavailable"),
            143: outcome("Stopped", "Stopped"),
        }
        return words.get(code, "")

    def end_worker(self, number: int) -> None:
        running = [pod for pod in self._of("worker") if pod.phase == "Running"]
        if running:
            pod = running[number % len(running)]
            self.world.end(pod.name, 137, reason="OOMKilled" if number % 2 else "")

    def lose(self, number: int) -> None:
        running = [pod for pod in (*self.drivers(), *self._of("worker")) if pod.phase == "Running"]
        if running:
            self.world.lose_node(running[number % len(running)].name)

    def delete(self, number: int) -> None:
        ours = (*self.drivers(), *self._of("worker"))
        if ours:
            self.world.delete(ours[number % len(ours)].name)

    def disrupt(self, number: int) -> None:
        for pod in self.drivers()[: 1 + number % 2]:
            self.world.pods[pod.name] = replace(pod, disruption="PreemptionByScheduler")

    def finish_deletions(self, _: int) -> None:
        self.world.finish_deletions()

    def wait(self, number: int) -> None:
        self.world.wait(number % 97)

    def wait_long(self, number: int) -> None:
        self.world.wait(300 + number)

    def suspend(self, number: int) -> None:
        self.world.edit(suspend=bool(number % 2))

    def lose_profile(self, number: int) -> None:
        other = {"worker": {"workersPerPod": 2}} if number % 4 == 3 else {}
        self.world.profile = a_profile(generation=2, **other) if number % 2 else None

    def edit(self, number: int) -> None:
        """Suspend, change and resume the job while the operator is away."""
        self.world.edit(output=Output(uri=f"s3://runs-{number % 3}"))

    def change_workers(self, number: int) -> None:
        """Edit what may change at any time."""
        assert self.world.job.spec is not None
        workers = Workers(min=1 + number % 3, max=max(1 + number % 3, 1 + number % 5))
        cluster = self.world.job.spec.cluster.model_copy(update={"workers": workers})
        self.world.edit(cluster=cluster)

    def reject(self, number: int) -> None:
        """Let a kubelet reject a pod that the scheduler gave it."""
        waiting = self.world.waiting()
        if waiting:
            name = waiting[number % len(waiting)]
            why = ("OutOfcpu", "UnexpectedAdmissionError", "NodeAffinity", "NodeShutdown")[number % 4]
            self.world.schedule(name)
            self.world.pods[name] = replace(self.world.pods[name], phase="Failed", reason=why)

    def hold(self, number: int) -> None:
        """Let a queue hold pods that have no node."""
        for at, name in enumerate(self.world.waiting()):
            pod = self.world.pods[name]
            if pod.scheduled is None and (number >> (at % 8)) & 1:
                self.world.pods[name] = replace(pod, gated=True)

    def cannot_start(self, number: int) -> None:
        waiting = self.world.waiting()
        if waiting:
            self.world.cannot_start(waiting[number % len(waiting)], "ErrImagePull", "not found")

    def refuse(self, number: int) -> None:
        self.world.refuses.clear()
        if number % 3:
            attempt = (self.world.job.status.attempts or 0) + number % 2
            quota = (403, "Forbidden", "exceeded quota: team")
            for name in (driver_name, service_name):
                self.world.refuses[name(self.world.job, attempt)] = quota
            self.world.refuses[worker_name(self.world.job, attempt, 0)] = quota

    def intrude(self, number: int) -> None:
        """Put somebody else's pod where ours may want to be."""
        attempt = (self.world.job.status.attempts or 0) + number % 3
        role = "driver" if number % 2 else "worker"
        job = self.world.job
        name = driver_name(job, attempt) if number % 2 else worker_name(job, attempt, number % 5)
        if name in self.world.pods or attempt == 0:
            return
        uid = f"foreign-{name}"
        owner, of = (None, "another") if number % 5 else ("another", job.uid)
        pod = a_pod(role, name=name, uid=uid, attempt=attempt, index=number % 5, owner_uid=owner, job_uid=of)
        self.world.pods[name] = pod
        self.foreign.add(uid)

    def leave(self, _: int) -> None:
        """Let the intruders go."""
        for pod in list(self.world.pods.values()):
            if pod.uid in self.foreign:
                del self.world.pods[pod.name]

    def restart(self, _: int) -> None:
        """Lose what only the process remembers."""
        self.world.driver_responses.clear()
        self.world.changed.clear()
        self.world.rejected_writes = ()
        self.world.status_written = None

    def mend(self) -> None:
        """End all trouble and let the job come to its end, whatever it has been through."""
        self.world.refuses.clear()
        self.leave(0)
        self.world.profile = a_profile(generation=3)
        self.world.edit(suspend=False).settle()
        for _ in range(60):
            if any(
                found.type in ("Complete", "Failed") and found.status == "True"
                for found in self.before.conditions
            ):
                return
            self.start_all(0)
            self.world.settle()
            for pod in self.drivers():
                if pod.phase == "Running" and not pod.deleting:
                    self.world.end(pod.name, 0, self._word(0))
            self.world.settle().finish_deletions().settle().finish_deletions().wait(400)
            self.check()
        raise AssertionError(f"it comes to no end: {self.world.says()} {self.world.message()}")


EVENTS: dict[str, Callable[[Walk, int], None]] = {
    name: getattr(Walk, name)
    for name in (
        "start",
        "start_all",
        "gate",
        "inject",
        "advance",
        "end_driver",
        "end_worker",
        "lose",
        "delete",
        "disrupt",
        "finish_deletions",
        "wait",
        "wait_long",
        "suspend",
        "lose_profile",
        "edit",
        "change_workers",
        "reject",
        "hold",
        "cannot_start",
        "refuse",
        "intrude",
        "leave",
        "restart",
    )
}
