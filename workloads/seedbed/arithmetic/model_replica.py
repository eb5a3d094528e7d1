"""A replica of the model with its optimizer state on one device, as named tensors."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import TypeAlias

import torch
from torch import nn

from seedbed.arithmetic.arithmetic_config import Arithmetic
from seedbed.arithmetic.batchnorm_statistics import RunningStatistics
from seedbed.arithmetic.generator_seeding import preserve_generators, seed_mode_change
from seedbed.arithmetic.optimizers import build_optimizer
from seedbed.arithmetic.read_only_tensors import ReadOnlyTensors
from seedbed.arithmetic.train_eval_mode import enter_training_mode
from seedbed.arithmetic.weight_average import WeightAverage
from seedbed.arithmetic.witness_checksums import Witness
from seedbed.models.frozen_layers import freeze_layers
from seedbed.models.memory_layout import has_narrow_convolution, is_channels_last
from seedbed.models.model_errors import ModelOutputError
from seedbed.models.state_dict import stored_tensors

Objective: TypeAlias = Callable[[nn.Module, torch.Tensor, torch.Tensor], torch.Tensor]
"""(model, images (m, 3, h, w), labels (m,)) -> mean loss over the m rows, a scalar."""


class Replica:
    """The parameters, buffers and optimizer state that every worker holds in full.

    `model` is moved to `device` and owned by the replica. `objective` replaces the configured cross-entropy.
    Images are channels-last if the convolutions of the model are, else contiguous.
    """

    def __init__(
        self,
        arithmetic: Arithmetic,
        model: nn.Module,
        device: torch.device | str = "cpu",
        *,
        objective: Objective | None = None,
    ) -> None:
        if objective is not None and arithmetic.mixup_alpha > 0.0:
            raise ModelOutputError(
                "mixup blends the labels of cross-entropy: it does not go with a loss of one's own"
            )
        self.arithmetic = arithmetic
        self.device = torch.device(device)
        self.model = freeze_layers(model.to(self.device), arithmetic.frozen)
        with preserve_generators(self.device):
            seed_mode_change(arithmetic.seed, device=self.device)
            enter_training_mode(model)
        self.objective = objective
        if has_narrow_convolution(model):
            model.to(memory_format=torch.contiguous_format)
        self.channels_last = is_channels_last(model)
        self.statistics = RunningStatistics(model, self.device)
        self.read_only = ReadOnlyTensors(model, writable=self.statistics.tensors)
        self._weights = {name: tensor.detach() for name, tensor in stored_tensors(model).items()}
        self.trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        if not self.trained:
            raise ModelOutputError(
                "the model has no parameter to train; leave requires_grad on for what is to be trained"
            )
        self.optimizer = build_optimizer(arithmetic.optimizer, self.trained, groups=arithmetic.groups)
        self.average = (
            None if arithmetic.average is None else WeightAverage(arithmetic.average, self.trained, model)
        )
        self.witness = Witness(list(self.witnessed().values()))

    def named_weights(self) -> dict[str, torch.Tensor]:
        """Return the live parameters and persistent buffers, as in the model's state_dict: a shared one under
        each of its names."""
        return dict(self._weights)

    def model_weights(self) -> dict[str, torch.Tensor]:
        """Return what is evaluated and exported: `named_weights`, with averages in place of parameters."""
        return self._weights | self._averages()

    def witnessed(self) -> dict[str, torch.Tensor]:
        """Return the live tensors of the witness: `named_weights`, then averages as `<name> (average)`."""
        return self._weights | {f"{name} (average)": value for name, value in self._averages().items()}

    def named_state(self) -> dict[str, torch.Tensor]:
        """Return the live tensors of a checkpoint: `model.<name>`, `optimizer.<name>` and
        `optimizer.average.<name>`."""
        weights = {f"model.{name}": tensor for name, tensor in self._weights.items()}
        weights |= {f"optimizer.{name}": tensor for name, tensor in self.optimizer.named_state().items()}
        return weights | {f"optimizer.average.{name}": value for name, value in self._averages().items()}

    def _averages(self) -> dict[str, torch.Tensor]:
        return {} if self.average is None else self.average.named()

    def averaged(self) -> contextlib.AbstractContextManager[None]:
        """Return a context in which the model has the averages in place of its parameters."""
        return contextlib.nullcontext() if self.average is None else self.average.swapped()

    @torch.no_grad()
    def load(self, named: Mapping[str, torch.Tensor]) -> None:
        """Copy a full `named_state` in. Raises ValueError naming the first tensor that does not fit."""
        state = self.named_state()
        for name in sorted(state.keys() ^ named.keys()):
            raise ValueError(
                f"{name}: {'missing in the state to load' if name in state else 'unknown tensor'}"
            )
        for name, tensor in named.items():
            _check_fits(name, tensor, state[name])
            state[name].copy_(tensor)
        self.statistics.remember()


def _check_fits(name: str, given: torch.Tensor, own: torch.Tensor) -> None:
    if given.shape != own.shape or given.dtype != own.dtype:
        raise ValueError(
            f"{name}: {given.dtype} {tuple(given.shape)} given, {own.dtype} {tuple(own.shape)} expected"
        )
