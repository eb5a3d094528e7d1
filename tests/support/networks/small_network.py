"""A small network with a place in the middle, and layers for it: user code, which imports nothing of Seedbed."""

import copy

import torch
from torch import nn
from torch.nn import functional as F


class Net(nn.Module):
    """A small network with a place in the middle."""

    def __init__(self, classes, middle=None):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.middle = middle or nn.Identity()
        self.head = nn.Linear(8, classes)

    def forward(self, x):
        return self.head(self.middle(F.relu(self.norm(self.conv(x)))).mean((2, 3)))


def layer(function, **attributes):
    """Return a layer whose forward is `function(self, x)` and that has these attributes, tensors as buffers."""
    made = type("Layer", (nn.Module,), {"forward": function})()
    for name, shared in attributes.items():
        value = shared.clone_state() if isinstance(shared, torch.Generator) else copy.deepcopy(shared)
        if isinstance(value, torch.Tensor) and not isinstance(value, nn.Parameter):
            made.register_buffer(name, value)
        else:
            setattr(made, name, value)
    return made


def middle(function, **attributes):
    return lambda classes: Net(classes, layer(function, **attributes))


def after(function, value):
    """Return a forward that calls `function(self, x)` for its effect alone and returns x times `value`."""

    def forward(self, x):
        function(self, x)
        return x * value

    return forward
