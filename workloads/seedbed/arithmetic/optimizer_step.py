"""One optimizer step: own leaves, reduction tree, exchange, clipping, update; equal bits on every worker."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from seedbed.arithmetic.batch_protocols import LeafRows
from seedbed.arithmetic.leaf_gradient import (
    Contribution,
    add_contributions,
    contribution_names,
    leaf_contribution,
)
from seedbed.arithmetic.learning_rate import learning_rate
from seedbed.arithmetic.model_replica import Replica
from seedbed.arithmetic.reduction_tree import CarryStack, leaf_ranges
from seedbed.arithmetic.subtree_exchange import Exchange
from seedbed.arithmetic.torch_determinism import enable_denormals
from seedbed.models.model_errors import ModelOutputError
from seedbed.models.state_dict import same_bits


@dataclass(frozen=True, kw_only=True, slots=True)
class StepResult:
    """The result of a step, equal on every worker."""

    loss: float
    """Mean over all leaves, a float32 value."""
    gradient_norm: float
    """L2 norm before clipping, a float32 value."""
    learning_rate: float
    stop: bool
    """Whether any worker asked to stop after this step."""
    witness: npt.NDArray[np.int64]
    """Shape (t,), in the order of `Replica.witnessed()`; read-only by convention."""

    @property
    def finite(self) -> bool:
        """Whether loss and gradient are finite; otherwise the state after the step is useless."""
        return math.isfinite(self.loss) and math.isfinite(self.gradient_norm)


def run_step(
    replica: Replica,
    step: int,
    micro_batches: Iterable[LeafRows],
    exchange: Exchange,
    *,
    total_steps: int,
    stop: bool = False,
    twice: bool = False,
) -> StepResult:
    """Run 0-based `step` on this worker's leaves, which must come in ascending order and be complete.

    Takes exactly the own leaves from `micro_batches`, which may be the feed of the whole run. With `twice`,
    the last own leaf is computed again and must give the same bits.
    Raises ModelOutputError for a model that does not fit and ExchangeError when a peer is lost.
    """
    arithmetic = replica.arithmetic
    rate = learning_rate(arithmetic.learning_rate, step, total_steps)
    stack = CarryStack(arithmetic.leaves, add_contributions)
    own = leaf_ranges(arithmetic.leaves, exchange.world)[exchange.rank]
    arriving = iter(micro_batches)
    for leaf in own:
        rows = next(arriving)
        assert rows.leaf == leaf, f"leaf {rows.leaf} came where {leaf} was due"
        enable_denormals()  # the model may have loaded a library that disables them
        contribution = leaf_contribution(replica, step, rows)
        if twice and leaf == own[-1]:
            _require_equal(replica, contribution, leaf_contribution(replica, step, rows))
        stack.push(leaf, contribution)
    enable_denormals()
    stop_all = exchange.any_of(stop)
    total = exchange.reduce(stack.parts(), leaves=arithmetic.leaves)
    scalars = _update(replica, total, rate=rate, step=step)
    return _result(replica, scalars, rate=rate, stop=stop_all)


def _require_equal(replica: Replica, once: Contribution, again: Contribution) -> None:
    for name, first, second in zip(contribution_names(replica), once, again, strict=True):
        if not same_bits(first, second):
            raise ModelOutputError(
                f"not deterministic: {name} differs when a leaf is computed twice; "
                "keep no state outside of BatchNorm"
            )


@torch.no_grad()
def _update(replica: Replica, total: Contribution, *, rate: float, step: int) -> torch.Tensor:
    """Apply the sum over leaves, divided by L; return loss and gradient norm, shape (2,), on the device."""
    *gradients, statistics, loss = total
    leaves = replica.arithmetic.leaves
    # the fused update goes by memory order, not by index
    assert all(map(_laid_out_alike, gradients, replica.trained.values())), "gradients in another layout"
    limit = replica.arithmetic.gradient_clip_norm
    if limit is None:
        norm = _norm(gradients) / leaves
        replica.optimizer.step(gradients, rate=rate, step=step, divisor=leaves)
    else:
        torch._foreach_div_(gradients, float(leaves))
        norm = _norm(gradients)
        torch._foreach_mul_(gradients, torch.clamp(limit / (norm + 1e-6), max=1.0))
        replica.optimizer.step(gradients, rate=rate, step=step)
    if replica.average is not None:
        replica.average.update(step, scratch=gradients)
    replica.statistics.replace(statistics.div_(leaves))
    return torch.stack([loss / leaves, norm])


def _norm(tensors: list[torch.Tensor]) -> torch.Tensor:
    norm: torch.Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(tensors)))
    return norm


def _laid_out_alike(gradient: torch.Tensor, parameter: torch.Tensor) -> bool:
    steps = zip(gradient.stride(), parameter.stride(), parameter.shape, strict=True)
    return all(own == other for own, other, size in steps if size > 1)


def _result(replica: Replica, scalars: torch.Tensor, *, rate: float, stop: bool) -> StepResult:
    # both queued before the first is read: one wait for the device per step
    witness = replica.witness.sums().to("cpu", non_blocking=True)
    loss, norm = scalars.tolist()
    return StepResult(loss=loss, gradient_norm=norm, learning_rate=rate, stop=stop, witness=witness.numpy())
