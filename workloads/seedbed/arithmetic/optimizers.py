"""Optimizers: state as named float32 tensors, and torch's own fused update, which reads each tensor once.

Calls the functions behind torch.optim directly: constructing torch.optim.SGD imports the compiler, which
takes seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Protocol

import torch
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

from seedbed.arithmetic.arithmetic_config import SGD, AdamW, OptimizerConfig, ParameterGroup

Named = Mapping[str, torch.Tensor]


class Optimizer(Protocol):
    """What a step needs of an optimizer."""

    def named_state(self) -> dict[str, torch.Tensor]:
        """Return the live state tensors, the same names from step 0 on."""

    def step(self, gradients: Sequence[torch.Tensor], *, rate: float, step: int, divisor: int = 1) -> None:
        """Update the parameters in place; `step` is the 0-based global step.

        Divides the gradients by `divisor` in place: the bits of a separate division, without its pass over
        memory.
        """


class SgdOptimizer:
    """SGD; momentum buffers start at zero, so that the state has the same tensors before the first step."""

    def __init__(self, config: SGD, parameters: Named) -> None:
        self._config = config
        self._parameters = list(parameters.values())
        with_momentum = parameters if config.momentum else {}
        self._momentum = {name: torch.zeros_like(value) for name, value in with_momentum.items()}

    def named_state(self) -> dict[str, torch.Tensor]:
        """Return momentum buffers by `momentum.<parameter>`."""
        return {f"momentum.{name}": buffer for name, buffer in self._momentum.items()}

    @torch.no_grad()
    def step(
        self,
        gradients: Sequence[torch.Tensor],
        *,
        rate: float,
        step: int,  # noqa: ARG002
        divisor: int = 1,
    ) -> None:
        """Update parameters and momentum in place."""
        config = self._config
        buffers: list[torch.Tensor | None] = list(self._momentum.values())
        sgd(
            self._parameters,
            list(gradients),
            buffers or [None] * len(self._parameters),
            has_sparse_grad=False,
            fused=True,
            grad_scale=_scalar(divisor, gradients[0].device),
            weight_decay=config.weight_decay,
            momentum=config.momentum,
            lr=rate,
            dampening=0.0,
            nesterov=config.nesterov,
            maximize=False,
        )


class AdamWOptimizer:
    """AdamW; the bias correction uses the global step, so it needs no state of its own."""

    def __init__(self, config: AdamW, parameters: Named) -> None:
        self._config = config
        self._parameters = list(parameters.values())
        self._first = {name: torch.zeros_like(value) for name, value in parameters.items()}
        self._second = {name: torch.zeros_like(value) for name, value in parameters.items()}
        device = self._parameters[0].device
        self._step = torch.zeros(len(self._parameters), dtype=torch.float32, device=device)
        self._steps = list(self._step.unbind())

    def named_state(self) -> dict[str, torch.Tensor]:
        """Return moments by `first.<parameter>` and `second.<parameter>`."""
        first = {f"first.{name}": moment for name, moment in self._first.items()}
        return first | {f"second.{name}": moment for name, moment in self._second.items()}

    @torch.no_grad()
    def step(self, gradients: Sequence[torch.Tensor], *, rate: float, step: int, divisor: int = 1) -> None:
        """Update parameters and moments in place."""
        config = self._config
        self._step.fill_(step)
        adamw(
            self._parameters,
            list(gradients),
            list(self._first.values()),
            list(self._second.values()),
            [],
            self._steps,
            fused=True,
            grad_scale=_scalar(divisor, gradients[0].device),
            amsgrad=False,
            beta1=config.beta1,
            beta2=config.beta2,
            lr=rate,
            weight_decay=config.weight_decay,
            eps=config.epsilon,
            maximize=False,
        )


def _scalar(divisor: int, device: torch.device) -> torch.Tensor | None:
    # filled on the device: a copy from the host would wait for the device
    return None if divisor == 1 else torch.full((), float(divisor), device=device)


class GroupedOptimizer:
    """Optimizers of disjoint groups of the parameters, with learning rates of their own."""

    def __init__(self, parts: Sequence[tuple[Sequence[int], float, Optimizer]]) -> None:
        self._parts = parts

    def named_state(self) -> dict[str, torch.Tensor]:
        """Return the state tensors of all groups."""
        return {name: tensor for _, _, part in self._parts for name, tensor in part.named_state().items()}

    def step(self, gradients: Sequence[torch.Tensor], *, rate: float, step: int, divisor: int = 1) -> None:
        """Update the parameters of all groups in place."""
        for places, factor, part in self._parts:
            own = [gradients[place] for place in places]
            part.step(own, rate=rate * factor, step=step, divisor=divisor)


def build_optimizer(
    config: OptimizerConfig, parameters: Named, *, groups: Sequence[ParameterGroup] = ()
) -> Optimizer:
    """Return the updates of `config` over named parameters, in their order.

    The first group that matches a parameter sets its learning rate and weight decay.
    """
    if not groups:
        return _optimizer(config, parameters)
    places: dict[tuple[float, float], list[int]] = {}
    names = list(parameters)
    for place, name in enumerate(names):
        places.setdefault(_settings(config, name, groups), []).append(place)
    parts = []
    for (factor, decay), own in places.items():
        named = {names[place]: parameters[names[place]] for place in own}
        parts.append((own, factor, _optimizer(replace(config, weight_decay=decay), named)))
    return GroupedOptimizer(parts)


def _settings(config: OptimizerConfig, name: str, groups: Sequence[ParameterGroup]) -> tuple[float, float]:
    """Return learning rate factor and weight decay of a parameter."""
    group = next((each for each in groups if fnmatchcase(name, each.match)), None)
    if group is None:
        return 1.0, config.weight_decay
    decay = config.weight_decay if group.weight_decay is None else group.weight_decay
    return group.learning_rate_factor, decay


def _optimizer(config: OptimizerConfig, parameters: Named) -> Optimizer:
    if isinstance(config, SGD):
        return SgdOptimizer(config, parameters)
    return AdamWOptimizer(config, parameters)
