"""Layers that training leaves as they are, by patterns of parameter names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


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


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Say whether any pattern matches a name."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def unused_patterns(names: Iterable[str], patterns: Iterable[str]) -> list[str]:
    """Return the patterns that match none of the names."""
    known = list(names)
    return [pattern for pattern in patterns if not any(fnmatchcase(name, pattern) for name in known)]


def _frozen_norms(model: nn.Module, patterns: Sequence[str]) -> Iterator[nn.Module]:
    for path, layer in model.named_modules():
        if isinstance(layer, _BatchNorm):
            own = [name for name, _ in layer.named_parameters(recurse=False)] or ["running_mean"]
            if all(matches(f"{path}.{name}" if path else name, patterns) for name in own):
                yield layer
