"""What the workers of a group are asked to do. Importable by name, so that it travels to them by reference."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from seedbed.arithmetic.evaluation import evaluate
from seedbed.arithmetic.leaf_gradient import Contribution, add_contributions, leaf_contribution
from seedbed.arithmetic.optimizer_step import run_step
from seedbed.arithmetic.reduction_tree import CarryStack, leaf_ranges
from seedbed.arithmetic.subtree_exchange import Exchange
from seedbed.arithmetic.tensor_digests import weights_digest
from support.gloo.cases import Case, Rows, rows_of
from support.gloo.mutations import MUTATIONS

State = dict[str, npt.NDArray[np.generic]]


@dataclass(frozen=True, kw_only=True)
class Run:
    """A stretch of steps of a case, from a state or from the start."""

    case: Case
    first: int = 0
    stop: int | None = None
    state: State | None = None
    mutation: str | None = None
    die_at: tuple[int, int] | None = None
    """(rank, step): this worker kills itself in the middle of that step."""


@dataclass(frozen=True, kw_only=True)
class TaskOutcome:
    """What one worker has after a stretch."""

    digest: str
    leaves_run: int
    losses: tuple[str, ...]
    """Bits of the float32 of each step, in hex."""
    witnesses: tuple[tuple[int, ...], ...]
    state: State | None
    """On rank 0."""


def train(exchange: Exchange, run: Run) -> TaskOutcome:
    """Run steps first … stop - 1 and return digest, counts and, on rank 0, the state."""
    apply = MUTATIONS[run.mutation] if run.mutation else contextlib.nullcontext
    with apply(exchange) as mutated:
        return _train(mutated or exchange, run)


def _train(exchange: Exchange, run: Run) -> TaskOutcome:
    case = run.case
    replica = case.replica()
    if run.state is not None:
        replica.load({name: torch.from_numpy(value) for name, value in run.state.items()})
    own = leaf_ranges(case.leaves, exchange.world)[exchange.rank]
    leaves_run, losses, witnesses = 0, [], []
    for step in range(run.first, case.steps if run.stop is None else run.stop):
        if run.die_at == (exchange.rank, step):
            leaf_contribution(replica, step, rows_of(case, step, own[0]))
            os.kill(os.getpid(), signal.SIGKILL)
        batches = [rows_of(case, step, leaf) for leaf in own]
        result = run_step(replica, step, batches, exchange, total_steps=case.steps)
        leaves_run += len(own)
        losses.append(struct.pack("<f", result.loss).hex())
        witnesses.append(tuple(result.witness.tolist()))
    named = replica.named_state()
    return TaskOutcome(
        digest=weights_digest(replica.named_weights()),
        leaves_run=leaves_run,
        losses=tuple(losses),
        witnesses=tuple(witnesses),
        state={name: value.cpu().numpy().copy() for name, value in named.items()}
        if exchange.rank == 0
        else None,
    )


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """Leaf contributions to add up, shape (L, n) float32, without any model."""

    leaves_ln: npt.NDArray[np.float32]
    mutation: str | None = None


def add_up(exchange: Exchange, numbers: Numbers) -> npt.NDArray[np.float32]:
    """Push own leaves through the carry stack and the exchange; return the sum, shape (n,)."""
    apply = MUTATIONS[numbers.mutation] if numbers.mutation else contextlib.nullcontext
    with apply(exchange) as mutated:
        return _add_up(mutated or exchange, numbers)


def _add_up(exchange: Exchange, numbers: Numbers) -> npt.NDArray[np.float32]:
    leaves = len(numbers.leaves_ln)
    stack = CarryStack(leaves, add_contributions)
    for leaf in leaf_ranges(leaves, exchange.world)[exchange.rank]:
        stack.push(leaf, [torch.from_numpy(numbers.leaves_ln[leaf].copy())])
    (total,) = exchange.reduce(stack.parts(), leaves=leaves)
    summed: npt.NDArray[np.float32] = total.cpu().numpy().copy()
    return summed


@dataclass(frozen=True, kw_only=True)
class FixedPoint:
    """Sums of quantised leaves, and how far the tree is from them."""

    digest: str
    worst_share_of_bound: float


def fixed_point(exchange: Exchange, case: Case) -> FixedPoint:
    """Sum one step's leaves as int64 multiples of 2^-40 and compare the tree's float sum with it."""
    replica = case.replica()
    stack = CarryStack(case.leaves, add_contributions)
    size = _vector(leaf_contribution(replica, 0, rows_of(case, 0, 0))).size
    integers, magnitudes = np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.int64)
    for leaf in leaf_ranges(case.leaves, exchange.world)[exchange.rank]:
        contribution = leaf_contribution(replica, 0, rows_of(case, 0, leaf))
        vector = _vector(contribution)
        integers = integers + np.rint(vector * 2.0**40).astype(np.int64)
        magnitudes = magnitudes + np.rint(np.abs(vector) * 2.0**40).astype(np.int64)
        stack.push(leaf, contribution)
    summed = exchange.sum_counts(integers)
    magnitude = exchange.sum_counts(magnitudes) * 2.0**-40
    tree = _vector(exchange.reduce(stack.parts(), leaves=case.leaves))
    # each element passes log2(L) roundings; each quantised leaf is off by half a unit
    bound = magnitude * np.log2(case.leaves) * 2.0**-24 + case.leaves * 2.0**-40
    share = np.abs(tree - summed * 2.0**-40) / bound
    return FixedPoint(
        digest=hashlib.sha256(summed.tobytes()).hexdigest(), worst_share_of_bound=float(share.max())
    )


def _vector(contribution: Contribution) -> npt.NDArray[np.float64]:
    return np.concatenate([tensor.reshape(-1).double().numpy() for tensor in contribution])


def evaluation(exchange: Exchange, case: Case) -> tuple[int, ...]:
    """Evaluate 7 batches of 4 rows, the last one half padding, on an untrained network."""
    replica = case.replica()
    batches = [
        EvaluationRows(index=index, count=2 if index == 6 else 4, rows=rows_of(case, 9, index))
        for index in range(exchange.rank, 7, exchange.world)
    ]
    counts = evaluate(replica, batches, exchange)
    assert counts.samples == 26
    return tuple(counts.as_vector().tolist())


@dataclass(frozen=True, kw_only=True)
class EvaluationRows:
    """An evaluation batch made of a leaf's rows and repeats of the last."""

    index: int
    count: int
    rows: Rows

    @property
    def labels_b(self) -> npt.NDArray[np.int64]:
        return np.resize(self.rows.labels_m, 4)

    @property
    def pixels_bhwc(self) -> npt.NDArray[np.uint8]:
        return np.resize(self.rows.pixels_mhwc, (4, *self.rows.pixels_mhwc.shape[1:]))


@dataclass(frozen=True, kw_only=True)
class Messages:
    """What small_messages heard."""

    gathered: list[bytes]
    broadcast: bytes
    one_flag: bool
    no_flag: bool


def small_messages(exchange: Exchange, _: None) -> Messages:
    """Gather, broadcast, and raise a flag on the last worker alone."""
    exchange.barrier()
    return Messages(
        gathered=exchange.gather_bytes(bytes([exchange.rank]) * exchange.rank),
        broadcast=exchange.broadcast_bytes(f"from {exchange.rank}".encode()),
        one_flag=exchange.any_of(exchange.rank == exchange.world - 1),
        no_flag=exchange.any_of(False),
    )
