"""An attempt keeps the template with which it began: what has changed since counts from the next one on."""

from __future__ import annotations

from seedbed_operator.backends.recorded_settings import settings_of
from seedbed_operator.backends.spec_hash import execution_digest, profile_digest
from seedbed_operator.planning.attempt_outcome import AttemptOutcome, OutcomeCause
from seedbed_operator.planning.job_context import JobContext
from seedbed_operator.planning.worker_count import active_workers, min_ranks, pods_for


def was_edited_while_unobserved(context: JobContext) -> bool:
    """Tell whether the job was suspended, changed and resumed since the attempt began, and nobody saw it."""
    template = context.driver.template if context.driver else None
    return template is not None and template.execution != execution_digest(context.spec)


def describe_pending_changes(context: JobContext) -> str:
    """Say which settings were changed that the attempt under way does not read; empty where none was."""
    template = context.driver.template if context.driver else None
    present = dict(settings_of(context.spec))
    changed = [path for path, value in (template.settings if template else ()) if present.get(path) != value]
    if not changed:
        return ""
    names = ", ".join(f"spec.{path}" for path in changed)
    return (
        f"changed since attempt {context.attempt} began, and read by the next one: {names} "
        "(suspend and resume the job to begin it now)"
    )


def is_template_outdated(context: JobContext) -> bool:
    """Tell whether the profile makes other pods now than those that the attempt began with."""
    template = context.driver.template if context.driver else None
    if template is None or context.profile is None or context.profile.spec is None:
        return False
    return template.profile != profile_digest(context.profile.spec)


def template_drift_outcome(context: JobContext) -> AttemptOutcome | None:
    """Return the end of an attempt that lacks workers of its minimum and can get none like those it has."""
    finishing = context.live is not None and context.live.activity == "Finishing"
    lacking = pods_for(context, min_ranks(context)) > len(active_workers(context))
    if finishing or not (lacking and is_template_outdated(context)):
        return None
    message = (
        f"attempt {context.attempt} lacks workers and TrainingProfile {context.spec.cluster.profile} has "
        "changed since it began: it stops, and the next one begins with the new profile"
    )
    return AttemptOutcome(
        cause=OutcomeCause.STOPPED, reason="ProfileChanged", message=message, pod=context.driver
    )
