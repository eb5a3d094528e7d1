"""Faults planted into a worker, one per promise; each must turn a check red. Used by tests and by nothing else."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from unittest import mock

import torch
import torch.distributed as dist

from seedbed.arithmetic import generator_seeding, reduction_tree
from seedbed.arithmetic import leaf_gradient as leaf_module
from seedbed.arithmetic import optimizer_step as step
from seedbed.arithmetic.batchnorm_statistics import RunningStatistics
from seedbed.arithmetic.flat_vector import layout_of
from seedbed.arithmetic.leaf_gradient import Contribution
from seedbed.arithmetic.reduction_tree import leaf_ranges
from seedbed.arithmetic.subtree_exchange import Exchange, Parts, PointToPointExchange

Mutation = Callable[[Exchange], contextlib.AbstractContextManager[Exchange | None]]


class SumCollective(PointToPointExchange):
    """Adds what the workers hold by a sum collective, whose order depends on W."""

    def reduce(self, parts: Parts, *, leaves: int) -> Contribution:
        first, *rest = parts.values()
        for part in rest:
            torch._foreach_add_(first, part)
        layout = layout_of(first, slices=self.world)
        vector = torch.zeros(layout.size)
        torch._foreach_copy_(layout.views(vector), first)
        dist.all_reduce(vector)  # the fault
        return layout.views(vector)


class ZeroForMissing(PointToPointExchange):
    """Starts the sum from 0.0, as if a missing leaf had contributed it."""

    def reduce(self, parts: Parts, *, leaves: int) -> Contribution:
        total = super().reduce(parts, leaves=leaves)
        return [tensor.add_(0.0) for tensor in total]


class LocalCarryStack(reduction_tree.CarryStack[Contribution]):
    """Counts leaves from the start of the worker's range, as a binary counter does."""

    def push(self, leaf: int, contribution: Contribution) -> None:
        self._pushed = getattr(self, "_pushed", 0) + 1
        self._stack.append(((leaf, leaf + 1), contribution))
        count = self._pushed
        while count % 2 == 0 and len(self._stack) > 1:
            (left, left_part), (right, right_part) = self._stack[-2:]
            del self._stack[-2:]
            self._stack.append(((left[0], right[1]), self._combine(left_part, right_part)))
            count //= 2

    def parts(self) -> dict[reduction_tree.Node, Contribution]:
        """Name the wrong sums after the right subtrees where the counts allow, as an unchecked exchange would."""
        own = range(self._stack[0][0][0], self._stack[-1][0][1])
        right = reduction_tree.subtrees(own.start, own.stop, self.leaves)
        return dict(zip(right, (part for _, part in self._stack), strict=True))


def _exchange_by(kind: type[PointToPointExchange]) -> Mutation:
    @contextlib.contextmanager
    def plant(exchange: Exchange) -> Iterator[Exchange | None]:
        yield kind(key=bytes(32)) if isinstance(exchange, PointToPointExchange) else None

    return plant


@contextlib.contextmanager
def _no_restore(exchange: Exchange) -> Iterator[Exchange | None]:
    with mock.patch.object(RunningStatistics, "restore", return_value=None):
        yield None


@contextlib.contextmanager
def _seed_by_rank(exchange: Exchange) -> Iterator[Exchange | None]:
    def by_rank(seed: int, step: int, leaf: int, *, device: torch.device) -> None:
        position = leaf - leaf_ranges(4, exchange.world)[exchange.rank].start
        generator_seeding.seed_leaf(seed, step, exchange.rank * 1000 + position, device=device)

    with mock.patch.object(leaf_module, "seed_leaf", by_rank):
        yield None


@contextlib.contextmanager
def _local_carry(exchange: Exchange) -> Iterator[Exchange | None]:
    def make(leaves: int, combine: Callable[[Contribution, Contribution], Contribution]) -> LocalCarryStack:
        stack = LocalCarryStack(leaves, combine)
        stack.leaves = leaves
        return stack

    with mock.patch.object(step, "CarryStack", make):
        yield None


MUTATIONS: dict[str, Mutation] = {
    "sum collective": _exchange_by(SumCollective),
    "zero for a missing leaf": _exchange_by(ZeroForMissing),
    "no BatchNorm restore": _no_restore,
    "random numbers keyed by rank": _seed_by_rank,
    "carry stack counted locally": _local_carry,
}
