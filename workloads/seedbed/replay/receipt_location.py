"""Find a receipt and its run folder: a file, a folder or any URL, also a copied folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from seedbed.receipts import Receipt, read_receipt
from seedbed.runs import RECEIPT, RECIPE, RunFolder
from seedbed.storage import DamagedObject, Storage, open_storage
from seedbed_api.errors import UserError, refusal


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadOnlyRunFolder(RunFolder):
    """A run folder wherever it lies; a copy need not be named by its identity. Only read."""

    place: Storage

    @property
    def objects(self) -> Storage:
        """Return the storage of the folder itself."""
        return self.place


@dataclass(frozen=True, kw_only=True, slots=True)
class LocatedReceipt:
    """A verified receipt, and the run folder where there is one."""

    receipt: Receipt
    shown: str
    """Where the receipt lies, safe to print."""
    folder: RunFolder | None


def locate_receipt(reference: str, *, run: str | None = None, secret: Path | None = None) -> LocatedReceipt:
    """Return the receipt at a file, folder or URL, and its run folder: `run`, else the folder around it."""
    storage, name = split_reference(reference, secret=secret)
    receipt = read_receipt(storage, name=name)
    run_id = receipt.decided.run_id
    around = storage if run is None else _run_storage(run, run_id, secret=secret)
    folder = read_only_run_folder(around, run_id) if is_run_folder(around) else None
    return LocatedReceipt(receipt=receipt, shown=f"{storage.url}/{name}", folder=folder)


def split_reference(reference: str, *, secret: Path | None) -> tuple[Storage, str]:
    """Return the storage and the name of the receipt that a path or URL names, itself or in its folder."""
    if _names_a_folder(reference):
        return open_storage(reference, secret=secret), RECEIPT
    base, mark, query = reference.partition("?") if "://" in reference else (reference, "", "")
    parent, _, name = base.rpartition("/")
    return open_storage(
        (parent or ("/" if base.startswith("/") else ".")) + mark + query, secret=secret
    ), name


def read_only_run_folder(place: Storage, run_id: str) -> ReadOnlyRunFolder:
    """Return the run folder at a place."""
    return ReadOnlyRunFolder(output=place, run_id=run_id, place=place)


def is_run_folder(place: Storage) -> bool:
    """Say whether a run was written here: its recipe comes first."""
    return place.exists(RECIPE) or bool(place.list("ledger"))


def read_object(folder: RunFolder, path: str) -> bytes | None:
    """Return an object's bytes, None where it is missing; RunFolderDamaged where the store says so."""
    try:
        return folder.objects.read(path)
    except FileNotFoundError:
        return None
    except DamagedObject as error:
        raise damaged(folder, path, "the store's own checksum does not match") from error


def damaged(folder: RunFolder, path: str, problem: str) -> UserError:
    """Return the error of an object that cannot be what the run wrote."""
    line = f"{folder.url}/{path}: {problem}; restore it from a copy, or delete it to verify what is left"
    return UserError("RunFolderDamaged", line)


def _names_a_folder(reference: str) -> bool:
    if "://" not in reference or reference.startswith("file://"):
        return not Path(reference.removeprefix("file://")).expanduser().is_file() and not reference.endswith(
            ".json"
        )
    return not reference.partition("?")[0].endswith(".json")


def _run_storage(run: str, run_id: str, *, secret: Path | None) -> Storage:
    """Return the storage of the run: the folder itself, or the one of that name below an output URL."""
    given = open_storage(run, secret=secret)
    below = given.child(f"runs/{run_id.removeprefix('sha256:')}")
    for place in (given, below):
        if is_run_folder(place):
            return place
    problem = f"holds no run folder of {run_id}"
    raise UserError(
        "InvalidSpec", refusal("--run", given.url, problem, "name the run folder or spec.output.uri")
    )
