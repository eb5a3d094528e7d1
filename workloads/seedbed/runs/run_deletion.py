"""Deletion of runs: the result goes first, so that no reader finds a partial complete run; claims stay.

Claims and leases are tiny, and a fencing token must never be reused.
"""

from __future__ import annotations

from seedbed.runs.attempt_claims import AttemptClaim, highest_attempt, read_claim
from seedbed.runs.process_identity import is_known_dead
from seedbed.runs.run_folder import RECEIPT, RESULT, RunFolder
from seedbed.runs.run_lease import RunLease, acquire_lease, is_released, read_heartbeat
from seedbed.runs.training_result import RESULT_FILE
from seedbed.runs.trajectory_index import remove_run_checkpoints
from seedbed.storage import UnreadableObject

_FIRST = (RESULT, RECEIPT, RESULT_FILE)
_LAST = "blobs/"
_KEPT = "attempts/"


class RunInUse(Exception):  # noqa: N818 - an answer, not a failure
    """The run is being trained."""


def current_holder(folder: RunFolder) -> AttemptClaim | None:
    """Return the claim of the attempt that trains the run, from a single read; None if there is none.

    Released leases, and those of dead processes of this machine, do not count.
    """
    number = highest_attempt(folder)
    if number == 0:
        return None
    attempt = read_claim(folder, number)
    return None if is_released(read_heartbeat(folder, number)) or is_known_dead(attempt.process) else attempt


def removable_objects(folder: RunFolder) -> dict[str, int]:
    """Return the objects of a run that may be removed, with their bytes."""
    paths = [path for path in folder.objects.list() if not path.startswith(_KEPT)]
    return {path: _size(folder, path) for path in paths}


def _size(folder: RunFolder, path: str) -> int:
    """Return the bytes of an object; 0 for a link or a FIFO, which are removed and not read."""
    try:
        return folder.objects.size(path)
    except UnreadableObject:
        return 0


def remove_run(folder: RunFolder, *, version: str) -> None:
    """Remove run and logs, not the claims, as the newest attempt; raises RunInUse if it is being trained."""
    if current_holder(folder) is not None:
        raise RunInUse
    folder.objects.delete(RESULT)  # a complete run gives no lease
    with _claimed(folder, version):
        for path in folder.logs.list():
            folder.logs.delete(path)
        paths = list(removable_objects(folder))
        for path in sorted(paths, key=_order):
            folder.objects.delete(path)
        remove_run_checkpoints(folder)


def _claimed(folder: RunFolder, version: str) -> RunLease:
    def refuse(_holder: AttemptClaim) -> None:
        raise RunInUse

    lease = acquire_lease(folder, workers=1, version=version, on_wait=refuse)
    assert lease is not None, "its result is gone"
    return lease


def _order(path: str) -> tuple[int, str]:
    """Order records before the blobs that they name, so that no reader finds a record without its blobs."""
    if path in _FIRST:
        return (_FIRST.index(path), path)
    return (len(_FIRST) + path.startswith(_LAST), path)
