"""Removing a run that nobody needs: what makes it complete goes first, its claims stay.

Claims and leases are tiny, and a fencing number is never given twice.
"""

from __future__ import annotations

from seedbed.runs.attempt_claims import Attempt, highest_attempt, read_attempt
from seedbed.runs.process_identity import known_dead
from seedbed.runs.run_folder import RECEIPT, RESULT, RunFolder
from seedbed.runs.run_lease import Lease, acquire, read_beat, released
from seedbed.runs.trajectory_index import forget_run

_FIRST = (RESULT, RECEIPT, "outcome.json")
_LAST = "blobs/"
_KEPT = "attempts/"


class InUse(Exception):  # noqa: N818 - an answer, not a failure
    """Somebody trains the run now."""


def holder(folder: RunFolder) -> Attempt | None:
    """Return who trains the run, as far as one look tells.

    A lease that was given back is nobody's, nor is one of a process of this machine that has ended.
    """
    number = highest_attempt(folder)
    if number == 0:
        return None
    attempt = read_attempt(folder, number)
    return None if released(read_beat(folder, number)) or known_dead(attempt.process) else attempt


def objects_of(folder: RunFolder) -> dict[str, int]:
    """Return the objects of a run that may be removed, with their bytes."""
    paths = [path for path in folder.objects.list() if not path.startswith(_KEPT)]
    return {path: folder.objects.size(path) for path in paths}


def remove_run(folder: RunFolder, *, version: str) -> None:
    """Remove a run and its logs, not its claims, as its newest attempt; raises InUse where it is trained."""
    if holder(folder) is not None:
        raise InUse
    folder.objects.delete(RESULT)  # a complete run gives no lease
    with _claimed(folder, version):
        for path in folder.logs.list():
            folder.logs.delete(path)
        paths = list(objects_of(folder))
        for path in sorted(paths, key=_order):
            folder.objects.delete(path)
        forget_run(folder)


def _claimed(folder: RunFolder, version: str) -> Lease:
    def refuse(_holder: Attempt) -> None:
        raise InUse

    lease = acquire(folder, workers=1, version=version, waiting=refuse)
    assert lease is not None, "its result is gone"
    return lease


def _order(path: str) -> tuple[int, str]:
    """Order records before the blobs that they name, so that no reader meets a record without them."""
    if path in _FIRST:
        return (_FIRST.index(path), path)
    return (len(_FIRST) + path.startswith(_LAST), path)
