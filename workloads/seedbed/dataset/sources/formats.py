"""Which format a source has, and the listing of its rows."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from seedbed.dataset.source_listing import SourceListing
from seedbed.dataset.sources.arrow_tables import SUFFIXES as ARROW
from seedbed.dataset.sources.arrow_tables import open_arrow
from seedbed.dataset.sources.column_options import ColumnOptions
from seedbed.dataset.sources.file_splits import require_all_parts, splits_of_files
from seedbed.dataset.sources.hugging_face import described_features
from seedbed.dataset.sources.mds_shards import SUFFIXES as MDS
from seedbed.dataset.sources.mds_shards import open_mds, require_all_shards
from seedbed.dataset.sources.numpy_arrays import SUFFIXES as NUMPY
from seedbed.dataset.sources.numpy_listing import list_numpy
from seedbed.dataset.sources.parquet_tables import SUFFIXES as PARQUET
from seedbed.dataset.sources.parquet_tables import open_parquet
from seedbed.dataset.sources.source_files import holds_no_rows, paths_of
from seedbed.dataset.sources.table_file import TableFile
from seedbed.dataset.sources.table_listing import OpenTable, list_tables
from seedbed.dataset.sources.tar_samples import SUFFIXES as TAR
from seedbed.dataset.sources.webdataset_listing import list_webdataset
from seedbed.images.image_conversion import has_image_suffix
from seedbed.storage import Storage
from seedbed_api.errors import UserError, refusal

SUFFIXES = {"parquet": PARQUET, "arrow": ARROW, "webdataset": TAR, "mds": MDS, "numpy": NUMPY}
FORMATS = ("auto", "folders", "csv", *SUFFIXES)
ALL_SUFFIXES = tuple(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceOptions:
    """What the user says about a source."""

    format: str = "auto"
    csv: str | None = None
    group_by: str | None = None
    top_folders: str = "auto"
    columns: ColumnOptions = field(default_factory=ColumnOptions)
    classes: tuple[str, ...] | None = None
    files: tuple[str, ...] | None = None
    """The files of the folder that SOURCE names; None: all."""
    skip_bad: bool = False
    """Bad rows are left out: also those whose server does not answer."""


def find_format(storage: Storage, options: SourceOptions) -> str:
    """Return the format of a source: as the user says, or as its files are called.

    Images decide: a folder that has one is a folder of images. `UserError` where it has files of several
    formats and no image.
    """
    if options.csv is not None:
        return "csv"
    if options.format != "auto":
        return options.format
    paths = paths_of(storage) if options.files is None else iter(options.files)
    found: dict[str, str] = {}
    for path in paths:
        if holds_no_rows(path):
            continue
        if has_image_suffix(path):
            return "folders"
        name = _format_of(path)
        if name is not None:
            found.setdefault(name, path)
    if len(found) > 1:
        problem = f"it holds files of several formats: {', '.join(sorted(found.values()))}"
        fix = f"name one of them with --source-format {'|'.join(sorted(found))}"
        raise UserError("InvalidSource", refusal("SOURCE", storage.url, problem, fix))
    return next(iter(found), "folders")


def _format_of(path: str) -> str | None:
    return next((name for name, suffixes in SUFFIXES.items() if path.lower().endswith(suffixes)), None)


def list_rows(storage: Storage, name: str, options: SourceOptions) -> SourceListing:
    """List the rows of a source of files with many rows; `UserError` for what is wrong with it."""
    paths, ignored = _files(storage, name, options)
    columns, classes = options.columns, options.classes
    if name == "numpy":
        return list_numpy(storage, paths, columns=columns, classes=classes, ignored=ignored)
    if options.files is None:
        require_all_parts(paths)
    splits = splits_of_files(paths)
    if name == "webdataset":
        return list_webdataset(
            storage, paths, columns=columns, classes=classes, splits=splits, ignored=ignored
        )
    return list_tables(
        paths,
        _opener(storage, name, options),
        columns=columns,
        classes=classes,
        splits=splits,
        ignored=ignored,
    )


def _opener(storage: Storage, name: str, options: SourceOptions) -> OpenTable:
    """Return how a table is opened; what files beside it say counts where its own schema says nothing."""
    opened = {"parquet": open_parquet, "arrow": open_arrow, "mds": open_mds}[name]
    names, images = described_features(storage) if options.files is None else ({}, ())

    def described(path: str) -> TableFile:
        file = opened(storage, path)
        if file.class_names:
            return file
        return replace(file, class_names=names, image_columns=file.image_columns or images)

    return described


def _files(storage: Storage, name: str, options: SourceOptions) -> tuple[list[str], int]:
    """Return the files with rows, sorted, and how many others there are."""
    if options.files is not None:
        return sorted(options.files), 0
    paths, others = [], 0
    every = list(paths_of(storage))
    if name == "mds":
        require_all_shards(storage, every)
    for path in every:
        cache = (
            path.rpartition("/")[2].startswith("cache-") and name == "arrow"
        )  # of `datasets`, beside its rows
        if cache or holds_no_rows(path) or not path.lower().endswith(SUFFIXES[name]):
            others += 1
        else:
            paths.append(path)
    if not paths:
        fix = f"give a folder with files of {' or '.join(SUFFIXES[name])}"
        raise UserError("NoImages", refusal("SOURCE", storage.url, f"there are no {name} files here", fix))
    return sorted(paths), others
