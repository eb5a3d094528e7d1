"""Exponential moving average of the trained parameters: float32, three rounded operations per element.

Each operation is correctly rounded by itself, so every device and every number of workers has the same bits.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import nn

from seedbed.arithmetic.arithmetic_config import MovingAverage

Named = Mapping[str, torch.Tensor]


class WeightAverage:
    """One average per trained parameter, of its shape; it starts as the parameter's first value."""

    def __init__(self, config: MovingAverage, trained: Named, model: nn.Module) -> None:
        """`trained` are the parameters of `model` that an optimizer moves, each under one of its names."""
        self._config = config
        self._parameters = list(trained.values())
        self._averages = [parameter.detach().clone() for parameter in self._parameters]
        pairs = zip(self._parameters, self._averages, strict=True)
        average_of = {id(parameter): average for parameter, average in pairs}
        names = model.named_parameters(remove_duplicate=False)
        self._named = {name: average_of[id(each)] for name, each in names if id(each) in average_of}

    def named(self) -> dict[str, torch.Tensor]:
        """Return the live averages, one that is shared under each of its names."""
        return dict(self._named)

    @torch.no_grad()
    def update(self, step: int, *, scratch: Sequence[torch.Tensor]) -> None:
        """Take in the parameters after 0-based `step`: average += (1 - decay) · (parameter - average).

        Overwrites `scratch`, tensors like the parameters: gradients that are no longer needed.
        """
        follows = step < self._config.start_step or self._config.decay == 0.0
        share = 1.0 - self._config.decay
        for average, parameter, difference in zip(self._averages, self._parameters, scratch, strict=True):
            if follows:
                average.copy_(parameter)
            else:
                average.add_(torch.sub(parameter, average, out=difference).mul_(share))

    @contextlib.contextmanager
    def swapped(self) -> Iterator[None]:
        """Put the averages into the parameters, and the parameters' values back afterwards."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for average, parameter in zip(self._averages, self._parameters, strict=True):
            kept = parameter.detach().clone()
            parameter.copy_(average)
            average.copy_(kept)
