"""Horizontal and vertical flips."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seedbed.augmentation.random_draws import Words, bernoulli

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, slots=True)
class HorizontalFlip:
    """Mirror left and right with a probability."""

    probability: float = 0.5

    def apply(self, pixels: Pixels, words: Words) -> Pixels:
        """Return the image or its mirror image, a view of the same memory."""
        return pixels[:, ::-1] if bernoulli(words[0], self.probability) else pixels


@dataclass(frozen=True, kw_only=True, slots=True)
class VerticalFlip:
    """Mirror top and bottom with a probability."""

    probability: float = 0.5

    def apply(self, pixels: Pixels, words: Words) -> Pixels:
        """Return the image or its mirror image, a view of the same memory."""
        return pixels[::-1] if bernoulli(words[0], self.probability) else pixels
