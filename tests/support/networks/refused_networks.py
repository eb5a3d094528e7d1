"""Networks as users write them, one habit each: state in every place that Python and torch offer.

`refused` maps a name to a network that must be refused and to the words that name its state. It is user code: it imports
nothing of Seedbed. The table is a function, since the probe reads all that a module of the user's holds, dozens of times per
network.
"""

import collections
import functools
import itertools
import random

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from .small_network import Net, after, layer, middle

CALLS = {"forward": 0}


class ExtraBuffer(nn.BatchNorm2d):
    """A further running buffer of a BatchNorm, which nothing reads."""

    def __init__(self, channels):
        super().__init__(channels)
        self.register_buffer("peak", torch.zeros(channels))

    def forward(self, x):
        if self.training:
            self.peak.mul_(0.9).add_(x.detach().amax((0, 2, 3)), alpha=0.1)
        return super().forward(x)


class Saved(torch.autograd.Function):
    """Writes what its backward pass sees into a tensor."""

    @staticmethod
    def forward(ctx, x, seen):
        ctx.seen = seen
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        ctx.seen.add_(gradient.abs().sum())
        return gradient, None


class Counted(nn.Module):
    """Counts its calls in its class."""

    calls = 0

    def forward(self, x):
        Counted.calls += 1
        return x if Counted.calls < 10_000 else 0.5 * x


class Loss:
    """Losses that remember, as the entrypoint has them."""

    def __init__(self, kind):
        self.kind, self.seen, self.history = kind, 0, []

    def __call__(self, model, images, labels):
        value = F.cross_entropy(model(images), labels)
        if self.kind == "buffer":
            with torch.no_grad():
                model.average.mul_(0.9).add_(model.head.weight, alpha=0.1)
        if self.kind == "attribute":
            self.seen += 1
        if self.kind == "list":
            self.history.append(float(value))
        return value


def hooked(classes):
    net, seen = Net(classes), [0]

    def hook(module, inputs, output):
        seen[0] += 1

    net.conv.register_forward_hook(hook)
    return net


def hooked_backward(classes):
    net = Net(classes)
    net.register_buffer("norms", torch.zeros(1))
    net.head.weight.register_hook(lambda gradient: net.norms.add_(gradient.norm()) and None)
    return net


def gradient_hook(classes):
    net, seen = Net(classes), {"steps": 0}

    def count(parameter):
        seen["steps"] += 1

    net.head.bias.register_post_accumulate_grad_hook(count)
    return net


def shrinking(classes):
    net = Net(classes)

    def shrink(parameter):
        parameter.data.mul_(0.999)

    net.head.weight.register_post_accumulate_grad_hook(shrink)
    return net


def with_average(classes):
    net = Net(classes)
    net.register_buffer("average", net.head.weight.detach().clone())
    return net


def spectral(classes, norm):
    net = Net(classes)
    net.head = norm(net.head)
    return net


def forgetful_buffer(classes):
    made = layer(after(lambda self, x: self.seen.add_(1), 1.0))
    made.register_buffer("seen", torch.zeros(1), persistent=False)
    return Net(classes, made)


def with_gradients(self, x):
    if torch.is_grad_enabled():
        self.seen.add_(1)
    return x


def first_decides(self, x):
    if self.scale is None:
        self.scale = float(x.std())
    return x if not self.training or x.shape[0] > 10_000 else x + 0.0 * self.scale


def stale(self, x):
    """Computes something from the weights once, and uses it for ever."""
    if self.cached is None:
        self.cached = (self.scale.detach() * 2.0).clone()
    return x * self.scale * self.cached


def averaging(self, x):
    self.seen.lerp_(self.scale.detach(), 0.1)
    return x * self.scale


def late_memory(self, x):
    if self.norm[0].num_batches_tracked > 1000 and self.training:
        x, self.memory = x + self.memory, x.detach()
    return x


def late_memory_network(classes):
    net = Net(classes, layer(late_memory, memory=0.0))
    net.middle.norm = [net.norm]
    return net


def count_global(self, x):
    CALLS["forward"] += 1
    return x if CALLS["forward"] < 10_000 else 0.5 * x


def default_counter(self, x, seen=[0]):  # noqa: B006 - the habit
    seen[0] += 1
    return x


def global_norm(self, x):
    return x * self.embedding(torch.arange(4, device=x.device)[: x.shape[0] and 2]).sum()


def in_evaluation(function):
    def forward(self, x):
        if not self.training:
            function(self)
        return x

    return forward


class CountedEvaluations(Net):
    """Counts how often it was evaluated."""

    evaluations = 0

    def eval(self):
        self.evaluations += 1
        return super().eval()


class LeftBehind(Net):
    """Registers something for an evaluation and forgets to take it away."""

    def eval(self):
        self.register_buffer("scale", torch.ones(1))
        return super().eval()


class Ticket:
    """A plain object of the user's, with slots."""

    __slots__ = ("number",)

    def __init__(self):
        self.number = 0


def add(container):
    return after(lambda self, x: container(self).append(float(x.detach().sum())), 1.0)


