"""Parameters and buffers of a model, each with the dictionary of the module that holds it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True, kw_only=True, slots=True)
class Registered:
    """A tensor and the dictionary of the module that holds it."""

    name: str
    registry: dict[str, torch.Tensor | None]
    key: str
    tensor: torch.Tensor
    is_parameter: bool


def registered_tensors(model: nn.Module) -> Iterator[Registered]:
    """Yield all parameters and buffers; a tensor with several names comes several times."""
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
