"""A cheap fingerprint per tensor and step: it names where two runs part between two checkpoints."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch


def witness_sums(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the int64 sum of the int32 lanes of each tensor, shape (t,), on their device, without a sync.

    Integers wrap and commute: the order of the sum does not matter. Elements of less than four bytes are
    summed by value.
    """
    if not tensors:
        return torch.zeros(0, dtype=torch.int64)
    if tensors[0].device.type == "cpu":
        return torch.tensor([_sum_on_cpu(tensor) for tensor in tensors], dtype=torch.int64)
    return torch.stack([_lanes(tensor).sum(dtype=torch.int64) for tensor in tensors])


def _lanes(tensor: torch.Tensor) -> torch.Tensor:
    tensor = tensor.detach()
    if tensor.element_size() < 4:
        return tensor.to(torch.int64)
    if tensor.element_size() == 4:
        return tensor.view(torch.int32)
    return tensor.contiguous().reshape(-1).view(torch.int32)


def _sum_on_cpu(tensor: torch.Tensor) -> int:
    # numpy widens while it adds: twice as fast as torch's int32 -> int64 sum
    return int(_lanes(tensor).numpy().sum(dtype=np.int64))
