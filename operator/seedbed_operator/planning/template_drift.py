"""An attempt keeps the template with which it began: what has changed since counts from the next one on."""

from __future__ import annotations

from seedbed_operator.backends.recorded_settings import settings_of
from seedbed_operator.backends.spec_hash import execution_digest, profile_digest
from seedbed_operator.planning.attempt_outcome import Cause, End
from seedbed_operator.planning.job_context import Scene
from seedbed_operator.planning.worker_count import pods_for, present, ranks_at_first


def was_edited(scene: Scene) -> bool:
    """Tell whether the job was suspended, changed and resumed since the attempt began, and nobody saw it."""
    template = scene.driver.template if scene.driver else None
    return template is not None and template.execution != execution_digest(scene.spec)


def counts_later(scene: Scene) -> str:
    """Say which settings were changed that the attempt under way does not read; empty where none was."""
    template = scene.driver.template if scene.driver else None
    present = dict(settings_of(scene.spec))
    changed = [path for path, value in (template.settings if template else ()) if present.get(path) != value]
    if not changed:
        return ""
    names = ", ".join(f"spec.{path}" for path in changed)
    return (
        f"changed since attempt {scene.attempt} began, and read by the next one: {names} "
        "(suspend and resume the job to begin it now)"
    )


def is_outdated(scene: Scene) -> bool:
    """Tell whether the profile makes other pods now than those that the attempt began with."""
    template = scene.driver.template if scene.driver else None
    if template is None or scene.profile is None or scene.profile.spec is None:
        return False
    return template.profile != profile_digest(scene.profile.spec)


def outgrown(scene: Scene) -> End | None:
    """Return the end of an attempt that lacks workers of its minimum and can get none like those it has."""
    finishing = scene.live is not None and scene.live.activity == "Finishing"
    lacking = pods_for(scene, ranks_at_first(scene)) > len(present(scene))
    if finishing or not (lacking and is_outdated(scene)):
        return None
    message = (
        f"attempt {scene.attempt} lacks workers and TrainingProfile {scene.spec.cluster.profile} has changed "
        "since it began: it stops, and the next one begins with the new profile"
    )
    return End(cause=Cause.STOPPED, reason="ProfileChanged", message=message, pod=scene.driver)
