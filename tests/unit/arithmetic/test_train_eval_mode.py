"""Evaluation leaves every layer in its mode: a resumed run rebuilds the model, a straight one must not drift."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from seedbed.arithmetic.evaluation import evaluation_mode


def a_model_with_a_frozen_layer() -> nn.Module:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Dropout(0.5))
    model[1].eval()
    return model


def modes(model: nn.Module) -> list[bool]:
    return [module.training for module in model.modules()]


def test_a_frozen_layer_stays_frozen() -> None:
    model = a_model_with_a_frozen_layer()
    before = modes(model)
    with evaluation_mode(model):
        assert not any(modes(model))
    assert modes(model) == before
    assert not all(before)


def test_modes_come_back_when_evaluation_fails() -> None:
    model = a_model_with_a_frozen_layer()
    before = modes(model)
    with pytest.raises(ZeroDivisionError), evaluation_mode(model):
        raise ZeroDivisionError
    assert modes(model) == before


def test_train_of_the_whole_model_would_thaw_it() -> None:
    """Check the check: what evaluation did before."""
    model = a_model_with_a_frozen_layer()
    before = modes(model)
    model.eval()
    model.train(True)
    assert modes(model) != before
    assert torch.is_grad_enabled()
