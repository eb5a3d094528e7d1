"""Training and evaluation mode of a model: calls train() and eval() as a plain training loop does.

A model may override them to merge adapters or swap weights. After an evaluation its tensors and modes are as
before; a layer that user code froze stays frozen.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Sequence

import torch
from torch import nn

from seedbed.arithmetic.read_only_tensors import Registered, registered_tensors
from seedbed.models.model_errors import ModelOutputError


def enter_training_mode(model: nn.Module) -> None:
    """Call train(); layers that were frozen before stay frozen."""
    if model.training:
        _train(model, frozen=[module for module in model.modules() if not module.training])


@contextlib.contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode; restore parameters, buffers and modes afterwards.

    A layer that user code froze must stay frozen, or a resumed run would differ from one without a break.
    Raises ModelOutputError where the model does not return with the tensors that it had.
    """
    modes = {module: module.training for module in model.modules()}
    saved = [_SavedTensor(entry, entry.tensor.detach()) for entry in registered_tensors(model)]
    model.eval()
    try:
        yield
    finally:
        if modes[model]:
            _train(model, frozen=[module for module, training in modes.items() if not training])
        else:
            for module, training in modes.items():
                module.training = training
        _restore(model, saved)


def _train(model: nn.Module, *, frozen: Collection[nn.Module]) -> None:
    model.train()
    for module in frozen:
        module.training = False


class _SavedTensor:
    """A registered tensor, its memory and its value."""

    def __init__(self, entry: Registered, place: torch.Tensor) -> None:
        self.entry, self._place, self._value = entry, place, place.clone()

    @torch.no_grad()
    def restore(self) -> None:
        """Restore value, memory and registration."""
        entry = self.entry
        if entry.tensor.data_ptr() != self._place.data_ptr():
            entry.tensor.data = self._place
        entry.tensor.copy_(self._value)
        entry.registry[entry.key] = entry.tensor


def _restore(model: nn.Module, saved: Sequence[_SavedTensor]) -> None:
    left = {(id(entry.registry), entry.key): entry.name for entry in registered_tensors(model)}
    had = {(id(each.entry.registry), each.entry.key): each.entry.name for each in saved}
    changed = [f"{had[place]}: an evaluation takes it away" for place in had if place not in left]
    changed += [f"{left[place]}: an evaluation leaves it behind" for place in left if place not in had]
    if changed:
        raise ModelOutputError(f"{changed[0]}; let train() undo all that eval() did")
    for each in saved:
        each.restore()
