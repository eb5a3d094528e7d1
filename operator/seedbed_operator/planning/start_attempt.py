"""Start an attempt: pin image and profile, create its first children, record the start."""

from __future__ import annotations

from seedbed_api.conditions import RunningReason
from seedbed_api.timestamps import format_time
from seedbed_api.trainingjob_status import Environment, LifecycleStatus, WorkerCounts
from seedbed_operator.backends.backend_interface import Backend, DesiredAttempt
from seedbed_operator.backends.effective_profile import effective_profile
from seedbed_operator.job_observation import PodView, ProfileView
from seedbed_operator.plan import PlanBuilder
from seedbed_operator.planning.deadlines import start_active_time
from seedbed_operator.planning.diagnosis.startup_delay import EXPECTED_START
from seedbed_operator.planning.driver_progress import expected_identity
from seedbed_operator.planning.job_context import JobContext
from seedbed_operator.planning.worker_count import initial_workers, min_ranks


def start_attempt(
    context: JobContext, builder: PlanBuilder, profile: ProfileView, backend: Backend
) -> PlanBuilder:
    """Create the children of the next attempt and record its start in the status."""
    number = context.attempt + 1
    now = format_time(context.now)
    builder = _pin_environment(context, builder, profile, backend)
    status = builder.status
    assert status.environment is not None
    assert status.environment.image is not None
    image = status.environment.image
    first = initial_workers(context)
    attempt = build_attempt(builder, number, image=image, workers=first, gang_size=1 + len(first))
    builder = (
        start_active_time(builder)
        .add_actions(*backend.children(context.job, profile, attempt))
        .set_status(
            attempts=number,
            accounted_attempts=context.accounted_attempts,
            attempt_start_time=now,
            attempt_progressed=_no_progress_yet(status),
            retry_time=None,
            workers=WorkerCounts(ready=0, desired=min_ranks(context)),
        )
    )
    builder = builder.requeue(context.now + EXPECTED_START)
    return builder.set_waiting(RunningReason.PENDING, f"attempt {number}: its pods are being created")


def record_start(context: JobContext, builder: PlanBuilder, driver: PodView) -> PlanBuilder:
    """Record the start of an attempt that an operator crash kept out of the status."""
    if context.attempt <= (context.status.attempts or 0):
        return builder
    if context.profile is not None and context.backend is not None:
        builder = _pin_environment(context, builder, context.profile, context.backend)
    began = format_time(driver.created)
    return builder.set_status(
        attempts=context.attempt,
        accounted_attempts=context.accounted_attempts,
        attempt_start_time=began,
        attempt_progressed=_no_progress_yet(builder.status),
        start_time=builder.status.start_time or began,
        resume_time=builder.status.resume_time or began,
        retry_time=None,
    ).requeue(context.now)


def _no_progress_yet(status: LifecycleStatus) -> bool | None:
    """Return False for an attempt without progress; None where no attempt had any."""
    return None if status.attempt_progressed is None else False


def build_attempt(
    builder: PlanBuilder,
    number: int,
    *,
    image: str,
    workers: tuple[int, ...],
    driver: PodView | None = None,
    gang_size: int = 0,
    alone: tuple[int, ...] = (),
) -> DesiredAttempt:
    """Return the attempt for the backend."""
    return DesiredAttempt(
        number=number,
        driver_uid=driver.uid if driver else None,
        workers=workers,
        image=image,
        gang_size=gang_size,
        alone=alone,
        expected=expected_identity(builder.status),
    )


def attempt_image(context: JobContext, profile: ProfileView) -> str:
    """Return the image of the running attempt."""
    effective = effective_profile(context.job, profile)
    environment = context.status.environment
    pinned = environment.image if environment else None
    return pinned if pinned and effective.knows_image(pinned) else effective.image


def _pin_environment(
    context: JobContext, builder: PlanBuilder, profile: ProfileView, backend: Backend
) -> PlanBuilder:
    """Pin image and profile; a later attempt may change the image until a driver has reported its run."""
    environment = builder.status.environment or Environment()
    computed = environment.class_ is not None or builder.status.identity is not None
    effective = effective_profile(context.job, profile)
    known = environment.image is not None and effective.knows_image(environment.image)
    if not known or not computed:
        image = effective.image
        environment = environment.model_copy(
            update={
                "image": image,
                "image_digest": image.rpartition("@")[2],
                "profile_generation": profile.generation,
            }
        )
    return builder.set_status(environment=environment, backend=backend.name)
