"""Workers compare what they hold; the first tensor that differs is named, and whose fault it is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import nn

from seedbed.arithmetic.arithmetic_config import SGD, Arithmetic
from seedbed.arithmetic.learning_rate import LearningRate
from seedbed.arithmetic.model_replica import Replica
from seedbed.training.rank_agreement import (
    WorkerDigests,
    first_disagreement,
    require_agreement,
    worker_digests,
)
from seedbed.training.worker_config import ModelSource, WorkerConfig
from seedbed_api.errors import InfrastructureError, UserError

NAMES = ("conv.weight", "norm.running_mean")


def held(*witnesses: tuple[int, int], first: int = 4, **digests: str) -> WorkerDigests:
    steps = {first + i: (0.5, np.array(witness, dtype=np.int64)) for i, witness in enumerate(witnesses)}
    return WorkerDigests(
        steps=steps, tensors={name.replace("__", "."): value for name, value in digests.items()}
    )


@pytest.mark.parametrize(
    ("others", "found"),
    [
        pytest.param([held((1, 2), (3, 4), a="x")], None, id="all agree"),
        pytest.param([held((1, 2), (3, 5), a="x")], (6, "norm.running_mean"), id="the last step"),
        pytest.param([held((1, 3), (4, 5), a="y")], (5, "norm.running_mean"), id="the first step counts"),
        pytest.param([held((9, 3), (3, 4), a="x")], (5, "conv.weight"), id="the first tensor counts"),
        pytest.param([held((1, 2), (3, 4), a="x"), held((1, 2), (0, 4), a="x")], (6, "conv.weight"), id="the third worker"),
        pytest.param([held((1, 2), (3, 4), a="y")], (6, "a"), id="a tensor that the witness does not have"),
        pytest.param([held((1, 2), (3, 4))], (6, "a"), id="a tensor that is missing"),
    ],
)  # fmt: skip
def test_the_first_difference_is_named(others: list[WorkerDigests], found: tuple[int, str] | None) -> None:
    own = held((1, 2), (3, 4), a="x")
    assert first_disagreement([own, *others], witness=NAMES) == found


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.head = nn.Linear(3, 2)
        self.register_buffer("kept", torch.zeros(2))
        self.register_buffer("table", torch.zeros(2, dtype=torch.bfloat16), persistent=False)
        self.register_buffer("phases", torch.zeros(2, dtype=torch.complex64), persistent=False)


def a_replica() -> Replica:
    arithmetic = Arithmetic(
        leaves=2,
        leaf_rows=2,
        classes=2,
        seed=5,
        learning_rate=LearningRate(base=0.1),
        optimizer=SGD(momentum=0.9),
    )
    return Replica(arithmetic, Net())


class Pair:
    """Two workers, seen from the first: `theirs` is what the second one sends."""

    rank, world = 0, 2

    def __init__(self, theirs: WorkerDigests) -> None:
        self.theirs = theirs

    def gather_bytes(self, payload: bytes) -> list[bytes]:
        return [payload, self.theirs.to_bytes()]

    def broadcast_bytes(self, payload: bytes) -> bytes:
        return payload


def a_config(entrypoint: str | None) -> WorkerConfig:
    return cast(WorkerConfig, SimpleNamespace(model=ModelSource(name=None, args={}, entrypoint=entrypoint)))


CHANGES = {
    "head.weight": lambda replica: replica.model.head.weight.data,
    "kept": lambda replica: replica.model.kept,
    "table": lambda replica: replica.model.table,
    "phases": lambda replica: replica.model.phases,
    "optimizer.momentum.head.bias": lambda replica: replica.named_state()["optimizer.momentum.head.bias"],
}


@pytest.mark.parametrize("name", CHANGES)
def test_every_kind_of_tensor_is_compared(name: str) -> None:
    own, other = a_replica(), a_replica()
    exchange: Any = Pair(worker_digests(other, {}))
    require_agreement(a_config("mine:Net"), exchange, worker_digests(own, {}), witness=NAMES)
    CHANGES[name](other).add_(1)
    exchange = Pair(worker_digests(other, {}))
    with pytest.raises(UserError, match=f"not deterministic: {name} differs between workers") as caught:
        require_agreement(a_config("mine:Net"), exchange, worker_digests(own, {}), witness=NAMES)
    assert caught.value.reason == "ModelError"
    with pytest.raises(InfrastructureError, match=f"{name} differs between workers"):
        require_agreement(a_config(None), exchange, worker_digests(own, {}), witness=NAMES)
