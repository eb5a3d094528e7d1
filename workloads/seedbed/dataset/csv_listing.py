"""List the images that a CSV file names, and refuse its bad lines by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from seedbed.dataset.disk_spill import DiskSpill
from seedbed.dataset.source_listing import (
    DRAWN_SPLIT,
    LISTING_SCHEMA,
    SPLIT_CODES,
    SourceListing,
    files_table,
    nfc,
)
from seedbed.dataset.sources.column_options import FLAGS, ColumnOptions, missing_column
from seedbed.dataset.sources.url_fetch import URL
from seedbed.dataset.targets import BadTargetError, TargetColumns
from seedbed.storage import Storage, UnreadableObject, open_storage
from seedbed.storage.object_limits import CSV_FILE
from seedbed_api.errors import UserError, refusal

_COLUMNS = "name columns image, label and optionally split, group"
_OTHER_FORMATS = {
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
    b"PK\x03\x04": "a spreadsheet or a ZIP file",
    b"\xd0\xcf\x11\xe0": "a spreadsheet",
    b"\x1f\x8b": "compressed (gzip)",
    b"PAR1": "a Parquet file",
}
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}


def list_csv(
    storage: Storage,
    *,
    csv: str,
    group_by: str | None,
    columns: ColumnOptions | None = None,
    targets: TargetColumns | None = None,
) -> SourceListing:
    """List the images that a CSV file names; `UserError` names the flag or the column.

    `targets`: the columns of another task than single-label.
    """
    group = None if group_by is None else nfc(group_by.strip())
    files, urls = DiskSpill(LISTING_SCHEMA), False
    for parsed in _parse(_read_file(storage, csv), csv):
        table = _with_roles(parsed, columns or ColumnOptions(), csv)
        _require_columns(table.column_names, csv=csv, group=group, targets=targets)
        by = "group" if group is None and "group" in table.column_names else group
        marks = ("label",) if targets is None else targets.columns
        used = dict.fromkeys(("image", *marks, "split", by))
        rows = _without_blank_rows(table.select([name for name in used if name in table.column_names]))
        urls = urls or bool(
            pc.any(pc.match_substring_regex(pc.utf8_trim_whitespace(rows["image"]), URL)).as_py()
        )
        listed = _listing_columns(rows, by, first=files.num_rows + 1, targets=targets)
        files.add(files_table(listed))
    if files.num_rows == 0:
        raise _invalid(csv, "it has a header and no rows", "write a line for each image")
    listing = SourceListing(files=files, ignored=0, urls=urls, targets=targets)
    if targets is not None and targets.marks_one_label(listing.values()):
        raise _one_flag(targets.columns[0])
    return listing


def _one_flag(column: str) -> UserError:
    """Return the error of one column of 0 and 1: its labels would be called 0 and 1."""
    problem = "holds 0 or 1 in each row, which marks one label"
    fix = f"name two columns and more, or leave --task away and write --label-column {column}"
    return UserError("InvalidOption", refusal("--target", column, problem, fix))


def _invalid(csv: str, problem: str, fix: str) -> UserError:
    return UserError("InvalidSource", refusal("--csv", csv, problem, fix))


def _parse(data: bytes, csv: str) -> Iterator[pa.Table]:
    """Yield the rows in blocks; an empty block where there are none."""
    other = next((name for magic, name in _OTHER_FORMATS.items() if data.startswith(magic)), None)
    if other is not None:
        raise _invalid(csv, f"it is {other}", "save it as CSV in UTF-8")
    try:
        header = pa.csv.open_csv(pa.BufferReader(data)).schema.names
        types = dict.fromkeys(header, pa.string())
        options = pa.csv.ConvertOptions(column_types=types, strings_can_be_null=False)
        reader = pa.csv.open_csv(pa.BufferReader(data), convert_options=options)
        names = [nfc(name.strip()) for name in header]
        yield reader.schema.empty_table().rename_columns(names)
        for batch in reader:
            yield pa.Table.from_batches([batch]).rename_columns(names)
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        problem = f"it is no CSV file: {str(error).splitlines()[0]}"
        raise _invalid(csv, problem, "write UTF-8 with a header line and a value for each column") from None


def _read_file(storage: Storage, csv: str) -> bytes:
    """Return the bytes of a file below SOURCE, or else at any path or URL."""
    parts = csv.split("/")
    try:
        if parts[0] and ".." not in parts and "://" not in csv and storage.exists(csv):
            return storage.read(csv, CSV_FILE)
        folder = csv.rpartition("/")[0]
        return open_storage(folder or ("/" if csv.startswith("/") else ".")).read(parts[-1], CSV_FILE)
    except FileNotFoundError:
        fix = "give its path below SOURCE, or another path or URL of it"
        raise _invalid(csv, "there is no such file", fix) from None
    except UnreadableObject as error:
        raise UserError(error.reason, refusal("--csv", csv, "it cannot be read", error.problem)) from None
    except UserError as error:
        raise UserError(error.reason, f"--csv: {error.message}") from None


def _require_columns(names: list[str], *, csv: str, group: str | None, targets: TargetColumns | None) -> None:
    marks = ("label",) if targets is None else targets.columns
    wanted = ["image", *marks, *([group] if group else [])]
    for name in wanted:
        if name not in names:
            field, value = ("--group-by", group) if name == group else ("--csv", csv)
            if targets is not None and name in marks:
                field, value = "--target", name
            problem = f"column {name!r} is missing; there are {sorted(names)}"
            raise UserError("InvalidSource", refusal(field, value, problem, _fix_of_missing(name, names)))
    for name in (*wanted, "split", "group"):
        if names.count(name) > 1:
            fix = "keep one of them, or rename the others"
            raise _invalid(csv, f"column {name!r} occurs {names.count(name)} times", fix)


def _with_roles(table: pa.Table, columns: ColumnOptions, csv: str) -> pa.Table:
    """Return the table with the columns that the user names called image, label and split."""
    for role in ("image", "label", "split"):
        column = getattr(columns, role)
        if column is None or column == role:
            continue
        if column not in table.column_names:
            raise missing_column(role, column, there=table.column_names, where=csv)
        if table.column_names.count(column) > 1:
            problem = f"{csv} has {table.column_names.count(column)} columns of this name"
            raise UserError("InvalidSource", refusal(FLAGS[role], column, problem, "rename all but one"))
        kept = [number for number, name in enumerate(table.column_names) if name != role]
        names = [table.column_names[number] for number in kept]
        table = table.select(kept).rename_columns([role if name == column else name for name in names])
    return table


def _fix_of_missing(name: str, names: list[str]) -> str:
    alike = next((other for other in names if other.casefold() == name.casefold()), None)
    if alike is not None:
        return f"write {name!r} instead of {alike!r}"
    separator = next((mark for mark in _SEPARATORS if len(names) == 1 and mark in names[0]), None)
    if separator is not None:
        return f"separate values by commas instead of {_SEPARATORS[separator]}"
    return _COLUMNS


def _without_blank_rows(table: pa.Table) -> pa.Table:
    """Drop lines of separators only, as spreadsheets write below the last row."""
    blank = _all_true(pc.equal(pc.utf8_trim_whitespace(column), "") for column in table.columns)
    return table.filter(pc.invert(blank))


def _all_true(masks: Iterable[pa.ChunkedArray]) -> pa.ChunkedArray:
    first, *others = masks
    for mask in others:
        first = pc.and_(first, mask)
    return first


def _target_texts(table: pa.Table, targets: TargetColumns, *, first: int) -> tuple[pa.Array, pa.Array]:
    """Return target texts, null where a row has none, and then why, with the number of the row."""
    texts: list[str | None] = []
    problems: list[str | None] = []
    cells = zip(*(table[name].to_pylist() for name in targets.columns), strict=True)
    for row, values in enumerate(cells, start=first):
        try:
            text, problem = targets.text(values), None
        except BadTargetError as error:
            text, problem = None, f"{error.kind}: row {row}: {error.detail}"
        texts.append(text)
        problems.append(problem)
    return pa.array(texts, pa.string()), pa.array(problems, pa.string())


def _listing_columns(
    table: pa.Table, group: str | None, *, first: int, targets: TargetColumns | None
) -> list[pa.ChunkedArray | pa.Array]:
    nothing = pa.nulls(table.num_rows, pa.string())
    path = _paths(table["image"], first)
    if targets is None:
        label, bad_target = _normalized(table["label"]), nothing
    else:
        label, bad_target = _target_texts(table, targets, first=first)
    split = _normalized(table["split"]) if "split" in table.column_names else nothing
    groups = nothing if group is None else _normalized(table[group])
    code = pc.index_in(pc.utf8_lower(split), pa.array(list(SPLIT_CODES)))
    codes = pc.take(pa.array(list(SPLIT_CODES.values()), pa.int8()), code)
    trimmed = pc.utf8_trim_whitespace(table["image"])
    problems = [
        (pc.equal(trimmed, ""), "outside-source: the row names no image"),
        (_leads_out(trimmed), "outside-source"),
        (pc.match_substring(path, "\0"), "outside-source: the path holds a NUL character"),
        (pc.is_valid(bad_target), bad_target),
        (pc.is_null(label), "no-label"),
        (pc.and_(pc.is_valid(split), pc.is_null(code)), "unknown-split"),
        (pc.is_null(groups) if group is not None else pc.is_valid(nothing), "no-group"),
    ]
    reason = pc.case_when(pc.make_struct(*(mask for mask, _ in problems)), *(name for _, name in problems))
    return [
        path.cast(pa.large_string()).cast(pa.large_binary()),
        label,
        pc.fill_null(codes, DRAWN_SPLIT),
        groups,
        reason,
    ]


def _leads_out(path: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return which paths are none below SOURCE, and no URLs to fetch either."""
    outside = pc.match_substring_regex(path, r"^/|^[a-zA-Z0-9+.-]+://|(^|/)\.\.(/|$)")
    return pc.and_(outside, pc.invert(pc.match_substring_regex(path, URL)))


def _paths(column: pa.ChunkedArray, first: int) -> pa.ChunkedArray:
    """Return the paths; a row without a path is named by its number."""
    numbers = pa.array(range(first, first + len(column)), pa.int64()).cast(pa.string())
    rows = pc.binary_join_element_wise("row ", numbers, "")
    trimmed = pc.utf8_trim_whitespace(column)
    column = pc.if_else(pc.match_substring_regex(trimmed, URL), trimmed, column)
    return pc.if_else(pc.equal(trimmed, ""), rows, column)


def _normalized(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column in NFC without surrounding blanks; blank values become null."""
    stripped = pc.utf8_trim_whitespace(pc.utf8_normalize(column, "NFC"))
    return pc.if_else(pc.equal(stripped, ""), pa.scalar(None, pa.string()), stripped)
