"""Locate a receipt and its run folder by file, folder or URL, also in a copy of the folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from seedbed.receipts import Receipt, read_receipt
from seedbed.runs import RECEIPT, RECIPE, RunFolder
from seedbed.storage import (
    DamagedObject,
    ObjectLimit,
    OversizedObject,
    Storage,
    open_output,
    open_storage,
    without_links,
)
from seedbed.storage.object_limits import DOCUMENT
from seedbed_api.errors import UserError, refusal


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadOnlyRunFolder(RunFolder):
    """A run folder at any location, which is only read; a copy need not be named by its identity."""

    place: Storage

    @property
    def objects(self) -> Storage:
        """Return the storage of the folder itself."""
        return self.place


@dataclass(frozen=True, kw_only=True, slots=True)
class LocatedReceipt:
    """A verified receipt, and its run folder if there is one."""

    receipt: Receipt
    shown: str
    """URL of the receipt without credentials."""
    folder: RunFolder | None
    place: Storage | None = None
    """Where the receipt lies, with its signatures beside it."""


def locate_receipt(reference: str, *, run: str | None = None, secret: Path | None = None) -> LocatedReceipt:
    """Return the receipt at a file, folder or URL, and its run folder: `run`, else the folder around it."""
    storage, name = split_reference(reference, secret=secret)
    receipt = read_receipt(storage, name=name)
    run_id = receipt.decided.run_id
    around = storage if run is None else _run_storage(run, run_id, secret=secret)
    folder = read_only_run_folder(around, run_id) if is_run_folder(around) else None
    return LocatedReceipt(receipt=receipt, shown=f"{storage.url}/{name}", folder=folder, place=storage)


def locate_run(output: str, run_id: str, *, secret: Path | None, below: str = "") -> LocatedReceipt:
    """Return the receipt and the run folder of a run below the URL of an output store, or a folder of it."""
    store = open_storage(output, secret=secret)
    store = store.child(below) if below else store
    folder = read_only_run_folder(store.child(f"runs/{run_id.removeprefix('sha256:')}"), run_id)
    receipt = read_receipt(folder.objects)
    shown = f"{folder.url}/{RECEIPT}"
    return LocatedReceipt(receipt=receipt, shown=shown, folder=folder, place=folder.objects)


def split_reference(reference: str, *, secret: Path | None) -> tuple[Storage, str]:
    """Return storage and name of the receipt that a path or URL names, directly or by its folder."""
    if _names_a_folder(reference):
        return open_storage(reference, secret=secret), RECEIPT
    base, mark, query = reference.partition("?") if "://" in reference else (reference, "", "")
    parent, _, name = base.rpartition("/")
    return open_storage(
        (parent or ("/" if base.startswith("/") else ".")) + mark + query, secret=secret
    ), name


def read_only_run_folder(place: Storage, run_id: str) -> ReadOnlyRunFolder:
    """Return the run folder in a storage."""
    place = without_links(place)
    return ReadOnlyRunFolder(output=place, run_id=run_id, place=place)


def is_run_folder(place: Storage) -> bool:
    """Return whether a storage is a run folder: the recipe is the first object of a run."""
    return place.exists(RECIPE) or bool(place.list("ledger"))


def read_object(folder: RunFolder, path: str, limit: ObjectLimit = DOCUMENT) -> bytes | None:
    """Return the bytes of an object, None if it is missing.

    Raises RunFolderDamaged for a wrong checksum and for one that is too large.
    """
    try:
        return folder.objects.read(path, limit)
    except FileNotFoundError:
        return None
    except DamagedObject as error:
        raise damaged(folder, path, "the store's own checksum does not match") from error
    except OversizedObject as error:
        raise damaged(folder, path, error.problem) from error


def damaged(folder: RunFolder, path: str, problem: str) -> UserError:
    """Return the error of an object that differs from what the run wrote."""
    line = f"{folder.url}/{path}: {problem}; restore it from a copy, or delete it to verify what is left"
    return UserError("RunFolderDamaged", line)


def _names_a_folder(reference: str) -> bool:
    if "://" not in reference or reference.startswith("file://"):
        return not Path(reference.removeprefix("file://")).expanduser().is_file() and not reference.endswith(
            ".json"
        )
    return not reference.partition("?")[0].endswith(".json")


def _run_storage(run: str, run_id: str, *, secret: Path | None) -> Storage:
    """Return the storage of the run: the given folder, or the run folder below the given output URL."""
    given = open_output(run, secret=secret)
    below = given.child(f"runs/{run_id.removeprefix('sha256:')}")
    for place in (given, below):
        if is_run_folder(place):
            return place
    problem = f"holds no run folder of {run_id}"
    raise UserError(
        "InvalidSpec", refusal("--run", given.url, problem, "name the run folder or spec.output.uri")
    )
