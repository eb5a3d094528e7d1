"""Detect changes of job or profile since the running attempt started; they count from the next attempt on."""

from __future__ import annotations

from seedbed_operator.backends.recorded_settings import settings_of
from seedbed_operator.backends.spec_hash import execution_digest, profile_digest
from seedbed_operator.planning.attempt_outcome import AttemptOutcome, OutcomeCause
from seedbed_operator.planning.job_context import JobContext
from seedbed_operator.planning.worker_count import active_workers, min_ranks, pods_for


def was_edited_while_unobserved(context: JobContext) -> bool:
    """Return whether the job was suspended, changed and resumed while no operator ran."""
    template = context.driver.template if context.driver else None
    return template is not None and template.execution != execution_digest(context.spec)


def describe_pending_changes(context: JobContext) -> str:
    """Describe changed settings that the running attempt does not read; empty without any."""
    template = context.driver.template if context.driver else None
    present = dict(settings_of(context.spec))
    changed = [path for path, value in (template.settings if template else ()) if present.get(path) != value]
    if not changed:
        return ""
    names = ", ".join(f"spec.{path}" for path in changed)
    return (
        f"changed since attempt {context.attempt} started, used from the next one on: {names} "
        "(suspend and resume the job to start it now)"
    )


def is_template_outdated(context: JobContext) -> bool:
    """Return whether the profile now defines other pods than when the attempt started."""
    template = context.driver.template if context.driver else None
    if template is None or context.profile is None or context.profile.spec is None:
        return False
    return template.profile != profile_digest(context.profile.spec)


def template_drift_outcome(context: JobContext) -> AttemptOutcome | None:
    """Return the outcome of an attempt below its minimum whose profile has changed."""
    finishing = context.live is not None and context.live.activity == "Finishing"
    lacking = pods_for(context, min_ranks(context)) > len(active_workers(context))
    if finishing or not (lacking and is_template_outdated(context)):
        return None
    message = (
        f"attempt {context.attempt} lacks workers and TrainingProfile {context.spec.cluster.profile} has "
        "changed since it started: it stops, and the next one uses the new profile"
    )
    return AttemptOutcome(
        cause=OutcomeCause.STOPPED, reason="ProfileChanged", message=message, pod=context.driver
    )
