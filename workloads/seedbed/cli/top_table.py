"""Table layout of `seedbed top`: the most important columns are shown in full, even on a narrow screen.

Less important columns are left out. A message that does not fit beside its row is printed below it. A name
that is too long is printed on its own line, in full, so that it can be copied.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence

from rich.text import Text

from seedbed.cli.top_rows import Row

_ALWAYS = ("NAME", "STATUS", "PROGRESS", "LEFT")
_WITH_ROOM = ("WORKERS", "RATE", "RESULT", "KIND")
"""The other columns; the last ones are left out first."""
_GAP, _INDENT = "  ", "    "
_LEAST_NAME = 12
_MOST_LINES = 3
"""Most lines of a message on a screen that is redrawn."""

Block = list[Text]
"""A row and the lines below it."""


def blocks_of(rows: Sequence[Row], *, width: int | None, most_lines: int | None = None) -> Iterator[Block]:
    """Yield the header and each row, in lines of at most `width`; None: one line each, however long."""
    columns = _widths(rows, width)
    beside = any(row.message and _has_room(row, columns, width) for row in rows)
    header = _line({name: name for name in columns}, columns)
    yield [Text(f"{header}{_GAP}MESSAGE" if beside else header.rstrip(), style="bold")]
    for row in rows:
        lines = _lines(row, columns, width, most_lines)
        yield [Text(line.rstrip(), style="dim" if row.over else "") for line in lines]


def screen_of(heading: Sequence[str], rows: Sequence[Row], *, width: int, height: int) -> Iterator[Text]:
    """Yield the lines of a screen: as many rows as fit, and the number of the others."""
    above = [Text(line) for each in heading for line in _wrapped(each, width, _MOST_LINES)]
    yield from above
    room = height - len(above) - 1
    blocks = blocks_of(rows, width=width, most_lines=_MOST_LINES) if rows else ()
    for shown, block in enumerate(blocks):
        room -= len(block)
        if room < 0:
            yield Text(f"… {len(rows) - shown + 1} more; `seedbed top --once` prints all", style="dim")
            return
        yield from block


def _widths(rows: Sequence[Row], width: int | None) -> dict[str, int]:
    """Return the displayed columns with their widths; empty columns are left out."""
    cells = {name: [_cell(row, name) for row in rows] for name in (*_ALWAYS, *_WITH_ROOM)}
    wanted = {name: max(len(name), *map(len, column)) for name, column in cells.items() if any(column)}
    if width is None or _total(wanted) <= width:
        return wanted
    chosen = {name: wanted[name] for name in _ALWAYS if name in wanted}
    beside_name = _total(chosen) - chosen["NAME"]
    chosen["NAME"] = min(chosen["NAME"], max(_LEAST_NAME, min(width - beside_name, width * 2 // 5)))
    for name in _WITH_ROOM:
        if name in wanted and _total(more := {**chosen, name: wanted[name]}) <= width:
            chosen = more
    return chosen


def _total(columns: Mapping[str, int]) -> int:
    return sum(columns.values()) + len(_GAP) * (len(columns) - 1)


def _lines(row: Row, columns: Mapping[str, int], width: int | None, most_lines: int | None) -> Iterator[str]:
    cells = {name: _cell(row, name) for name in columns}
    if len(cells["NAME"]) > columns["NAME"]:
        yield cells["NAME"]
        cells["NAME"] = ""
    line = _line(cells, columns)
    if width is None or _has_room(row, columns, width):
        yield f"{line}{_GAP}{_plain(row.message)}"
    else:
        yield line
        yield from (_INDENT + line for line in _wrapped(row.message, width - len(_INDENT), most_lines))


def _wrapped(text: str, width: int, most_lines: int | None) -> list[str]:
    return textwrap.wrap(
        _plain(text), max(width, _LEAST_NAME), break_on_hyphens=False, max_lines=most_lines, placeholder=" …"
    )


def _has_room(row: Row, columns: Mapping[str, int], width: int | None) -> bool:
    line = _total(columns) + len(_GAP) + len(_plain(row.message))
    return width is None or line <= width


def _line(cells: Mapping[str, str], columns: Mapping[str, int]) -> str:
    return _GAP.join(f"{cells[name]:<{width}}" for name, width in columns.items())


def _cell(row: Row, name: str) -> str:
    return _plain(str(getattr(row, name.lower())))


def _plain(text: str) -> str:
    """Return untrusted text on one line, without control characters."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())
