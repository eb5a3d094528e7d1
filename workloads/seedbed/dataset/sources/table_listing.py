"""List the rows of tables, of whatever format: Parquet, Arrow, data sets of Hugging Face."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from seedbed.dataset.source_listing import DRAWN_SPLIT, SourceListing
from seedbed.dataset.sources.column_options import FLAGS, ColumnOptions
from seedbed.dataset.sources.key_check import KeyCheck
from seedbed.dataset.sources.label_names import BadLabel, LabelNames
from seedbed.dataset.sources.row_collector import RowCollector, SourceRow
from seedbed.dataset.sources.table_file import DamagedTable, TableFile
from seedbed.dataset.sources.table_roles import Roles, check_roles, find_roles
from seedbed.dataset.sources.table_values import python_rows
from seedbed_api.errors import UserError, refusal

OpenTable = Callable[[str], TableFile]


def list_tables(
    paths: Sequence[str],
    open_table: OpenTable,
    *,
    columns: ColumnOptions,
    classes: tuple[str, ...] | None,
    splits: Sequence[int],
    ignored: int = 0,
) -> SourceListing:
    """List all rows of the tables at `paths`, whose splits have these codes; `UserError` for bad ones."""
    first = _open(open_table, paths[0])
    roles = find_roles(first, columns)
    tables = _Tables(first, roles, classes)
    for path, split in zip(paths, splits, strict=True):
        tables.add(first if path == paths[0] else _open(open_table, path), split)
    return tables.finish(ignored)


def _open(open_table: OpenTable, path: str) -> TableFile:
    try:
        return open_table(path)
    except DamagedTable as error:
        raise _damaged(path, error) from None
    except FileNotFoundError:
        raise UserError(
            "InvalidSource", refusal("SOURCE", path, "there is no such file", "correct the path")
        ) from None


def _damaged(path: str, error: DamagedTable) -> UserError:
    fix = "copy or write it again, or move it away"
    return UserError("InvalidSource", refusal("SOURCE", path, str(error), fix))


class _Tables:
    def __init__(self, first: TableFile, roles: Roles, classes: tuple[str, ...] | None) -> None:
        self._first, self._roles = first, roles
        self._kinds = check_roles(first, roles)
        labels = LabelNames(first.class_names.get(roles.label), chosen=classes)
        self._collector = RowCollector(labels, grouped=roles.group is not None)
        self._keys = None if roles.key is None else KeyCheck(FLAGS["key"])

    def add(self, file: TableFile, split: int) -> None:
        """Add the rows of a file, whose name says `split`."""
        self._require_same_schema(file)
        number = 0
        try:
            for rows in self._rows(file):
                for row in rows:
                    self._add_row(file, number, row, split)
                    number += 1
        except DamagedTable as error:
            raise _damaged(file.path, error) from None

    def finish(self, ignored: int) -> SourceListing:
        if self._keys is not None:
            self._keys.require_unique()
        return self._collector.finish(ignored=ignored)

    def _require_same_schema(self, file: TableFile) -> None:
        kinds = check_roles(file, self._roles)
        for role, column in self._roles.items():
            if kinds[role] != self._kinds[role]:
                problem = f"column {column!r} holds {kinds[role]} here"
                problem += f", and {self._kinds[role]} in {self._first.path!r}"
                raise _other_schema(file, problem)
        label = self._roles.label
        if file.class_names.get(label) != self._first.class_names.get(label):
            raise _other_schema(file, f"column {label!r} has other class names than in {self._first.path!r}")

    def _rows(self, file: TableFile) -> Iterator[list[dict[str, Any]]]:
        wanted = [column for _, column in self._roles.items() if column in file.schema.names]
        fixed = {name: value for name, value in file.folder_columns.items() if name not in file.schema.names}
        for table in file.read(list(dict.fromkeys(wanted))):
            rows = python_rows(table)
            yield [row | fixed for row in rows] if fixed else rows

    def _add_row(self, file: TableFile, number: int, row: dict[str, Any], split: int) -> None:
        roles = self._roles
        place = f"{file.path}, row {number}"
        key = row[roles.key] if roles.key is not None else None
        if key is not None and self._keys is not None:
            self._keys.add(str(key), place)
            place = f"{file.path}, key {key}"
        image, path = _image_of(row[roles.image])
        found = SourceRow(
            place=place,
            label=row[roles.label],
            split=row[roles.split] if roles.split is not None else None,
            file_split=split if roles.split is None else DRAWN_SPLIT,
            group=row[roles.group] if roles.group is not None else None,
            image=image,
            path=path,
        )
        try:
            self._collector.add(found)
        except BadLabel as error:
            fix = f"name a column of classes with {FLAGS['label']}; there are {sorted(file.columns)}"
            line = refusal(FLAGS["label"], roles.label, f"the value of {place} {error}", fix)
            raise UserError("InvalidSource", line) from None


def _other_schema(file: TableFile, problem: str) -> UserError:
    fix = "keep files of one schema in one folder, or name those to take by SOURCE/PATTERN"
    return UserError("InvalidSource", refusal("SOURCE", file.path, problem, fix))


def _image_of(value: object) -> tuple[bytes | None, str | None]:
    """Return the bytes of an image, or else its path."""
    if isinstance(value, dict):
        found = value["bytes"]
        return (found, None) if found is not None else (None, value.get("path"))
    if isinstance(value, str):
        return None, value
    assert value is None or isinstance(value, bytes)
    return value, None
