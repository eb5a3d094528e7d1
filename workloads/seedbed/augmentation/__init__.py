"""Augmentation in integers: uint8 in, uint8 out, keyed by (seed, epoch, row, position of the transform).

A picture's pixels do not depend on the batch, the worker or the machine's floating point.
"""

from __future__ import annotations

from seedbed.augmentation.color_jitter import ColorJitter
from seedbed.augmentation.crop_resize import RandomResizedCrop, Resize
from seedbed.augmentation.flip import HorizontalFlip, VerticalFlip
from seedbed.augmentation.rotation import Rotation
from seedbed.augmentation.transform_pipeline import (
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
