"""What each column of a table is for, and how its values are read: one check per file, before its rows."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from seedbed.dataset.sources.column_options import FLAGS, ColumnOptions, missing_column
from seedbed.dataset.sources.table_file import TableFile
from seedbed_api.errors import UserError, refusal

_ACCEPTED = {
    "image": ("bytes", "struct", "text"),
    "label": ("text", "number", "truth"),
    "split": ("text",),
    "group": ("text", "number"),
    "key": ("text", "number"),
}
_WANTED = {
    "image": "bytes, a struct of bytes and path, or text (a path)",
    "label": "text or whole numbers",
    "split": "text",
    "group": "text or numbers",
    "key": "text or numbers",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Roles:
    """The column of each role; None where there is none."""

    image: str
    label: str
    split: str | None
    group: str | None
    key: str | None

    def items(self) -> list[tuple[str, str]]:
        """Return role and column of those that are there."""
        pairs = [(role, getattr(self, role)) for role in FLAGS]
        return [(role, column) for role, column in pairs if column is not None]


def find_roles(file: TableFile, options: ColumnOptions) -> Roles:
    """Return the roles of a file's columns. `UserError` where one is missing or unclear."""
    group = options.group or ("group" if "group" in file.columns else None)
    return Roles(
        image=options.image or _image_column(file),
        label=options.label or _label_column(file),
        split=options.split or ("split" if "split" in file.columns else None),
        group=group,
        key=options.key,
    )


def check_roles(file: TableFile, roles: Roles) -> dict[str, str]:
    """Return what kind of values each role has in a file. `UserError` names a missing or wrong column."""
    kinds = {}
    for role, column in roles.items():
        if column not in file.columns:
            raise missing_column(role, column, there=file.columns, where=repr(file.path))
        if file.schema.names.count(column) > 1:
            problem = f"{file.path!r} has {file.schema.names.count(column)} columns of this name"
            fix = f"rename them, or name another column with {FLAGS[role]}"
            raise UserError("InvalidSource", refusal(FLAGS[role], column, problem, fix))
        kinds[role] = _kind_of(file, column)
        if kinds[role] not in _ACCEPTED[role]:
            problem = f"{file.path!r} has values of type {_type_of(file, column)} in it, not {_WANTED[role]}"
            fix = f"name another column with {FLAGS[role]}; there are {sorted(file.columns)}"
            raise UserError("InvalidSource", refusal(FLAGS[role], column, problem, fix))
    return kinds


def _image_column(file: TableFile) -> str:
    if "image" in file.columns:
        return "image"
    images = [name for name in file.image_columns if name in file.columns]
    images = images or [field.name for field in file.schema if _kind(field.type) in ("bytes", "struct")]
    return _only(images, "image", file)


def _label_column(file: TableFile) -> str:
    if "label" in file.columns:
        return "label"
    return _only([name for name in file.class_names if name in file.columns], "label", file)


def _only(names: list[str], role: str, file: TableFile) -> str:
    if len(names) == 1:
        return names[0]
    if not names:
        raise missing_column(role, role, there=file.columns, where=repr(file.path))
    fix = f"name one of them with {FLAGS[role]}"
    problem = f"several columns may be the {role}: {sorted(names)}"
    raise UserError("InvalidSource", refusal("SOURCE", file.path, problem, fix))


def _type_of(file: TableFile, column: str) -> pa.DataType:
    if column in file.schema.names:
        return file.schema.field(column).type
    return pa.int64() if isinstance(file.folder_columns[column], int) else pa.string()


def _kind_of(file: TableFile, column: str) -> str:
    return _kind(_type_of(file, column))


def _kind(kind: pa.DataType) -> str:
    if isinstance(kind, pa.ExtensionType):
        kind = kind.storage_type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_struct(kind):
        fields = {field.name: field.type for field in kind}
        whole = len(fields) == kind.num_fields and "bytes" in fields  # each name once
        return "struct" if whole and _is_bytes(fields["bytes"]) else "other"
    checks = {
        "bytes": _is_bytes,
        "text": lambda of: pa.types.is_string(of) or pa.types.is_large_string(of) or of == pa.string_view(),
        "number": lambda of: pa.types.is_integer(of) or pa.types.is_floating(of) or pa.types.is_null(of),
        "truth": pa.types.is_boolean,
    }
    return next((name for name, check in checks.items() if check(kind)), "other")


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
        or kind == pa.binary_view()
    )
