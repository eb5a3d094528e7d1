"""Tensors of a model that a leaf reads and must not write: what it left in them, the next leaf would find.

That a tensor was written is told by torch's version counter and by the identity of what is registered, which
cost nanoseconds; values are compared only where one of them says so.
"""

from __future__ import annotations

from collections.abc import Collection
from operator import is_

import torch
from torch import nn

from seedbed.arithmetic.model_errors import ModelOutputError
from seedbed.arithmetic.registered_tensors import Registered, registered_tensors
from seedbed.models.state_dict import same_bits


class ReadOnlyTensors:
    """Parameters and buffers of a model but for `writable`, its BatchNorm statistics."""

    def __init__(self, model: nn.Module, *, writable: Collection[torch.Tensor] = ()) -> None:
        allowed = {id(tensor) for tensor in writable}
        self._entries = [entry for entry in registered_tensors(model) if id(entry.tensor) not in allowed]
        self._tensors = [entry.tensor for entry in self._entries]
        self._versions = [-1] * len(self._entries)
        # of buffers alone: parameters may be large, and nothing that writes into them is harmless
        self._copies: dict[int, torch.Tensor] = {}
        self.remember()

    def remember(self) -> None:
        """Take the present values as those that must stay."""
        versions = self._present_versions()
        if versions == self._versions:
            return
        for index, entry in enumerate(self._entries):
            if not entry.is_parameter and versions[index] != self._versions[index]:
                self._copies[index] = entry.tensor.detach().clone()
        self._versions = versions

    def check(self, action: str) -> None:
        """Raise ModelOutputError naming the first tensor that `action` has changed since `remember`."""
        registered = [entry.registry.get(entry.key) for entry in self._entries]
        if all(map(is_, registered, self._tensors)) and self._present_versions() == self._versions:
            return
        for index, entry in enumerate(self._entries):
            if not self._is_unchanged(index, entry):
                raise ModelOutputError(
                    f"{entry.name}: {action} changes it; "
                    "only BatchNorm may keep statistics, and only the optimizer may move parameters"
                )
        self.remember()

    def _present_versions(self) -> list[int]:
        return [tensor._version for tensor in self._tensors]

    @torch.no_grad()
    def _is_unchanged(self, index: int, entry: Registered) -> bool:
        """Say whether the value is that of before; a buffer that was replaced by an equal one is put back."""
        present = entry.registry.get(entry.key)
        if present is entry.tensor and present._version == self._versions[index]:
            return True
        copy = self._copies.get(index)
        if copy is None or present is None or not same_bits(present, copy):
            return False
        entry.tensor.copy_(copy)
        entry.registry[entry.key] = entry.tensor
        return True
