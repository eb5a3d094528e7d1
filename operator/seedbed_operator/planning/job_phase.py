"""Where an attempt is on its way: before its first step, training, or with fewer workers than its minimum."""

from __future__ import annotations

from datetime import datetime

from seedbed_api.conditions import ConditionType
from seedbed_api.pod_contract.driver_messages import LiveProgress
from seedbed_api.timestamps import parsed
from seedbed_operator.planning.job_context import Scene
from seedbed_operator.planning.pod_state import runs
from seedbed_operator.planning.worker_count import pods_for, ranks_at_first


def has_trained(scene: Scene) -> bool:
    """Tell whether the newest attempt has made a step, also while it waits for workers that it has lost."""
    stepped = scene.live is not None and has_stepped(scene.live)
    return scene.is_true(ConditionType.RUNNING) or _noted_lack(scene) is not None or stepped


def has_stepped(live: LiveProgress) -> bool:
    """Tell whether a driver has made a step: until then it says Starting."""
    return live.activity != "Starting" and live.steps is not None


def is_finishing(scene: Scene) -> bool:
    """Tell whether the driver needs its workers no longer."""
    return scene.live is not None and scene.live.activity == "Finishing"


def says_it_trains(scene: Scene) -> bool:
    """Tell whether the driver itself says that it has its minimum of workers and makes steps."""
    live = scene.live
    enough = live is not None and live.workers is not None and live.workers.ready >= ranks_at_first(scene)
    return live is not None and has_stepped(live) and enough


def lacks_workers(scene: Scene) -> bool:
    """Tell whether fewer worker pods run than the minimum, in an attempt that has trained and needs them."""
    if scene.backend is None or not has_trained(scene) or is_finishing(scene):
        return False
    running = sum(runs(pod, scene.now) for pod in scene.crew)
    return running < pods_for(scene, ranks_at_first(scene))


def lacks_workers_since(scene: Scene) -> datetime | None:
    """Return since when; a step that the driver makes shows that it had them until then, whatever is seen."""
    if not lacks_workers(scene):
        return None
    noted = _noted_lack(scene) or scene.now
    changed = scene.evidence.progress_changed.get(scene.driver.uid) if scene.driver else None
    return max(noted, changed) if changed is not None and says_it_trains(scene) else noted


def complete_since(scene: Scene) -> datetime | None:
    """Return since when the attempt has its minimum again; None where it has lacked none, or lacks some."""
    if _noted_lack(scene) is not None:
        return None if lacks_workers(scene) else scene.now
    workers = scene.status.workers
    return parsed(workers.complete_since) if workers else None


def _noted_lack(scene: Scene) -> datetime | None:
    workers = scene.status.workers
    return parsed(workers.lacking_since) if workers else None
