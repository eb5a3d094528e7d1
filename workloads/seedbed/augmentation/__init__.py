"""Augmentation in integers: uint8 in, uint8 out, keyed by (seed, epoch, row, position of the transform).

A picture's pixels do not depend on the batch, the worker or the machine's floating point.
"""

from __future__ import annotations

from seedbed.augmentation.colour import ColorJitter
from seedbed.augmentation.cropping import RandomResizedCrop, Resize
from seedbed.augmentation.flipping import HorizontalFlip, VerticalFlip
from seedbed.augmentation.pipeline import (
    Sizing,
    Transform,
    apply,
    for_evaluation,
    output_size,
    render,
    render_head,
    render_rest,
    sizing_head,
)
from seedbed.augmentation.rotation import Rotation

__all__ = [
    "ColorJitter",
    "HorizontalFlip",
    "RandomResizedCrop",
    "Resize",
    "Rotation",
    "Sizing",
    "Transform",
    "VerticalFlip",
    "apply",
    "for_evaluation",
    "output_size",
    "render",
    "render_head",
    "render_rest",
    "sizing_head",
]
