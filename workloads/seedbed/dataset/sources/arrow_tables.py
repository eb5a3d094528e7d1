"""Arrow files as tables: IPC files (Feather), and IPC streams, as `datasets` writes them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.ipc

from seedbed.dataset.sources.hugging_face import features_of_schema
from seedbed.dataset.sources.storage_file import open_file
from seedbed.dataset.sources.table_file import DamagedTable, TableFile, damage_of, folder_columns
from seedbed.storage import Storage

SUFFIXES = (".arrow", ".feather", ".ipc")
_FILE_MAGIC = b"ARROW1"
_FEATHER_1 = b"FEA1"
_KIND = "Arrow"


def open_arrow(storage: Storage, path: str) -> TableFile:
    """Open a file or stream; reads its schema. Raises DamagedTable."""
    try:
        schema = _reader(open_file(storage, path)).schema
        _ = schema.names
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise damage_of(error, _KIND) from None
    names, images = features_of_schema(schema)
    return TableFile(
        path=path,
        schema=schema,
        read=lambda columns: _tables(storage, path, columns),
        class_names=names,
        image_columns=images,
        folder_columns=folder_columns(path),
    )


class _ReadsToTheEnd:
    """A file that tells whether its last read met its end: a whole stream ends with a mark instead."""

    closed = False

    def __init__(self, file: io.BufferedReader) -> None:
        self._file = file
        self.seek, self.tell, self.peek = file.seek, file.tell, file.peek
        self.met_end = False

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.met_end = size > 0 and not data
        return data


def _reader(
    file: Any, wanted: list[int] | None = None
) -> pa.ipc.RecordBatchFileReader | pa.ipc.RecordBatchStreamReader:
    head = file.peek(len(_FILE_MAGIC))
    if head.startswith(_FEATHER_1):
        raise DamagedTable("it is Feather of version 1; write version 2")
    options = pa.ipc.IpcReadOptions(included_fields=wanted or [], use_threads=False)
    opened = pa.ipc.open_file if head.startswith(_FILE_MAGIC) else pa.ipc.open_stream
    return opened(pa.PythonFile(file, mode="r"), options=options)


def _tables(storage: Storage, path: str, columns: list[str]) -> Iterator[pa.Table]:
    """Yield one record batch after the other; each is as large as it was written."""
    try:
        names = _reader(open_file(storage, path)).schema.names
        file = _ReadsToTheEnd(open_file(storage, path))
        reader = _reader(file, sorted(names.index(column) for column in columns))
        if isinstance(reader, pa.ipc.RecordBatchFileReader):
            batches = (reader.get_batch(number) for number in range(reader.num_record_batches))
        else:
            batches = iter(reader)
        for batch in batches:
            batch.validate()  # an offset of a damaged file would lead out of its buffer
            yield pa.Table.from_batches([batch])
        if isinstance(reader, pa.ipc.RecordBatchStreamReader) and file.met_end:
            raise DamagedTable("it was cut: a stream ends with a mark, and there is none")
    except (pa.ArrowException, OSError) as error:
        raise damage_of(error, _KIND) from None
