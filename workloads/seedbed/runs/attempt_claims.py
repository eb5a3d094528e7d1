"""Claims of attempts: the process that creates `attempts/<n>.json` is attempt n; n is the fencing token."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from typing import Any

from seedbed.runs.process_identity import ProcessIdentity, this_process
from seedbed.runs.run_folder import RunFolder
from seedbed.storage.object_limits import ATTEMPT_CLAIM
from seedbed_api.errors import InfrastructureError
from seedbed_api.strict_json import parse_json


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptClaim:
    """The claim of an attempt to train a run."""

    number: int
    """1 for the first."""
    process: ProcessIdentity
    workers: int
    version: str
    token: str
    """Random: identifies our claim if the answer of the store is lost."""

    def to_bytes(self) -> bytes:
        """Return the claim as stored."""
        document = {
            "attempt": self.number,
            "process": self.process.document(),
            "workers": self.workers,
            "version": self.version,
            "token": self.token,
        }
        return json.dumps(document, sort_keys=True).encode()


def parse_claim(data: bytes) -> AttemptClaim:
    """Parse a stored claim; ValueError, KeyError or TypeError if it is damaged."""
    document: dict[str, Any] = parse_json(data)
    return AttemptClaim(
        number=document["attempt"],
        process=ProcessIdentity.from_document(document["process"]),
        workers=document["workers"],
        version=document["version"],
        token=document["token"],
    )


def highest_attempt(folder: RunFolder) -> int:
    """Return the highest claimed attempt, 0 if there is none."""
    names = (path.removeprefix("attempts/") for path in folder.objects.list("attempts"))
    stems = (name.removesuffix(".json") for name in names if name.endswith(".json"))
    return max((int(stem) for stem in stems if stem.isdigit()), default=0)


def require_newest_attempt(folder: RunFolder, number: int) -> None:
    """Raise InfrastructureError Superseded if a later attempt than `number` has claimed the run.

    Call it before each write that another attempt could contradict, such as a checkpoint.
    """
    newest = highest_attempt(folder)
    if newest > number:
        message = f"{folder.url}: attempt {number} was taken over by attempt {newest}"
        raise InfrastructureError("Superseded", message)


def read_claim(folder: RunFolder, number: int) -> AttemptClaim:
    """Return a claim; RunFolderDamaged if it cannot be parsed."""
    path = _path(number)
    try:
        return parse_claim(folder.objects.read(path, ATTEMPT_CLAIM))
    except (ValueError, KeyError, TypeError) as error:
        raise InfrastructureError("RunFolderDamaged", f"{folder.url}/{path}: {error}") from error


def claim_attempt(folder: RunFolder, number: int, *, workers: int, version: str) -> AttemptClaim | None:
    """Claim an attempt for this process; None if another was faster."""
    ours = AttemptClaim(
        number=number, process=this_process(), workers=workers, version=version, token=secrets.token_hex(8)
    )
    data = ours.to_bytes()
    if folder.objects.create(_path(number), data):
        return ours
    return ours if folder.objects.read(_path(number), ATTEMPT_CLAIM) == data else None


def _path(number: int) -> str:
    return f"attempts/{number}.json"
