"""Arrow files as tables: IPC files (Feather), and IPC streams, as `datasets` writes them."""

from __future__ import annotations

from collections.abc import Iterator

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
        schema = _reader(storage, path).schema
    except (pa.ArrowException, OSError) as error:
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


def _reader(
    storage: Storage, path: str, wanted: list[int] | None = None
) -> pa.ipc.RecordBatchFileReader | pa.ipc.RecordBatchStreamReader:
    file = open_file(storage, path)
    head = file.peek(len(_FILE_MAGIC))
    if head.startswith(_FEATHER_1):
        raise DamagedTable("it is Feather of version 1; write version 2")
    options = pa.ipc.IpcReadOptions(included_fields=wanted or [], use_threads=False)
    opened = pa.ipc.open_file if head.startswith(_FILE_MAGIC) else pa.ipc.open_stream
    return opened(pa.PythonFile(file, mode="r"), options=options)


def _tables(storage: Storage, path: str, columns: list[str]) -> Iterator[pa.Table]:
    """Yield one record batch after the other; each is as large as it was written."""
    try:
        names = _reader(storage, path).schema.names
        reader = _reader(storage, path, sorted(names.index(column) for column in columns))
        if isinstance(reader, pa.ipc.RecordBatchFileReader):
            batches = (reader.get_batch(number) for number in range(reader.num_record_batches))
        else:
            batches = iter(reader)
        for batch in batches:
            batch.validate()  # an offset of a damaged file would lead out of its buffer
            yield pa.Table.from_batches([batch])
    except (pa.ArrowException, OSError) as error:
        raise damage_of(error, _KIND) from None
