"""Augmentation in integers: uint8 in, uint8 out, drawn by (seed, epoch, row, position of the transform).

The pixels of an image do not depend on batch, worker or the floating point of the machine.
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
