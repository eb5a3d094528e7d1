"""The witness: a cheap checksum per tensor and step. It locates the first difference between two runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch


class Witness:
    """Sums up tensors whose memory does not move: the weights of a replica."""

    def __init__(self, tensors: Sequence[torch.Tensor]) -> None:
        self._tensors = list(tensors)
        on_cpu = bool(tensors) and tensors[0].device.type == "cpu"
        self._views = [_live_lanes(tensor) for tensor in tensors] if on_cpu else None

    def sums(self) -> torch.Tensor:
        """Return the int64 sum of the int32 lanes of each tensor, shape (t,), on their device, unsynced.

        Integers wrap and commute: the order of the sum does not matter. Elements of less than four bytes are
        summed by value.
        """
        if not self._tensors:
            return torch.zeros(0, dtype=torch.int64)
        if self._views is None:
            return torch.stack([_lanes(tensor).sum(dtype=torch.int64) for tensor in self._tensors])
        pairs = zip(self._tensors, self._views, strict=True)
        arrays = [_lanes(tensor).numpy() if view is None else view for tensor, view in pairs]
        # numpy widens while it adds: twice as fast as torch's int32 -> int64 sum
        return torch.tensor([int(array.sum(dtype=np.int64)) for array in arrays], dtype=torch.int64)


def witness_sums(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return `Witness(tensors).sums()`."""
    return Witness(tensors).sums()


def _live_lanes(tensor: torch.Tensor) -> npt.NDArray[np.int32] | None:
    """Return the lanes in memory order, one-dimensional, if they share the memory of the tensor."""
    lanes: npt.NDArray[np.int32] = _lanes(tensor).numpy().ravel(order="K")
    return lanes if lanes.ctypes.data == tensor.data_ptr() else None


def _lanes(tensor: torch.Tensor) -> torch.Tensor:
    tensor = tensor.detach()
    if tensor.element_size() <= 4:
        return tensor.view(torch.int32) if tensor.element_size() == 4 else tensor.to(torch.int64)
    return tensor.contiguous().reshape(-1).view(torch.int32)
