"""An attempt is under way: hear its driver, keep its workers, and see whether it has ended or must end."""

from __future__ import annotations

from seedbed_api.conditions import ConditionType, RunningReason
from seedbed_api.outcome import LiveProgress
from seedbed_api.status import WorkerCounts
from seedbed_operator.observations import PodView
from seedbed_operator.planning.accounting import accounted
from seedbed_operator.planning.beginning import attempt_of, image_of
from seedbed_operator.planning.drafts import Draft
from seedbed_operator.planning.elasticity import missing_workers, ranks_at_first, ranks_at_most
from seedbed_operator.planning.ends import Cause, End, end_of
from seedbed_operator.planning.pods import is_over, runs
from seedbed_operator.planning.scenes import Scene
from seedbed_operator.planning.suspending import is_stopping, stopped
from seedbed_operator.planning.times import seconds
from seedbed_operator.planning.tracking import told_by_driver
from seedbed_operator.plans import Create, Need

LOOK_EVERY = seconds(10)
_NOT_WORTH_A_LOG = frozenset({Cause.DONE, Cause.STOPPED})


def attended(scene: Scene, draft: Draft) -> Draft:
    """Return the plan for an open attempt."""
    driver = scene.driver
    if driver is None or is_over(driver, scene.now):
        return _ended(scene, draft, driver)
    if is_stopping(scene):
        return stopped(scene, draft)
    if driver.deleting:
        message = f"driver pod {driver.name} is being deleted by somebody else; it checkpoints first"
        return draft.waits(RunningReason.CHECKPOINTING, message).wakes(driver.deletion_due)
    if _may_answer(driver) and driver.uid not in scene.evidence.progress:
        return draft.asks(
            Need(kind="Progress", pod=driver.name, pod_uid=driver.uid, address=driver.ip)
        ).wakes(scene.now + LOOK_EVERY)
    return _going_on(scene, draft, driver)


def _ended(scene: Scene, draft: Draft, driver: PodView | None) -> Draft:
    end = end_of(scene, driver)
    if is_stopping(scene) and end.cause not in (Cause.DONE, Cause.USER):
        end = End(cause=Cause.STOPPED, reason="Suspended", message="suspended", outcome=end.outcome)
    needs = _log_of(scene, end)
    return draft.asks(*needs) if needs else accounted(scene, draft, end)


def _log_of(scene: Scene, end: End) -> tuple[Need, ...]:
    pod = end.pod
    if pod is None or not pod.ended or pod.started is None or end.cause in _NOT_WORTH_A_LOG:
        return ()
    if pod.uid in scene.evidence.log_tails:
        return ()
    return (Need(kind="LogTail", pod=pod.name, pod_uid=pod.uid),)


def _may_answer(driver: PodView) -> bool:
    return driver.phase == "Running" and driver.ip is not None


def _going_on(scene: Scene, draft: Draft, driver: PodView) -> Draft:
    live = scene.live
    trains = live is not None and has_stepped(live)
    if live is not None:
        goes_on = scene.is_true(ConditionType.RUNNING)
        draft = told_by_driver(draft, live, goes_on=goes_on)
    draft = _with_workers(scene, draft, driver, trains=trains)
    draft = _counted_workers(scene, draft, trains=trains)
    draft = draft.wakes(scene.now + LOOK_EVERY)
    if live is not None and trains:
        return draft.runs(live.activity if live.activity != "Finishing" else "Training", "")
    if driver.phase == "Pending":
        return draft.waits(RunningReason.PENDING, f"attempt {scene.attempt}: its pods are being created")
    return draft.waits(RunningReason.RAY_STARTING, "the containers run, and Ray is coming up")


def has_stepped(live: LiveProgress) -> bool:
    """Tell whether the attempt has made its first step: until then the driver says Starting."""
    return live.activity != "Starting" and live.progress is not None


def _with_workers(scene: Scene, draft: Draft, driver: PodView, *, trains: bool) -> Draft:
    """Create the workers that are missing; with the first of them whatever a crash may have left out."""
    if scene.profile is None or scene.backend is None or is_finishing(scene):
        return draft
    ranks = ranks_at_most(scene) if trains else ranks_at_first(scene)
    missing = missing_workers(scene, ranks=ranks)
    image = image_of(scene, scene.profile)
    attempt = attempt_of(draft, scene.attempt, image=image, workers=missing, driver=driver)
    children = scene.backend.children(scene.job, scene.profile, attempt)
    return draft.does(*(child for child in children if _is_wanted(scene, child, driver)))


def is_finishing(scene: Scene) -> bool:
    """Tell whether the driver needs its workers no longer."""
    return scene.live is not None and scene.live.activity == "Finishing"


def _is_wanted(scene: Scene, child: Create, driver: PodView) -> bool:
    if child.kind == "Pod":
        return child.name != driver.name
    return not scene.crew


def _counted_workers(scene: Scene, draft: Draft, *, trains: bool) -> Draft:
    desired = ranks_at_most(scene) if trains else ranks_at_first(scene)
    running = sum(runs(pod, scene.now) for pod in scene.crew) * scene.workers_per_pod
    told = scene.live.workers.ready if scene.live and scene.live.workers else 0
    return draft.tells(workers=WorkerCounts(ready=min(told, running), desired=desired))
