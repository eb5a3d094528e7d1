"""An attempt begins: what it pins, what it must find again, and which children it has first."""

from __future__ import annotations

from seedbed_api.conditions import RunningReason
from seedbed_api.timestamps import written
from seedbed_api.trainingjob_status import Environment, LifecycleStatus, WorkerCounts
from seedbed_operator.backends.backend_interface import Attempt, Backend
from seedbed_operator.backends.effective_profile import offer_of
from seedbed_operator.job_observation import PodView, ProfileView
from seedbed_operator.plan import PlanBuilder
from seedbed_operator.planning.deadlines import clock_started
from seedbed_operator.planning.diagnosis.startup_delay import SOON
from seedbed_operator.planning.driver_progress import expected_identity
from seedbed_operator.planning.job_context import Scene
from seedbed_operator.planning.worker_count import first_workers, ranks_at_first


def begun(scene: Scene, draft: PlanBuilder, profile: ProfileView, backend: Backend) -> PlanBuilder:
    """Create the children of the next attempt and say that it has begun."""
    number = scene.attempt + 1
    now = written(scene.now)
    draft = _pinned(scene, draft, profile, backend)
    status = draft.status
    assert status.environment is not None
    assert status.environment.image is not None
    image = status.environment.image
    first = first_workers(scene)
    attempt = attempt_of(draft, number, image=image, workers=first, gang_size=1 + len(first))
    draft = (
        clock_started(draft)
        .does(*backend.children(scene.job, profile, attempt))
        .tells(
            attempts=number,
            accounted_attempts=scene.accounted,
            attempt_start_time=now,
            attempt_progressed=_not_yet(status),
            retry_time=None,
            workers=WorkerCounts(ready=0, desired=ranks_at_first(scene)),
        )
    )
    draft = draft.wakes(scene.now + SOON)
    return draft.waits(RunningReason.PENDING, f"attempt {number}: its pods are being created")


def recorded(scene: Scene, draft: PlanBuilder, driver: PodView) -> PlanBuilder:
    """Say of an attempt what a crash, or an edit of the job, kept out of the status when it began."""
    if scene.attempt <= (scene.status.attempts or 0):
        return draft
    if scene.profile is not None and scene.backend is not None:
        draft = _pinned(scene, draft, scene.profile, scene.backend)
    began = written(driver.created)
    return draft.tells(
        attempts=scene.attempt,
        accounted_attempts=scene.accounted,
        attempt_start_time=began,
        attempt_progressed=_not_yet(draft.status),
        start_time=draft.status.start_time or began,
        resume_time=draft.status.resume_time or began,
        retry_time=None,
    ).wakes(scene.now)


def _not_yet(status: LifecycleStatus) -> bool | None:
    """Return that the attempt has kept nothing yet; None where no other has, either."""
    return None if status.attempt_progressed is None else False


def attempt_of(
    draft: PlanBuilder,
    number: int,
    *,
    image: str,
    workers: tuple[int, ...],
    driver: PodView | None = None,
    gang_size: int = 0,
    alone: tuple[int, ...] = (),
) -> Attempt:
    """Return an attempt as its children need it."""
    return Attempt(
        number=number,
        driver_uid=driver.uid if driver else None,
        workers=workers,
        image=image,
        gang_size=gang_size,
        alone=alone,
        expected=expected_identity(draft.status),
    )


def image_of(scene: Scene, profile: ProfileView) -> str:
    """Return the image of the attempt under way."""
    environment = scene.status.environment
    pinned = environment.image if environment else None
    return pinned or offer_of(scene.job, profile).image


def _pinned(scene: Scene, draft: PlanBuilder, profile: ProfileView, backend: Backend) -> PlanBuilder:
    """Pin image and profile, for good once a driver has told its run: an image may be a wrong one."""
    environment = draft.status.environment or Environment()
    computed = environment.class_ is not None or draft.status.identity is not None
    if environment.image is None or not computed:
        image = offer_of(scene.job, profile).image
        environment = environment.model_copy(
            update={
                "image": image,
                "image_digest": image.rpartition("@")[2],
                "profile_generation": profile.generation,
            }
        )
    return draft.tells(environment=environment, backend=backend.name)
