"""Which folder of an output store an owner works in: that of the run or sweep, unless somebody else holds it.

Two owners may train the same run in one store. The first has `runs/<run>`; the other trains below
`owners/<owner>/`, so that neither reads, overwrites or waits for what the other wrote.
"""

from __future__ import annotations

import logging

from seedbed.runs.owner_records import Owner
from seedbed.runs.run_folder import RunFolder, open_run, run_path
from seedbed.storage import Storage
from seedbed_api.errors import InfrastructureError, UserError, refusal

logger = logging.getLogger(__name__)

_CLAIMS = "attempts/"


def own_run_folder(output: Storage, run_id: str, owner: Owner | None) -> RunFolder:
    """Return the folder in which an owner trains a run; writes nothing. Raises UserError OutputNotOwned."""
    below = own_place(output, run_path(run_id), run_id, owner)
    return open_run(output.child(below) if below else output, run_id, owner=owner, below=below)


def own_place(output: Storage, path: str, subject: str, owner: Owner | None) -> str:
    """Return the folder of the output below which an owner has the `path` of a subject; empty: the output.

    Raises UserError OutputNotOwned where somebody else holds even the folder in the owner's place.
    """
    if owner is None or _is_open_to(output.child(path), subject, owner):
        return ""
    own = output.child(owner.place)
    shown, instead = output.child(path).url, own.child(path).url
    if not _is_open_to(own.child(path), subject, owner):
        problem = f"somebody else has written the place of this owner in it, {instead}"
        fix = "set another spec.output.uri, or remove that folder"
        raise UserError("OutputNotOwned", refusal("spec.output.uri", output.url, problem, fix))
    logger.warning(
        "%s is not reused: spec.output.trust is not Store, and somebody else wrote it, or a version without "
        "owner records; this job works in %s instead (to reuse it all the same: spec.output.trust: Store)",
        shown,
        instead,
    )
    return owner.place


def _is_open_to(folder: Storage, subject: str, owner: Owner) -> bool:
    """Return whether an owner holds a folder, or nobody does: claims of a removed run do not count."""
    if owner.holds(folder, subject):
        return True
    return all(path.startswith(_CLAIMS) for path in folder.list())


def hold_folder(folder: Storage, subject: str, owner: Owner | None) -> None:
    """Claim a folder for its owner. Raises InfrastructureError RunFolderTaken: the next try moves."""
    if owner is not None and not owner.hold(folder, subject):
        line = f"{folder.url}: somebody else has claimed the folder meanwhile; the next try has its own"
        raise InfrastructureError("RunFolderTaken", line)
