"""Training and evaluation mode of a model: the calls that it sees in plain torch, and nothing left behind.

In plain torch a model sees train(), steps, eval(), an evaluation, train() and so on; one that overrides these
merges adapters or swaps weights there. A layer that user code froze stays frozen all the same.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Sequence

import torch
from torch import nn

from seedbed.arithmetic.read_only_tensors import Registered, registered_tensors
from seedbed.models.model_errors import ModelOutputError


def enter_training_mode(model: nn.Module) -> None:
    """Call train() as a training loop does; layers that were frozen before it are frozen after it."""
    if model.training:
        _train(model, frozen=[module for module in model.modules() if not module.training])


@contextlib.contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode for a while; parameters, buffers and modes are as before afterwards.

    A layer that user code froze must stay frozen, or a run that is resumed would part from one that is not.
    Raises ModelOutputError where the model does not come back with the tensors that it had.
    """
    modes = {module: module.training for module in model.modules()}
    kept = [_Kept(entry, entry.tensor.detach()) for entry in registered_tensors(model)]
    model.eval()
    try:
        yield
    finally:
        if modes[model]:
            _train(model, frozen=[module for module, training in modes.items() if not training])
        else:
            for module, training in modes.items():
                module.training = training
        _put_back(model, kept)


def _train(model: nn.Module, *, frozen: Collection[nn.Module]) -> None:
    model.train()
    for module in frozen:
        module.training = False


class _Kept:
    """A registered tensor, where it lies in memory, and its value."""

    def __init__(self, entry: Registered, place: torch.Tensor) -> None:
        self.entry, self._place, self._value = entry, place, place.clone()

    @torch.no_grad()
    def put_back(self) -> None:
        """Restore value, memory and registration."""
        entry = self.entry
        if entry.tensor.data_ptr() != self._place.data_ptr():
            entry.tensor.data = self._place
        entry.tensor.copy_(self._value)
        entry.registry[entry.key] = entry.tensor


def _put_back(model: nn.Module, kept: Sequence[_Kept]) -> None:
    left = {(id(entry.registry), entry.key): entry.name for entry in registered_tensors(model)}
    had = {(id(each.entry.registry), each.entry.key): each.entry.name for each in kept}
    changed = [f"{had[place]}: an evaluation takes it away" for place in had if place not in left]
    changed += [f"{left[place]}: an evaluation leaves it behind" for place in left if place not in had]
    if changed:
        raise ModelOutputError(f"{changed[0]}; let train() undo all that eval() did")
    for each in kept:
        each.put_back()
