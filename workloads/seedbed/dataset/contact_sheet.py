"""Write drawn rows for people: a folder of image files, or a contact sheet as HTML or PNG."""

from __future__ import annotations

import base64
import html
import io
import json
import re
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, Final

from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from seedbed.dataset.reader import Dataset
from seedbed.dataset.row_sampling import SampledRow
from seedbed.images.image_decoder import decode
from seedbed.storage import Storage
from seedbed_api.errors import UserError, refusal
from seedbed_api.printable_text import on_one_line

_TILE, _CAPTION, _GAP = 128, 30, 6
_MOST_COLUMNS: Final = 8
_MOST_TILES: Final = 2000
_SAFE_FOLDER: Final = re.compile(r"\w[\w .()+-]{0,99}")
_PNG: Final = b"\x89PNG"
_STYLE: Final = (
    "body{font:14px sans-serif;margin:1rem}div{display:flex;flex-wrap:wrap;gap:8px}"
    "figure{margin:0;width:132px}img{width:128px;height:128px;object-fit:contain;background:#eee}"
    "figcaption{overflow-wrap:anywhere;font-size:12px}"
)


def write_images(storage: Storage, dataset: Dataset, rows: Iterable[SampledRow], *, seed: int) -> int:
    """Write `SPLIT/CLASS/ROW-ID.png` or `.jpg` for each row, and `sample.json`; return the number of rows."""
    listed = []
    for row in rows:
        suffix = "png" if row.image.startswith(_PNG) else "jpg"
        file = f"{row.split}/{_folder_of(row)}/{row.row}-{row.id[:12]}.{suffix}"
        storage.put(file, row.image)
        listed.append({"file": file, **_described(row)})
    document = {"dataset": dataset.storage.url, "digest": dataset.digest, "seed": seed, "rows": listed}
    storage.put("sample.json", json.dumps(document, indent=1).encode() + b"\n")
    return len(listed)


def html_sheet(dataset: Dataset, rows: Iterable[SampledRow]) -> tuple[bytes, int]:
    """Return a page that holds all images, texts escaped and without scripts, and the number of rows."""
    figures = [_figure(row) for row in rows]
    title = html.escape(on_one_line(dataset.storage.url))
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style><h1>{title}</h1><p>{len(figures)} rows of {dataset.digest}</p>"
        f"<div>{''.join(figures)}</div></html>\n"
    )
    return page.encode(), len(figures)


def png_sheet(dataset: Dataset, rows: Iterable[SampledRow]) -> tuple[bytes, int]:
    """Return a picture of all images with their class and row, and the number of rows."""
    tiles = [_tile(row) for row in islice(rows, _MOST_TILES + 1)]
    if len(tiles) > _MOST_TILES:
        problem = f"a PNG sheet has at most {_MOST_TILES} images"
        fix = "draw fewer, or write a folder"
        raise UserError("InvalidOption", refusal("--rows", f"more than {_MOST_TILES}", problem, fix))
    columns = min(_MOST_COLUMNS, len(tiles))
    lines = -(-len(tiles) // columns)
    width, height = _TILE + _GAP, _TILE + _CAPTION + _GAP
    sheet = Image.new("RGB", (columns * width + _GAP, lines * height + _GAP), "white")
    for number, tile in enumerate(tiles):
        sheet.paste(tile, (_GAP + number % columns * width, _GAP + number // columns * height))
    sink = io.BytesIO()
    about = PngInfo()
    about.add_text("Source", dataset.digest)
    sheet.save(sink, "PNG", pnginfo=about)
    return sink.getvalue(), len(tiles)


SHEETS: Final[dict[str, Callable[[Dataset, Iterable[SampledRow]], tuple[bytes, int]]]] = {
    "html": html_sheet,
    "png": png_sheet,
}


def _described(row: SampledRow) -> dict[str, Any]:
    return {"row": row.row, "id": row.id, "split": row.split, "class": row.name}


def _folder_of(row: SampledRow) -> str:
    """Return a folder name for a class: its name if that is a plain one, else one that is no other's."""
    if _SAFE_FOLDER.fullmatch(row.name):
        return row.name
    plain = re.sub(r"[^\w-]", "_", row.name)[:60]
    return f"{plain}~{row.label}"


def _figure(row: SampledRow) -> str:
    kind = "png" if row.image.startswith(_PNG) else "jpeg"
    data = base64.b64encode(row.image).decode()
    name = html.escape(on_one_line(row.name))
    return (
        f'<figure><img alt="{name}" src="data:image/{kind};base64,{data}">'
        f"<figcaption>{name}<br>{row.split}, row {row.row}</figcaption></figure>"
    )


def _tile(row: SampledRow) -> Image.Image:
    tile = Image.new("RGB", (_TILE, _TILE + _CAPTION), "white")
    picture = _fitted(Image.fromarray(decode(row.image)))
    tile.paste(picture, ((_TILE - picture.width) // 2, (_TILE - picture.height) // 2))
    draw, font = ImageDraw.Draw(tile), ImageFont.load_default(size=11)
    draw.text((0, _TILE + 2), on_one_line(row.name)[:24], fill="black", font=font)
    draw.text((0, _TILE + 15), f"{row.split} {row.row}", fill="gray", font=font)
    return tile


def _fitted(picture: Image.Image) -> Image.Image:
    """Return a picture that fits a tile; a small one enlarged by a whole factor, to be seen at all."""
    factor = _TILE // max(picture.size)
    if factor >= 1:
        size = (picture.width * factor, picture.height * factor)
        return picture.resize(size, Image.Resampling.NEAREST)
    picture.thumbnail((_TILE, _TILE))
    return picture