def refused():
    """Return name -> maker of a network that is refused, and the words that name its state."""
    return {
        "a further buffer of a BatchNorm": (lambda k: Net(k, ExtraBuffer(8)), "middle.peak"),
        "a buffer that forward writes": (middle(after(lambda self, x: self.seen.add_(1), 1.0), seen=torch.zeros(1)), "middle.seen"),
        "a buffer that forward replaces": (middle(after(lambda self, x: setattr(self, "seen", self.seen + 1), 1.0), seen=torch.zeros(1)), "middle.seen"),
        "an average that is equal at first": (middle(averaging, seen=torch.ones(1), scale=nn.Parameter(torch.ones(1))), "middle.seen"),
        "a buffer that is not saved": (forgetful_buffer, "middle.seen"),
        "a buffer written where gradients are on": (middle(with_gradients, seen=torch.zeros(1)), "middle.seen"),
        "a buffer written by autograd.Function": (middle(lambda self, x: Saved.apply(x, self.seen), seen=torch.zeros(1)), "middle.seen"),
        "a buffer written by a hook of a gradient": (hooked_backward, "norms"),
        "spectral norm": (functools.partial(spectral, norm=nn.utils.parametrizations.spectral_norm), "head.parametrizations.weight.0._"),
        "spectral norm by hook": (functools.partial(spectral, norm=nn.utils.spectral_norm), "head.weight_u"),
        "an InstanceNorm that tracks": (lambda k: Net(k, nn.InstanceNorm2d(8, track_running_stats=True)), "middle.running_mean"),
        "a parameter that a hook shrinks by .data": (shrinking, "head.weight"),
        "a parameter clamped in forward": (middle(after(lambda self, x: self.clamped.data.clamp_(-0.1, 0.1), 1.0), clamped=nn.Parameter(torch.ones(1), requires_grad=False)), "middle.clamped"),
        "an embedding with max_norm": (middle(global_norm, embedding=nn.Embedding(4, 3, max_norm=0.1)), "middle.embedding.weight"),
        "a counter": (middle(after(lambda self, x: setattr(self, "calls", self.calls + 1), 1.0), calls=0), "middle.calls"),
        "a counter of two": (middle(after(lambda self, x: setattr(self, "calls", 1 - self.calls), 1.0), calls=0), "middle.calls"),
        "a counter of three": (middle(after(lambda self, x: setattr(self, "calls", (self.calls + 1) % 3), 1.0), calls=0), "middle.calls"),
        "a counter with slots": (middle(after(lambda self, x: setattr(self.ticket, "number", self.ticket.number + 1), 1.0), ticket=Ticket()), "middle.ticket.number"),
        "a counter of the class": (lambda k: Net(k, Counted()), "Counted.calls"),
        "a counter of the module": (middle(count_global), "CALLS"),
        "a counter among defaults": (middle(default_counter), "__defaults__[0][0]"),
        "a counter in the closure of a hook": (hooked, "seen[0]"),
        "a counter in a hook of a gradient": (gradient_hook, "seen['steps']"),
        "itertools.count": (middle(after(lambda self, x: next(self.ticks), 1.0), ticks=itertools.count()), "middle.ticks"),
        "a list": (middle(add(lambda self: self.seen), seen=[]), "middle.seen"),
        "a deque": (middle(add(lambda self: self.seen), seen=collections.deque(maxlen=2)), "middle.seen"),
        "an array": (middle(after(lambda self, x: np.add(self.seen, 1, out=self.seen), 1.0), seen=np.zeros(2)), "middle.seen"),
        "an average in a plain tensor": (middle(after(lambda self, x: self.held[0].mul_(0.9).add_(x.detach().mean()), 1.0), held=[torch.zeros(1)]), "middle.held[0]"),
        "a generator of torch": (middle(after(lambda self, x: torch.rand(1, generator=self.draws), 1.0), draws=torch.Generator()), "middle.draws"),
        "a generator of numpy": (middle(after(lambda self, x: self.draws.random(), 1.0), draws=np.random.default_rng(1)), "middle.draws"),
        "a generator of Python": (middle(after(lambda self, x: self.draws.random(), 1.0), draws=random.Random(1)), "middle.draws"),
        "a cache of what weights were": (middle(stale, scale=nn.Parameter(torch.ones(1)), cached=None), "loss"),
        "the first leaf decides": (middle(first_decides, scale=None), "middle.scale"),
        "a memory that acts late": (late_memory_network, "in another order"),
        "a counter of evaluations": (CountedEvaluations, "evaluations"),
        "a counter in evaluation": (middle(in_evaluation(lambda self: setattr(self, "calls", self.calls + 1)), calls=0), "middle.calls"),
        "a buffer in evaluation": (middle(in_evaluation(lambda self: self.seen.add_(1)), seen=torch.zeros(1)), "middle.seen"),
        "a buffer that an evaluation leaves": (LeftBehind, "scale"),
    }  # fmt: skip


LOSSES = {
    "buffer": (with_average, "average"),
    "attribute": (Net, "loss_function.seen"),
    "list": (Net, "loss_function.history"),
}


class Op:
    """The entrypoint, without a loss of its own."""

    def build(self, args):
        return refused()[args["case"]][0](int(args["classes"]))


class WithLoss:
    """The entrypoint with a loss that remembers."""

    def __init__(self):
        self.loss_function = None

    def build(self, args):
        self.loss_function = self.loss_function or Loss(args["case"])
        return LOSSES[args["case"]][0](int(args["classes"]))

    def loss(self, model, batch):
        return self.loss_function(model, batch.images_mchw, batch.labels_m)
