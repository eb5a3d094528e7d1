"""The values of a table as objects of Python, also where a text of it is no UTF-8."""

from __future__ import annotations

from typing import Any

import pyarrow as pa


def python_rows(table: pa.Table) -> list[dict[str, Any]]:
    """Return the rows of a table; bytes of a text that are no UTF-8 become lone surrogates.

    No format checks its texts, so a file of strangers may hold any bytes. Only rows with such a text are bad,
    and a path may have them.
    """
    try:
        rows: list[dict[str, Any]] = table.to_pylist()
    except UnicodeDecodeError:
        columns = [_values(column) for column in table.columns]
        rows = [dict(zip(table.column_names, values, strict=True)) for values in zip(*columns, strict=True)]
    return rows


def _values(column: pa.ChunkedArray) -> list[Any]:
    return [value for chunk in column.chunks for value in _chunk_values(chunk)]


def _chunk_values(array: pa.Array) -> list[Any]:
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if pa.types.is_dictionary(array.type):
        words = _chunk_values(array.dictionary)
        return [None if index is None else words[index] for index in array.indices.to_pylist()]
    if pa.types.is_struct(array.type):
        names = [field.name for field in array.type]
        fields = zip(*(_chunk_values(part) for part in array.flatten()), strict=True)
        return [dict(zip(names, values, strict=True)) for values in fields]
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        kind = pa.binary() if pa.types.is_string(array.type) else pa.large_binary()
        return [_text(value) for value in array.view(kind).to_pylist()]
    if array.type == pa.string_view():
        return [_text(value) for value in array.view(pa.binary_view()).to_pylist()]
    values: list[Any] = array.to_pylist()
    return values


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "surrogateescape")
