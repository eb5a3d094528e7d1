"""Parquet files as tables: read row group by row group, a bounded number of bytes at a time."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from seedbed.dataset.sources.hugging_face import features_of_schema
from seedbed.dataset.sources.storage_file import open_file
from seedbed.dataset.sources.table_file import DamagedTable, TableFile, damage_of, folder_columns
from seedbed.storage import Storage

SUFFIXES = (".parquet", ".parq", ".pq")
_BATCH_BYTES = 8 << 20
_MOST_ROWS = 4096
_MOST_RATIO, _SMALL = 200, 256 << 20


def open_parquet(storage: Storage, path: str) -> TableFile:
    """Open a file; reads its footer. Raises DamagedTable."""
    file = open_file(storage, path)
    try:
        parquet = pq.ParquetFile(file, buffer_size=1 << 20, pre_buffer=False)
        schema = parquet.schema_arrow
        _ = schema.names
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise damage_of(error, "Parquet") from None
    names, images = features_of_schema(schema)
    return TableFile(
        path=path,
        schema=schema,
        read=lambda columns: _tables(parquet, columns),
        class_names=names,
        image_columns=images,
        folder_columns=folder_columns(path),
    )


def _tables(parquet: pq.ParquetFile, columns: list[str]) -> Iterator[pa.Table]:
    try:
        for number in range(parquet.num_row_groups):
            rows = _rows_at_a_time(parquet.metadata.row_group(number), columns)
            for batch in parquet.iter_batches(rows, row_groups=[number], columns=columns, use_threads=False):
                yield pa.Table.from_batches([batch])
    except (pa.ArrowException, OSError) as error:
        raise damage_of(error, "Parquet") from None


def _rows_at_a_time(group: pq.RowGroupMetaData, columns: list[str]) -> int:
    """Return how many rows make a batch, by what the group says of its columns. Raises DamagedTable."""
    size, rows = 0, int(group.num_rows)
    for number in range(group.num_columns):
        column = group.column(number)
        if column.path_in_schema.split(".")[0] in columns:
            size += int(column.total_uncompressed_size)
            if column.total_uncompressed_size > max(_SMALL, _MOST_RATIO * column.total_compressed_size):
                raise DamagedTable(
                    f"column {column.path_in_schema!r} grows from {column.total_compressed_size:,} to "
                    f"{column.total_uncompressed_size:,} bytes: no images do"
                )
    return max(1, min(_MOST_ROWS, _BATCH_BYTES * rows // max(1, size)))
