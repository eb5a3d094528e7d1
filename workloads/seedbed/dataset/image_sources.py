"""List the images of a source: of its folders, of a CSV file, or of files with many rows."""

from __future__ import annotations

import stat
from dataclasses import replace

from seedbed.dataset.class_folders import list_folders
from seedbed.dataset.csv_listing import list_csv
from seedbed.dataset.source_listing import SourceListing
from seedbed.dataset.sources.column_options import FLAGS, ColumnOptions
from seedbed.dataset.sources.formats import ALL_SUFFIXES, SUFFIXES, SourceOptions, find_format, list_rows
from seedbed.dataset.sources.url_fetch import Fetched, fetch_images
from seedbed.dataset.targets import TargetColumns
from seedbed.storage import LocalStorage, Storage
from seedbed.storage.storage_errors import local_error
from seedbed_api.errors import UserError, refusal


def list_source(
    storage: Storage,
    *,
    csv: str | None,
    group_by: str | None,
    top_folders: str = "auto",
    options: SourceOptions | None = None,
    fetched: Fetched = lambda *_: None,
    targets: TargetColumns | None = None,
) -> SourceListing:
    """List a source; `UserError` where it is missing, empty or not a dataset."""
    options = replace(options or SourceOptions(), csv=csv)
    _require_one_format(options)
    if options.files is None:
        _require_folder(storage)
    found = find_format(storage, options)
    if found in SUFFIXES:
        _require_options_of_tables(found, top_folders)
        listing = list_rows(storage, found, options)
        fix = "give files that have rows"
        return _with_rows(fetch_images(listing, skip=options.skip_bad, fetched=fetched), storage, fix)
    _require_options_of_files(csv, options.columns)
    if csv is not None and top_folders != "auto":
        fix = "remove it: a CSV file names label and split of each image"
        raise UserError("InvalidOption", refusal("--top-folders", top_folders, "does not go with --csv", fix))
    if csv is None:
        listing = list_folders(storage, group_by=group_by, top_folders=top_folders)
    else:
        listing = list_csv(storage, csv=csv, group_by=group_by, columns=options.columns, targets=targets)
        listing = fetch_images(listing, skip=options.skip_bad, fetched=fetched)
    return _with_rows(listing, storage, _FIX)


def _require_one_format(options: SourceOptions) -> None:
    """Refuse a format beside --csv, and files beside those that would be read."""
    if options.csv is not None and options.format not in ("auto", "csv"):
        fix = "keep one of them"
        line = refusal("--source-format", options.format, f"does not go with the CSV file {options.csv}", fix)
        raise UserError("InvalidOption", line)
    if options.csv is None and options.format == "csv":
        line = refusal("--source-format", "csv", "needs the name of the CSV file", "add --csv FILE")
        raise UserError("InvalidOption", line)
    rowless = None if options.files is None else _without_rows(options)
    if rowless is not None:
        fix = "name a folder, one CSV file, or files of rows such as part-*.parquet"
        problem = "it is named, and nothing would read it"
        raise UserError("InvalidSource", refusal("SOURCE", rowless, problem, fix))


def _without_rows(options: SourceOptions) -> str | None:
    """Return a file that SOURCE names and that nothing would read."""
    files = options.files or ()
    if options.csv is not None:
        return next((path for path in files if path != options.csv), None)
    if options.format != "auto":
        return None
    return next((path for path in files if not path.lower().endswith(ALL_SUFFIXES)), None)


def _require_options_of_tables(found: str, top_folders: str) -> None:
    if top_folders != "auto":
        problem, fix = f"does not go with {found} files", "remove it: columns or file names say the splits"
        raise UserError("InvalidOption", refusal("--top-folders", top_folders, problem, fix))


def _require_options_of_files(csv: str | None, columns: ColumnOptions) -> None:
    """Refuse options of columns where there are none."""
    roles = ("key",) if csv is not None else ("image", "label", "split", "key")
    role = next((role for role in roles if getattr(columns, role) is not None), None)
    if role is not None:
        problem = (
            "rows of a CSV file are called by their paths" if csv is not None else "SOURCE has no columns"
        )
        raise UserError(
            "InvalidOption", refusal(FLAGS[role], getattr(columns, role), problem, "leave it away")
        )


_FIX = "point SOURCE at a folder with one subfolder of images per class, or add --csv FILE"


def _with_rows(listing: SourceListing, storage: Storage, fix: str) -> SourceListing:
    if listing.files.num_rows == 0:
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
