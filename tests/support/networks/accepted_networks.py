"""Networks as users write them, one habit each, whose state is the same for any number of workers.

`one_digest` maps a name to a network that must train to one digest. It is user code: it imports nothing of Seedbed. The table
is a function, since the probe reads all that a module of the user's holds, dozens of times per network.
"""

import random

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from .small_network import Net, middle


class CountWarmup(nn.BatchNorm2d):
    """Acts by num_batches_tracked after some steps."""

    def forward(self, x):
        return super().forward(x) * (1.0 + 0.01 * max(float(self.num_batches_tracked) - 2.0, 0.0))


class Renormalised(nn.BatchNorm2d):
    """Batch renormalisation on BatchNorm's own buffers, its limits widening with the count."""

    def forward(self, x):
        if not self.training:
            return super().forward(x)
        limit = 1.0 + 0.1 * self.num_batches_tracked.item()
        mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
        with torch.no_grad():
            scale = (variance / self.running_var).sqrt().clamp(1 / limit, limit)
            shift = ((mean - self.running_mean) / self.running_var.sqrt()).clamp(-limit, limit)
            self.running_mean.lerp_(mean, 0.1)
            self.running_var.lerp_(variance, 0.1)
            self.num_batches_tracked += 1
        shown = (x - mean[:, None, None]) / (variance + self.eps).sqrt()[:, None, None]
        shown = shown * scale[:, None, None] + shift[:, None, None]
        return shown * self.weight[:, None, None] + self.bias[:, None, None]


class Assigning(nn.BatchNorm2d):
    """Replaces its statistics instead of writing into them."""

    def forward(self, x):
        if self.training:
            self.running_mean = 0.9 * self.running_mean + 0.1 * x.detach().mean((0, 2, 3))
            self.running_var = 0.9 * self.running_var + 0.1 * x.detach().var((0, 2, 3))
            self.num_batches_tracked = self.num_batches_tracked + 1
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)


def frozen(classes):
    net = Net(classes, nn.BatchNorm2d(8))
    net.norm.eval()
    return net


class FrozenByTrain(Net):
    """Keeps a BatchNorm frozen as papers on fine-tuning do."""

    def train(self, mode=True):
        super().train(mode)
        self.norm.eval()
        return self


class BatchStatistics(Net):
    """Normalises by the batch in evaluation as well."""

    def train(self, mode=True):
        super().train(mode)
        self.norm.training = True
        return self


class Merged(Net):
    """A low-rank adapter, merged into the weights for evaluations."""

    def __init__(self, classes):
        super().__init__(classes)
        self.down, self.up = nn.Linear(8, 2, bias=False), nn.Linear(2, classes, bias=False)
        self.is_merged = False

    def train(self, mode=True):
        super().train(mode)
        if mode == self.is_merged:
            with torch.no_grad():
                delta = self.up.weight @ self.down.weight
                self.head.weight.add_(delta if not mode else -delta)
            self.is_merged = not mode
        return self

    def forward(self, x):
        x = F.relu(self.norm(self.conv(x))).mean((2, 3))
        return self.head(x) if self.is_merged else self.head(x) + self.up(self.down(x))


class Swapped(Net):
    """Evaluates other weights than it trains, swapped by `.data`."""

    def train(self, mode=True):
        super().train(mode)
        if not mode and not hasattr(self, "kept"):
            self.kept = [p.data for p in self.parameters()]
            for p in self.parameters():
                p.data = 0.5 * p.data
        elif mode and hasattr(self, "kept"):
            for p, value in zip(self.parameters(), self.kept, strict=True):
                p.data = value
            del self.kept
        return self


class Fused(Net):
    """Runs as one convolution in evaluation."""

    def train(self, mode=True):
        super().train(mode)
        if mode and hasattr(self, "fused"):
            del self.fused
        elif not mode:
            self.fused = nn.utils.fusion.fuse_conv_bn_eval(self.conv, self.norm)
        return self

    def forward(self, x):
        x = self.norm(self.conv(x)) if self.training else self.fused(x)
        return self.head(F.relu(x).mean((2, 3)))


class Auxiliary(Net):
    """Leaves an activation in an attribute for its loss."""

    def forward(self, x):
        self.last = self.conv(x)
        return self.head(F.relu(self.norm(self.last)).mean((2, 3)))


def python_drop(self, x):
    return x * (0.5 if self.training and random.random() < 0.5 else 1.0)


def numpy_drop(self, x):
    mask = (np.random.rand(*x.shape[:2]) < 0.7).astype(np.float32)
    return x * torch.from_numpy(mask)[:, :, None, None] if self.training else x


def shape_cache(self, x):
    if x.shape[-1] not in self.tables:
        self.tables[x.shape[-1]] = torch.linspace(0, 1, x.shape[-1])
    return x * self.tables[x.shape[-1]]


def rewritten(self, x):
    self.mask.copy_(torch.ones(8))
    self.other = torch.ones(8)
    return x * (self.mask * self.other)[:, None, None]


def weight_norm(classes):
    net = Net(classes)
    net.head = nn.utils.parametrizations.weight_norm(net.head)
    return net


def one_digest():
    """Return name -> maker of a network that trains to one digest."""
    return {
        "a BatchNorm that acts by its count": lambda k: Net(k, CountWarmup(8)),
        "batch renormalisation": lambda k: Net(k, Renormalised(8)),
        "statistics replaced by assignment": lambda k: Net(k, Assigning(8)),
        "a frozen BatchNorm": frozen,
        "a BatchNorm frozen by train()": FrozenByTrain,
        "batch statistics in evaluation": BatchStatistics,
        "a BatchNorm with momentum 0": lambda k: Net(k, nn.BatchNorm2d(8, momentum=0.0)),
        "dropout that evaluation keeps": middle(lambda self, x: F.dropout(x, 0.3, training=True)),
        "noise that evaluation keeps": middle(lambda self, x: x + 0.1 * torch.randn_like(x)),
        "numpy noise that evaluation keeps": middle(lambda self, x: x * float(np.random.uniform(0.5, 1.5))),
        "Python noise that evaluation keeps": middle(lambda self, x: x * random.uniform(0.5, 1.5)),
        "a drop by Python's generator": middle(python_drop),
        "a drop by numpy's generator": middle(numpy_drop),
        "an adapter merged for evaluations": Merged,
        "weights swapped for evaluations": Swapped,
        "convolution and norm fused for evaluations": Fused,
        "an activation kept for the loss": Auxiliary,
        "a table by shape": middle(shape_cache, tables={}),
        "buffers written with what they hold": middle(rewritten, mask=torch.ones(8), other=torch.ones(8)),
        "weight normalisation": weight_norm,
    }


class Op:
    """The entrypoint, without a loss of its own."""

    def build(self, args):
        return one_digest()[args["case"]](int(args["classes"]))
