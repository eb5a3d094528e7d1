"""A small network for small images. Shapes: b rows, c channels, h w of an image, k classes."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


class SimpleCNN(nn.Module):
    """Three convolutions with BatchNorm, of width, 2 width and 4 width channels; halves h and w twice."""

    def __init__(self, *, classes: int, width: int, dropout: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, 2 * width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(2 * width)
        self.conv3 = nn.Conv2d(2 * width, 4 * width, 3, padding=1, bias=False)
        self.norm3 = nn.BatchNorm2d(4 * width)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(4 * width, classes)

    def forward(self, x_bchw: torch.Tensor) -> torch.Tensor:
        """Return logits (b, k) for images of at least 4 x 4 pixels."""
        x = F.max_pool2d(F.relu(self.norm1(self.conv1(x_bchw))), 2)
        x = F.max_pool2d(F.relu(self.norm2(self.conv2(x))), 2)
        x = F.relu(self.norm3(self.conv3(x)))
        # adaptive pooling has no deterministic backward on CUDA
        logits: torch.Tensor = self.head(self.dropout(x.mean((2, 3))))
        return logits
