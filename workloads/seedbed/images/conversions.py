"""Conversions that lose something, for those who ask for them: each is a note of the build report."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from PIL import Image

_COLOURS = {"white": (255, 255, 255), "black": (0, 0, 0)}
_HEX = re.compile(r"#[0-9a-fA-F]{6}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Conversions:
    """What may be lost; nothing, unless it is asked for."""

    alpha: str | None = None
    """Background of transparent pixels: `white`, `black` or `#rrggbb`."""
    depth: bool = False
    """16 bits per channel become 8: the high ones."""
    cmyk: bool = False
    """CMYK becomes RGB without a colour profile."""
    frames: bool = False
    """Of several frames or pages, the first one counts."""

    @classmethod
    def of(cls, asked: dict[str, str] | None) -> Conversions:
        """Return the conversions of a build recipe."""
        asked = asked or {}
        return cls(
            alpha=asked.get("alpha"),
            depth="depth" in asked,
            cmyk="cmyk" in asked,
            frames="frames" in asked,
        )


def colour_of(text: str) -> tuple[int, int, int] | None:
    """Return the red, green and blue of a background; None for a text that names none."""
    if _HEX.fullmatch(text):
        red, green, blue = bytes.fromhex(text[1:])
        return red, green, blue
    return _COLOURS.get(text)


def on_background(picture: Image.Image, background: str) -> Image.Image:
    """Return an RGBA image on a colour, as RGB; each channel is mixed in integers."""
    colour = colour_of(background)
    assert colour is not None, background
    below = Image.new("RGBA", picture.size, (*colour, 255))
    return Image.alpha_composite(below, picture).convert("RGB")


def high_bits(picture: Image.Image, bits: int) -> Image.Image:
    """Return a gray image of more than 8 bits in 8: the high ones. Pillow has done so with others."""
    if not picture.mode.startswith("I;16"):
        return picture
    values = np.asarray(picture).astype(np.uint16) >> max(0, bits - 8)
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


def is_reducible(picture: Image.Image) -> bool:
    """Return whether the high bits are an image: those of 32-bit numbers and floats need a range."""
    return picture.mode not in ("I", "F") and "transparency" not in picture.info
