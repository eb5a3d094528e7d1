"""The run folder: where each object of a run lies, and the rule that none is overwritten with other bytes.

An object that exists with other bytes than ours is nondeterminism found, and is said loudly.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from seedbed.runs.owner_records import Owner
from seedbed.storage import DamagedObject, ObjectLimit, OversizedObject, Storage, without_links
from seedbed.storage.object_limits import DOCUMENT, LEDGER_SEGMENT, TENSORS
from seedbed_api.errors import InfrastructureError
from seedbed_api.pod_contract.paths import job_logs_path
from seedbed_api.strict_json import parse_json

logger = logging.getLogger(__name__)

RECIPE = "recipe.json"
ENVIRONMENT = "environment.json"
RECEIPT = "receipt.json"
RESULT = "result.json"
REPORT = "report.html"
REFUSED = "refused"
"""Folder of objects that were found where a run's own should be."""

Valid = Callable[[bytes], bool]
Agrees = Callable[[bytes, bytes], bool]


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFolder:
    """The objects of one run below an output storage."""

    output: Storage
    run_id: str
    """`sha256:<hex>`."""
    owner: Owner | None = None
    """Whose objects are believed, by their owner records; None: whatever agrees."""
    below: str = ""
    """Path from the output store of the job to `output`; empty where they are the same."""

    @property
    def name(self) -> str:
        """Return the run identity as a folder name: its hex digits."""
        return self.run_id.removeprefix("sha256:")

    @property
    def objects(self) -> Storage:
        """Return the storage of `runs/<run>`."""
        return self.output.child(run_path(self.run_id))

    @property
    def leases(self) -> Storage:
        """Return the storage of `leases/<run>`, the only objects that are rewritten."""
        return self.output.child(f"leases/{self.name}")

    @property
    def logs(self) -> Storage:
        """Return the storage of `logs/<run>`: what `seedbed run` says of it; pods have logs of their own."""
        return self.output.child(job_logs_path(self.name))

    @property
    def url(self) -> str:
        """Return the folder's URL, safe to print."""
        return self.objects.url

    def finished(self) -> bool:
        """Say whether the run is complete: its result is written last."""
        return self.objects.exists(RESULT)

    def read_json(self, path: str, limit: ObjectLimit = DOCUMENT) -> Any:
        """Return a JSON document of the folder.

        Raises FileNotFoundError, or InfrastructureError RunFolderDamaged where it is none.
        """
        try:
            return parse_json(self.objects.read(path, limit))
        except ValueError as error:
            raise InfrastructureError("RunFolderDamaged", f"{self.url}/{path}: {error}") from error

    def read_json_lines(self, path: str, limit: ObjectLimit) -> list[Any]:
        """Return the JSON documents of an object of lines; raises as `read_json` does."""
        try:
            return [parse_json(line) for line in self.objects.read(path, limit).splitlines()]
        except ValueError as error:
            raise InfrastructureError("RunFolderDamaged", f"{self.url}/{path}: {error}") from error

    def publish(
        self, path: str, data: bytes, *, valid: Valid | None = None, agrees: Agrees | None = None
    ) -> None:
        """Write an object that no attempt may write differently.

        `valid` tells a damaged object, which is then restored; `agrees(theirs, ours)` relaxes equality.
        Raises InfrastructureError RunFolderConflict where another object has the name.
        """
        if self.objects.create(path, data):
            return
        theirs = self._present(path, most_bytes=max(len(data), DOCUMENT.most_bytes))
        if theirs == data or (theirs is not None and agrees is not None and agrees(theirs, data)):
            return
        if valid is not None and (theirs is None or not valid(theirs)):
            logger.warning("%s/%s is damaged; restored", self.url, path)
            self.objects.put(path, data)
            return
        raise InfrastructureError(
            "RunFolderConflict", conflict_message(f"{self.url}/{path}", theirs or b"", data)
        )

    def vouch(self, kind: str, digest: str) -> None:
        """Say in the name of the owner, if there is one, that the object of this digest is of this run."""
        if self.owner is not None:
            self.owner.vouch(self.objects, kind, subject=self.run_id, digest=digest)

    def forget(self, kind: str) -> None:
        """Delete the owner record of an object that was deleted."""
        if self.owner is not None:
            self.owner.forget(self.objects, kind)

    def vouched(self, kind: str) -> str | None:
        """Return the digest that the owner vouches for; None without a record."""
        assert self.owner is not None, "only an owner vouches"
        return self.owner.vouched(self.objects, kind, subject=self.run_id)

    def believes(self, kind: str, digest: str) -> bool:
        """Say whether an object may be used as far as its owner is concerned."""
        return self.owner is None or self.vouched(kind) == digest

    def set_aside(self, path: str) -> None:
        """Move an object that is not believed to `refused/<path>.<digest>`, so that nothing is lost."""
        limit = TENSORS if path.startswith(("blobs/", "model/")) else LEDGER_SEGMENT
        data = self._present(path, most_bytes=limit.most_bytes) if self.objects.exists(path) else None
        if data is not None:
            self.objects.create(f"{REFUSED}/{path}.{sha256(data).hexdigest()[:16]}", data)
        self.objects.delete(path)

    def _present(self, path: str, *, most_bytes: int) -> bytes | None:
        """Return the bytes of an object that is there; None where too many or damaged."""
        try:
            return self.objects.read(path, ObjectLimit(kind="an object of a run", most_bytes=most_bytes))
        except (DamagedObject, OversizedObject):
            return None


def run_path(run_id: str) -> str:
    """Return where the folder of a run lies in an output store."""
    return f"runs/{run_id.removeprefix('sha256:')}"


def run_names(output: Storage) -> set[str]:
    """Return the runs of a store by the hex digits of their identities."""
    return {path.split("/")[1] for path in without_links(output).list("runs") if path.count("/") > 1}


def open_run(output: Storage, run_id: str, *, owner: Owner | None = None, below: str = "") -> RunFolder:
    """Return the folder of a run; nothing is touched."""
    assert run_id.startswith("sha256:"), run_id
    return RunFolder(output=without_links(output), run_id=run_id, owner=owner, below=below)


def conflict_message(shown: str, theirs: bytes, ours: bytes) -> str:
    """Return the line that names an object and where two versions of it part."""
    part = next((i for i, (a, b) in enumerate(zip(theirs, ours, strict=False)) if a != b), None)
    at = f"from byte {part}" if part is not None else f"in length ({len(theirs)} and {len(ours)} bytes)"
    return (
        f"{shown}: exists with other bytes, they differ {at}; "
        "the run did not repeat itself: keep the folder and compare with `seedbed diff`"
    )
