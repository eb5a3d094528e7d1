"""List the images of a source, from its folders or from a CSV file, without reading them."""

from __future__ import annotations

import stat

from seedbed.dataset.class_folders import list_folders
from seedbed.dataset.csv_listing import list_csv
from seedbed.dataset.source_listing import SourceListing
from seedbed.storage import LocalStorage, Storage
from seedbed.storage.storage_errors import local_error
from seedbed_api.errors import UserError, refusal


def list_source(
    storage: Storage, *, csv: str | None, group_by: str | None, top_folders: str = "auto"
) -> SourceListing:
    """List a source; `UserError` where it is missing, empty or not a dataset."""
    _require_folder(storage)
    if csv is not None and top_folders != "auto":
        fix = "remove it: a CSV file names label and split of each image"
        raise UserError("InvalidOption", refusal("--top-folders", top_folders, "does not go with --csv", fix))
    if csv is None:
        listing = list_folders(storage, group_by=group_by, top_folders=top_folders)
    else:
        listing = list_csv(storage, csv=csv, group_by=group_by)
    if listing.files.num_rows == 0:
        fix = "point SOURCE at a folder with one subfolder of images per class, or add --csv FILE"
        raise UserError("NoImages", refusal("SOURCE", storage.url, "there are no images here", fix))
    return listing


def _require_folder(storage: Storage) -> None:
    """Refuse a local source that is missing or a file; object stores have no folders."""
    if not isinstance(storage, LocalStorage):
        return
    try:
        mode = storage.root.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        line = refusal("SOURCE", storage.url, "there is no such folder", "correct the path")
        raise UserError("NoImages", line) from None
    except OSError as error:
        raise local_error(error, shown=storage.url, writing=False) from error
    if not stat.S_ISDIR(mode):
        fix = "give a folder; an archive must be unpacked first, a CSV file goes to --csv"
        raise UserError("NoImages", refusal("SOURCE", storage.url, "is a file, not a folder", fix))
