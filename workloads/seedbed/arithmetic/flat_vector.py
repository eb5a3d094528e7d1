"""Layout of tensors in one flat float32 vector of n elements, in W equal slices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

# aligned as by an allocator: kernels may choose their path by alignment
_ALIGNMENT = 128


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """Where each tensor lies in the vector, with its own strides."""

    shapes: tuple[tuple[int, ...], ...]
    strides: tuple[tuple[int, ...], ...]
    offsets: tuple[int, ...]
    size: int
    """n, a multiple of W."""

    def views(self, vector_n: torch.Tensor) -> list[torch.Tensor]:
        """Return the tensors that lie in `vector_n`, without copying."""
        places = zip(self.shapes, self.strides, self.offsets, strict=True)
        return [vector_n.as_strided(shape, stride, offset) for shape, stride, offset in places]


def layout_of(tensors: Sequence[torch.Tensor], *, slices: int) -> Layout:
    """Lay out dense float32 tensors in memory order so that the vector divides into `slices`."""
    offsets, end = [], 0
    for tensor in tensors:
        assert tensor.dtype == torch.float32
        assert _is_dense(tensor), f"gaps in memory: {tuple(tensor.shape)}, strides {tensor.stride()}"
        offsets.append(end)
        end += -(-tensor.numel() // _ALIGNMENT) * _ALIGNMENT
    unit = _ALIGNMENT * slices
    return Layout(
        shapes=tuple(tuple(tensor.shape) for tensor in tensors),
        strides=tuple(tensor.stride() for tensor in tensors),
        offsets=tuple(offsets),
        size=-(-end // unit) * unit,
    )


def _is_dense(tensor: torch.Tensor) -> bool:
    steps = zip(tensor.shape, tensor.stride(), strict=True)
    return tensor.numel() == 1 + sum((size - 1) * stride for size, stride in steps)
