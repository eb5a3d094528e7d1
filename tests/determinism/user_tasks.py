"""Training a user's network in a group of workers: steps with evaluations in between, from a state or the start."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import numpy as np
import torch

from seedbed.arithmetic.arithmetic_config import ParameterGroup
from seedbed.arithmetic.evaluation import evaluate
from seedbed.arithmetic.model_replica import Replica
from seedbed.arithmetic.optimizer_step import run_step
from seedbed.arithmetic.reduction_tree import leaf_ranges
from seedbed.arithmetic.subtree_exchange import Exchange
from seedbed.arithmetic.tensor_digests import weights_digest
from seedbed.usercode.entrypoint_loader import load_entrypoint
from support.gloo.cases import CLASSES, PIXELS, Case, rows_of
from support.gloo.tasks import EvaluationRows, State
from support.networks.accepted_networks import one_digest

CASE = Case(leaves=5, leaf_rows=3, steps=6)
"""An odd number of leaves: the mean of equal values is then not always that value."""
BATCHES = 4


@dataclass(frozen=True, kw_only=True)
class UserRun:
    """A stretch of steps of a user's network."""

    network: str
    """A network of `accepted_networks`, or `library/name`."""
    args: tuple[tuple[str, str], ...] = ()
    """Arguments of a library's network."""
    pixels: int = PIXELS
    frozen: tuple[str, ...] = ()
    groups: tuple[ParameterGroup, ...] = ()
    first: int = 0
    stop: int = CASE.steps
    state: State | None = None
    evaluates: bool = True


@dataclass(frozen=True, kw_only=True)
class UserOutcome:
    """What one worker has after a stretch."""

    digest: str
    counts: tuple[tuple[int, ...], ...]
    """Of the evaluation after each second step."""
    state: State


def train_network(exchange: Exchange, run: UserRun) -> UserOutcome:
    """Run steps first … stop - 1, evaluating after each second one."""
    replica = replica_of(run)
    if run.state is not None:
        replica.load({name: torch.from_numpy(value) for name, value in run.state.items()})
    own = leaf_ranges(CASE.leaves, exchange.world)[exchange.rank]
    counts = []
    for step in range(run.first, run.stop):
        batches = [rows_of(CASE, step, leaf, pixels=run.pixels) for leaf in own]
        run_step(replica, step, batches, exchange, total_steps=CASE.steps)
        if step % 2 and run.evaluates:
            counts.append(_evaluated(replica, exchange, pixels=run.pixels))
    return UserOutcome(
        digest=weights_digest(replica.named_weights()),
        counts=tuple(counts),
        state={name: value.numpy().copy() for name, value in replica.named_state().items()},
    )


def replica_of(run: UserRun) -> Replica:
    """Return a fresh replica, the same on every worker."""
    arithmetic = replace(CASE.arithmetic, frozen=run.frozen, groups=run.groups)
    if "/" in run.network:
        network = load_entrypoint(run.network, dict(run.args)).build(classes=CLASSES, seed=3)
        return Replica(arithmetic, network)
    random.seed(3)
    np.random.seed(3)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = one_digest()[run.network](CLASSES)
    return Replica(arithmetic, model)


def _evaluated(replica: Replica, exchange: Exchange, *, pixels: int) -> tuple[int, ...]:
    batches = [
        EvaluationRows(index=index, count=4, rows=rows_of(CASE, 90, index, pixels=pixels))
        for index in range(exchange.rank, BATCHES, exchange.world)
    ]
    counts = evaluate(replica, batches, exchange, split="validation")
    return tuple(counts.as_vector().tolist())
