"""Residual networks (He et al. 2016), stride in the 3x3 convolution of a bottleneck. b rows, k classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F


def _conv(inputs: int, outputs: int, *, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False)


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    if inputs == outputs and stride == 1:
        return nn.Identity()
    return nn.Sequential(_conv(inputs, outputs, kernel=1, stride=stride), nn.BatchNorm2d(outputs))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    expansion: ClassVar[int] = 1

    def __init__(self, inputs: int, width: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = _conv(inputs, width, kernel=3, stride=stride)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = _conv(width, width, kernel=3)
        self.norm2 = nn.BatchNorm2d(width)
        self.shortcut = _shortcut(inputs, width, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the block's activations."""
        y = F.relu(self.norm1(self.conv1(x)), inplace=True)
        y = self.norm2(self.conv2(y))
        y += self.shortcut(x)
        return F.relu(y, inplace=True)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions beside a shortcut; four times as wide outside."""

    expansion: ClassVar[int] = 4

    def __init__(self, inputs: int, width: int, *, stride: int) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.conv1 = _conv(inputs, width, kernel=1)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = _conv(width, width, kernel=3, stride=stride)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv3 = _conv(width, outputs, kernel=1)
        self.norm3 = nn.BatchNorm2d(outputs)
        self.shortcut = _shortcut(inputs, outputs, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the block's activations."""
        y = F.relu(self.norm1(self.conv1(x)), inplace=True)
        y = F.relu(self.norm2(self.conv2(y)), inplace=True)
        y = self.norm3(self.conv3(y))
        y += self.shortcut(x)
        return F.relu(y, inplace=True)


class ResNet(nn.Module):
    """Stem, four stages, mean over h and w, linear head.

    `stem` is `imagenet` (7x7 stride 2, max pool) or `small` (3x3, for images below about 64 pixels).
    """

    def __init__(
        self,
        block: type[BasicBlock | Bottleneck],
        layers: Sequence[int],
        *,
        classes: int,
        stem: str,
        width: int,
    ) -> None:
        super().__init__()
        large = stem == "imagenet"
        self.conv = _conv(3, width, kernel=7, stride=2) if large else _conv(3, width, kernel=3)
        self.norm = nn.BatchNorm2d(width)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1) if large else nn.Identity()
        inputs, stages = width, []
        for index, count in enumerate(layers):
            stage_width = width << index
            for position in range(count):
                stride = 2 if index > 0 and position == 0 else 1
                stages.append(block(inputs, stage_width, stride=stride))
                inputs = stage_width * block.expansion
        self.blocks = nn.Sequential(*stages)
        self.head = nn.Linear(inputs, classes)

    def forward(self, x_bchw: torch.Tensor) -> torch.Tensor:
        """Return logits (b, k)."""
        x = self.pool(F.relu(self.norm(self.conv(x_bchw)), inplace=True))
        # adaptive pooling has no deterministic backward on CUDA
        logits: torch.Tensor = self.head(self.blocks(x).mean((2, 3)))
        return logits
