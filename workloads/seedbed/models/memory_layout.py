"""Memory layout of images and convolutions: channels-last where that is correct, else contiguous."""

from __future__ import annotations

import torch
from torch import nn

COLOURS = 3
_NARROW = 8


def to_best_layout(model: nn.Module) -> nn.Module:
    """Convert a network to channels-last, which is faster, unless one of its convolutions is too narrow."""
    layout = torch.contiguous_format if has_narrow_convolution(model) else torch.channels_last
    return model.to(memory_format=layout)


def has_narrow_convolution(model: nn.Module) -> bool:
    """Say whether a convolution has fewer than 8 channels per group, except the 3 colours of the input.

    oneDNN 3.13 with AVX2 writes past its buffers in the channels-last backward pass of these; the other
    layout is correct (`tests/determinism/test_layout.py`).
    """
    return any(_is_narrow(layer) for layer in model.modules() if isinstance(layer, nn.Conv2d))


def is_channels_last(model: nn.Module) -> bool:
    """Say whether a network takes channels-last images, by the layout of its convolutions."""
    return any(map(_is_laid_out_last, model.parameters()))


def _is_narrow(layer: nn.Conv2d) -> bool:
    into = layer.in_channels // layer.groups
    out = layer.out_channels // layer.groups
    return out < _NARROW or (into < _NARROW and layer.in_channels != COLOURS)


def _is_laid_out_last(parameter: torch.Tensor) -> bool:
    apart = parameter.dim() == 4 and not parameter.is_contiguous()
    return apart and parameter.is_contiguous(memory_format=torch.channels_last)
