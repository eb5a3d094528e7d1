"""Colour jitter: hue, saturation, brightness and contrast as one 3 x 3 matrix and an offset, in Q16."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from seedbed.augmentation.integer_trigonometry import sine_cosine
from seedbed.augmentation.random_draws import ONE, Words, to_fixed_point, uniform_between

Pixels = npt.NDArray[np.uint8]
Matrix = tuple[tuple[int, int, int], tuple[int, int, int], tuple[int, int, int]]

LUMA: Final = (19595, 38470, 7471)
"""Weights of R, G and B in the grey value (ITU-R BT.601) in Q16; their sum is 65536."""

_INVERSE_ROOT_OF_3: Final = 37837


@dataclass(frozen=True, kw_only=True, slots=True)
class ColorJitter:
    """Change colours by factors uniform in [1 - strength, 1 + strength], hue by up to `hue` of a full turn.

    Strengths lie in [0, 2], so that 32 bits hold every intermediate value; hue lies in [0, 0.5].
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0

    def apply(self, pixels: Pixels, words: Words) -> Pixels:
        """Return the image in other colours."""
        brightness = _factor(words[0], self.brightness)
        contrast = _factor(words[1], self.contrast)
        saturation = _factor(words[2], self.saturation)
        turn = to_fixed_point(self.hue * 360)
        matrix = _product(_saturation_matrix(saturation), _hue_matrix(uniform_between(words[3], -turn, turn)))
        gain = brightness * contrast >> 16
        offset = _mean_grey(pixels) * (brightness * (ONE - contrast) >> 16)
        return _mixed(pixels, _scaled(matrix, gain), offset)


def _factor(word: int, strength: float) -> int:
    bound = to_fixed_point(strength)
    return uniform_between(word, max(ONE - bound, 0), ONE + bound)


def _saturation_matrix(factor: int) -> Matrix:
    """Return the blend of a colour with its grey value."""
    red, green, blue = ((ONE - factor) * weight >> 16 for weight in LUMA)
    return (
        (ONE - green - blue, green, blue),
        (red, ONE - red - blue, blue),
        (red, green, ONE - red - green),
    )


def _hue_matrix(degrees_q16: int) -> Matrix:
    """Return the rotation of RGB space about its grey axis (Rodrigues' formula)."""
    sine, cosine = sine_cosine(degrees_q16)
    rest = (ONE - cosine) // 3
    sway = sine * _INVERSE_ROOT_OF_3 >> 16
    own = ONE - 2 * rest
    return ((own, rest - sway, rest + sway), (rest + sway, own, rest - sway), (rest - sway, rest + sway, own))


def _product(left: Matrix, right: Matrix) -> Matrix:
    cells = [[sum(left[i][k] * right[k][j] for k in range(3)) >> 16 for j in range(3)] for i in range(3)]
    return _matrix(cells)


def _scaled(matrix: Matrix, gain: int) -> Matrix:
    return _matrix([[cell * gain >> 16 for cell in row] for row in matrix])


def _matrix(cells: list[list[int]]) -> Matrix:
    rows = [(row[0], row[1], row[2]) for row in cells]
    return rows[0], rows[1], rows[2]


def _mean_grey(pixels: Pixels) -> int:
    height, width, _ = pixels.shape
    sums = pixels.sum(axis=(0, 1), dtype=np.int64).tolist()
    weighted = sum(weight * total for weight, total in zip(LUMA, sums, strict=True))
    return int((weighted // (height * width) + (ONE >> 1)) >> 16)


def _mixed(pixels: Pixels, matrix: Matrix, offset: int) -> Pixels:
    planes = [np.ascontiguousarray(pixels[..., channel], dtype=np.int32) for channel in range(3)]
    mixed = np.empty(pixels.shape, np.uint8)
    for channel, (red, green, blue) in enumerate(matrix):
        plane = planes[0] * np.int32(red)
        plane += planes[1] * np.int32(green)
        plane += planes[2] * np.int32(blue)
        plane += np.int32(offset + (ONE >> 1))
        plane >>= 16
        mixed[..., channel] = plane.clip(0, 255)
    return mixed
