"""Numbers below 1e-38 count in every leaf, step and evaluation, whatever the model's libraries switch on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from seedbed.arithmetic.evaluation import evaluate
from seedbed.arithmetic.optimizer_step import run_step
from seedbed.arithmetic.subtree_exchange import SingleProcessExchange
from unit.arithmetic.replicas import CLASSES, a_replica, rows


class Loads(nn.Module):
    """A network that notes what becomes of a denormal number, then loads a library that flushes them."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.seen = nn.Linear(3, CLASSES), []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(float(torch.tensor(1e-40) * 0.5))
        result: torch.Tensor = self.head(x.mean((2, 3)))
        torch.set_flush_denormal(True)
        return result


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Two rows to evaluate."""

    index: int
    count: int = 2
    labels_b: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(2, dtype=np.int64))
    pixels_bhwc: npt.NDArray[np.uint8] = field(default_factory=lambda: np.zeros((2, 8, 8, 3), dtype=np.uint8))


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    if not torch.set_flush_denormal(True):
        pytest.skip("not run: this CPU cannot flush denormals")
    yield
    torch.set_flush_denormal(False)


def kept() -> bool:
    return float(torch.tensor(1e-40) * 0.5) > 0.0


def test_every_leaf_and_the_update_keep_them() -> None:
    model = Loads()
    replica = a_replica(model, leaves=4)
    run_step(replica, 0, [rows(leaf) for leaf in range(4)], SingleProcessExchange(), total_steps=1)
    seen = model.seen[-4:]
    assert min(seen) > 0.0, seen
    assert kept()


def test_every_batch_of_an_evaluation_keeps_them() -> None:
    model = Loads()
    evaluate(a_replica(model), [Batch(index=index) for index in range(3)], SingleProcessExchange())
    assert min(model.seen[-3:]) > 0.0, model.seen
