"""Running statistics of all BatchNorm layers in one vector, restored and saved by one copy per leaf.

The vector ends with flags: which statistics and counts a leaf has changed, 1.0 or 0.0 each. The tree adds
them up too, so every worker knows what no leaf has changed, such as a layer in evaluation mode.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from seedbed.models.model_errors import ModelOutputError

# kernels may choose their path by alignment: use that of the allocators (512 bytes on CUDA)
_ALIGNMENT = 128
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
"""The buffers of a BatchNorm layer that a leaf may change."""


class RunningStatistics:
    """Owns running_mean, running_var and num_batches_tracked of every BatchNorm of a model."""

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        layers = tracking_layers(model)
        owned = [(index, name) for index in range(len(layers)) for name in STATISTICS[:2]]
        sizes = [getattr(layers[index][1], name).numel() for index, name in owned]
        blocks = [-(-size // _ALIGNMENT) for size in sizes]
        self._blocks = sum(blocks)
        self._end = self._blocks * _ALIGNMENT
        block_layers = [index for (index, _), count in zip(owned, blocks, strict=True) for _ in range(count)]
        self._layer_of_block = torch.tensor(block_layers, dtype=torch.int64, device=device)
        self.values = torch.zeros(self._end + self._blocks + len(layers), device=device)
        self._counts = torch.zeros(len(layers), dtype=torch.int64, device=device)
        self._places: list[_Place] = []
        # reading a flag would wait for another device
        self._on_cpu = device.type == "cpu"
        self._all_move = all(layer.momentum != 0.0 for _, layer in layers)
        start = 0
        for (index, name), size, count in zip(owned, sizes, blocks, strict=True):
            self._move(*layers[index], name, self.values[start : start + size])
            start += count * _ALIGNMENT
        for (path, layer), counter in zip(layers, self._counts.unbind(), strict=True):
            self._move(path, layer, STATISTICS[2], counter)
        self.remember()
        self._counts_first = self._counts.clone()

    @property
    def tensors(self) -> list[torch.Tensor]:
        """Return the buffers, which lie in the vectors of this object."""
        return [place.tensor for place in self._places]

    def remember(self) -> None:
        """Save the present values as those before the next step."""
        self._adopt()
        self._values_before = self.values.clone()
        self._counts_before = self._counts.clone()

    def count_from(self, batches: int | None) -> None:
        """Set the batch count of every layer before the next step; None restores the real one (probes)."""
        if batches is None:
            self._counts_before.copy_(self._counts_first)
        else:
            self._counts_before.fill_(batches)

    def restore(self) -> None:
        """Restore the values before the step, and buffers that a layer has replaced."""
        for place in self._places:
            place.buffers[place.key] = place.tensor
        self.values.copy_(self._values_before)
        self._counts.copy_(self._counts_before)

    def contribution(self) -> torch.Tensor:
        """Return the statistics after a leaf, with the flags of what it has changed at the end."""
        self._adopt()
        taken = self.values.clone()
        if self._has_counted_everywhere():
            taken[self._end :] = 1.0
            return taken
        changed = taken.view(torch.int32) != self._values_before.view(torch.int32)
        by_block = changed[: self._end].view(-1, _ALIGNMENT).any(1)
        taken[self._end : self._end + self._blocks] = by_block
        taken[self._end + self._blocks :] = self._counts != self._counts_before
        return taken

    def replace(self, values: torch.Tensor) -> None:
        """End the step: set the mean over leaves, and count one batch more than before it.

        Statistics that no leaf has changed stay as they are: the mean of L equal values may be off by an ulp.
        """
        if self._on_cpu and bool((values[self._end :] > 0).all()):
            self.values.copy_(values)
            torch.add(self._counts_before, 1, out=self._counts)
            return self.remember()
        by_block, counted = values[self._end :].tensor_split([self._blocks])
        by_layer = torch.zeros_like(counted).index_add_(0, self._layer_of_block, by_block)
        taken = (by_layer > 0)[self._layer_of_block].repeat_interleave(_ALIGNMENT)
        before = self._values_before[: self._end]
        self.values.copy_(values)
        self.values[: self._end] = torch.where(taken, values[: self._end], before)
        torch.add(self._counts_before, (by_layer + counted > 0).to(torch.int64), out=self._counts)
        return self.remember()

    def _has_counted_everywhere(self) -> bool:
        """Say whether every layer has counted a batch, as in training, and so has changed its statistics."""
        return self._on_cpu and self._all_move and torch.equal(self._counts, self._counts_before + 1)

    def _move(self, path: str, layer: nn.Module, key: str, view: torch.Tensor) -> None:
        # `.data` has its own version: when a layer writes its statistics, autograd must not reject
        # the saved statistics of another layer
        tensor = view.data
        tensor.copy_(getattr(layer, key))
        setattr(layer, key, tensor)
        name = f"{path}.{key}" if path else key
        self._places.append(_Place(name=name, buffers=layer._buffers, key=key, tensor=tensor))

    @torch.no_grad()
    def _adopt(self) -> None:
        """Copy buffers that a layer has replaced, instead of writing into them, back into the vector."""
        for place in self._places:
            value = place.buffers.get(place.key)
            if value is place.tensor:
                continue
            if value is None or value.shape != place.tensor.shape:
                raise ModelOutputError(f"{place.name}: a step removes it, or changes its shape")
            place.tensor.copy_(value)
            place.buffers[place.key] = place.tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class _Place:
    """A buffer in one of the vectors, and the dictionary in which its layer holds it."""

    name: str
    buffers: dict[str, torch.Tensor | None]
    key: str
    tensor: torch.Tensor


def tracking_layers(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return the BatchNorm layers that track running statistics, each with its name."""
    layers = ((name, m) for name, m in model.named_modules() if isinstance(m, _BatchNorm))
    return [(name, layer) for name, layer in layers if layer.running_mean is not None]
