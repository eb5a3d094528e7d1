"""Arrays of NumPy in `.npy` files and `.npz` archives, read row by row; nothing is unpickled."""

from __future__ import annotations

import ast
import io
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from seedbed.dataset.sources.storage_file import open_file
from seedbed.dataset.sources.table_file import DamagedTable
from seedbed.storage import ShortRead, Storage

SUFFIXES = (".npy", ".npz")
_MAGIC = b"\x93NUMPY"
_MOST_HEADER_BYTES = 64 << 10
_PIECE_BYTES = 8 << 20
_MOST_ROW_BYTES = 1 << 30


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredArray:
    """An array in a file: its shape and type, and a way to its rows."""

    place: str
    """The file, and the array in it."""
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    open: Callable[[], io.BufferedIOBase]
    """Opens the file at the first row."""

    def rows(self) -> Iterator[npt.NDArray[Any]]:
        """Yield pieces of several rows. Raises DamagedTable where the file ends before."""
        if self.dtype.itemsize == 0:
            raise DamagedTable("its values have no bytes")
        row_bytes = max(1, int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize)
        if row_bytes > _MOST_ROW_BYTES:
            raise DamagedTable(f"a row has {row_bytes:,} bytes, more than {_MOST_ROW_BYTES:,}")
        at_once, file = max(1, _PIECE_BYTES // row_bytes), self.open()
        for start in range(0, self.shape[0], at_once):
            count = min(at_once, self.shape[0] - start)
            data = _read(file, count * row_bytes)
            if len(data) < count * row_bytes:
                raise DamagedTable(f"it is truncated: {self.shape[0]} rows should be there")
            yield np.frombuffer(data, self.dtype).reshape(count, *self.shape[1:])


def arrays_of(storage: Storage, path: str) -> dict[str, StoredArray]:
    """Return the arrays of a file by name; a `.npy` file is called as the file. Raises DamagedTable."""
    if path.lower().endswith(".npz"):
        return _archive(storage, path)
    name = path.rpartition("/")[2].rpartition(".")[0]
    return {name: _array(path, lambda: open_file(storage, path))}


def _archive(storage: Storage, path: str) -> dict[str, StoredArray]:
    try:
        archive = zipfile.ZipFile(open_file(storage, path))
        names = [info.filename for info in archive.infolist() if info.filename.endswith(".npy")]
        return {name[:-4]: _member(archive, path, name) for name in names}
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError) as error:
        raise DamagedTable(f"it is truncated or no npz file ({str(error)[:200]})") from None


def _member(archive: zipfile.ZipFile, path: str, name: str) -> StoredArray:
    return _array(f"{path}: {name[:-4]}", lambda: archive.open(name))  # type: ignore[arg-type,return-value]


def _array(place: str, opened: Callable[[], io.BufferedIOBase]) -> StoredArray:
    file = opened()
    header, offset = _header(file)
    shape, dtype, fortran = _parsed(header)
    if dtype.hasobject:
        raise DamagedTable("it holds Python objects, which are code to run; save numbers or text")
    if fortran and len(shape) > 1:
        raise DamagedTable("its rows are not one after the other; save np.ascontiguousarray of it")

    def at_rows() -> io.BufferedIOBase:
        again = opened()
        _read(again, offset)
        return again

    return StoredArray(place=place, shape=shape, dtype=dtype, open=at_rows)


def _header(file: io.BufferedIOBase) -> tuple[str, int]:
    """Return the text of a header and where the rows begin."""
    start = _read(file, 8)
    if not start.startswith(_MAGIC) or len(start) < 8:
        raise DamagedTable("it is truncated or no npy file")
    width = 2 if start[6] == 1 else 4
    length = int.from_bytes(_read(file, width), "little")
    if length > _MOST_HEADER_BYTES:
        raise DamagedTable(f"its header has {length:,} bytes")
    return _read(file, length).decode("latin-1"), 8 + width + length


def _parsed(header: str) -> tuple[tuple[int, ...], np.dtype[Any], bool]:
    try:
        fields = ast.literal_eval(header.strip())
        shape, fortran = fields["shape"], fields["fortran_order"]
        dtype = np.lib.format.descr_to_dtype(fields["descr"])
    except (ValueError, SyntaxError, KeyError, TypeError, RecursionError, MemoryError) as error:
        raise DamagedTable(f"its header is damaged ({type(error).__name__})") from None
    whole = isinstance(shape, tuple) and all(isinstance(size, int) and 0 <= size < 1 << 48 for size in shape)
    if not whole or not isinstance(fortran, bool) or not shape:
        raise DamagedTable(f"its header says shape {shape!r}, which is no list of rows")
    return shape, dtype, fortran


def _read(file: io.BufferedIOBase, size: int) -> bytes:
    try:
        return file.read(size)
    except (ShortRead, zipfile.BadZipFile, EOFError, RuntimeError) as error:
        raise DamagedTable(f"it is truncated or damaged ({str(error)[:200]})") from None
    except Exception as error:
        if type(error).__module__ == "zlib":
            raise DamagedTable(f"it is damaged ({error})") from None
        raise
