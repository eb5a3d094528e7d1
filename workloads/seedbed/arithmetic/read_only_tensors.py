"""Read-only tensors of a model: parameters and buffers that a leaf must not write.

torch's version counter and the identity of the registered tensor show a write within nanoseconds. Values are
compared only where one of them has changed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from operator import is_

import torch
from torch import nn

from seedbed.models.model_errors import ModelOutputError
from seedbed.models.state_dict import same_bits


@dataclass(frozen=True, kw_only=True, slots=True)
class Registered:
    """A tensor and the dictionary of the module that holds it."""

    name: str
    registry: dict[str, torch.Tensor | None]
    key: str
    tensor: torch.Tensor
    is_parameter: bool


def registered_tensors(model: nn.Module) -> Iterator[Registered]:
    """Yield all parameters and buffers; a tensor with several names is yielded for each."""
    for path, module in model.named_modules():
        for registry in (module._parameters, module._buffers):
            for key, tensor in registry.items():
                if tensor is not None and not tensor.is_inference():
                    yield Registered(
                        name=f"{path}.{key}" if path else key,
                        registry=registry,
                        key=key,
                        tensor=tensor,
                        is_parameter=registry is module._parameters,
                    )


class ReadOnlyTensors:
    """Parameters and buffers of a model except `writable`, its BatchNorm statistics."""

    def __init__(self, model: nn.Module, *, writable: Collection[torch.Tensor] = ()) -> None:
        allowed = {id(tensor) for tensor in writable}
        self._entries = [entry for entry in registered_tensors(model) if id(entry.tensor) not in allowed]
        self._tensors = [entry.tensor for entry in self._entries]
        self._versions = [-1] * len(self._entries)
        # of buffers only: parameters may be large, and no write into them is harmless
        self._copies: dict[int, torch.Tensor] = {}
        self.remember()

    def remember(self) -> None:
        """Save the present values as those that must not change."""
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
        """Say whether the value is unchanged; restore a buffer that was replaced by an equal one."""
        present = entry.registry.get(entry.key)
        if present is entry.tensor and present._version == self._versions[index]:
            return True
        copy = self._copies.get(index)
        if copy is None or present is None or not same_bits(present, copy):
            return False
        entry.tensor.copy_(copy)
        entry.registry[entry.key] = entry.tensor
        return True
