"""Initialization of weights from a seed: its own generator, layers in the order of the network."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def initialize_weights(model: nn.Module, *, seed: int) -> None:
    """Set the first values of a network of convolutions, linear layers and BatchNorm.

    Convolutions: He et al. 2015, normal, fan out. Linear: uniform within 1/sqrt(fan in).
    """
    generator = torch.Generator().manual_seed(seed)
    for layer in model.modules():
        _initialise_layer(layer, generator)


@torch.no_grad()
def _initialise_layer(layer: nn.Module, generator: torch.Generator) -> None:
    if isinstance(layer, nn.Conv2d):
        assert layer.bias is None
        nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu", generator=generator)
    elif isinstance(layer, nn.Linear):
        bound = 1.0 / math.sqrt(layer.in_features)
        layer.weight.uniform_(-bound, bound, generator=generator)
        layer.bias.uniform_(-bound, bound, generator=generator)
    elif isinstance(layer, _BatchNorm):
        layer.reset_parameters()
    else:
        own = [*layer.parameters(recurse=False), *layer.buffers(recurse=False)]
        assert not own, f"{type(layer).__name__} would have values of the global generator"
