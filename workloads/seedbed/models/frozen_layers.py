"""Layers that training leaves as they are, by patterns of parameter names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from seedbed.models.name_patterns import matches


def freeze_layers(model: nn.Module, patterns: Sequence[str]) -> nn.Module:
    """Turn off the gradients of the matching parameters; return the model.

    A BatchNorm of which all parameters are frozen is put into evaluation mode, in which its statistics stay.
    One without parameters is frozen where a pattern matches its statistics.
    """
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if matches(name, patterns):
            parameter.requires_grad_(False)
    for layer in _frozen_norms(model, patterns):
        layer.eval()
    return model


def _frozen_norms(model: nn.Module, patterns: Sequence[str]) -> Iterator[nn.Module]:
    for path, layer in model.named_modules():
        if isinstance(layer, _BatchNorm):
            own = [name for name, _ in layer.named_parameters(recurse=False)] or ["running_mean"]
            if all(matches(f"{path}.{name}" if path else name, patterns) for name in own):
                yield layer
