"""One file of a table: what every format of columns tells about it, before a row is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

import pyarrow as pa

from seedbed.dataset.sources.label_names import number_or_text
from seedbed.storage import ShortRead

_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True, kw_only=True, slots=True)
class TableFile:
    """A file of rows with named columns."""

    path: str
    schema: pa.Schema
    read: Callable[[list[str]], Iterator[pa.Table]]
    """Yields the rows of the named columns, a bounded number of bytes at a time."""
    class_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Names of the classes, by column, where the file says them."""
    image_columns: tuple[str, ...] = ()
    """Columns that the file calls images."""
    folder_columns: Mapping[str, object] = field(default_factory=dict)
    """Columns whose one value is in the names of the folders, as `label=cat/`."""

    @property
    def columns(self) -> list[str]:
        """Return the names of all columns."""
        return [*self.schema.names, *(name for name in self.folder_columns if name not in self.schema.names)]


class DamagedTable(Exception):  # noqa: N818 - told with the name of the file by `table_listing`
    """A file that is not of its format, or ends too early."""


def damage_of(error: Exception, kind: str) -> DamagedTable:
    """Return damage to a file of a kind; errors of the storage itself are raised."""
    if isinstance(error, OSError) and error.errno is not None and not isinstance(error, ShortRead):
        raise error
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return DamagedTable(f"it is truncated or no {kind} file ({text[:200]})")


def folder_columns(path: str) -> dict[str, object]:
    """Return the columns whose value a folder has in its name, as Hive and Spark write them."""
    pairs = (folder.partition("=") for folder in path.split("/")[:-1] if "=" in folder)
    return {unquote(name): _folder_value(unquote(value)) for name, _, value in pairs if name}


def _folder_value(value: str) -> object:
    """Return the value of a folder; those who write numbers read numbers again."""
    if value == _NO_VALUE:
        return None
    return number_or_text(value)
