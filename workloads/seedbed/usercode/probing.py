"""The probe step: is the user's network a function of weights, rows and (seed, step, leaf)?

Two leaves are computed, computed again by a new network, and again the other way round, as another split
among workers would. What differs is named.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from seedbed.arithmetic.batches import LeafRows
from seedbed.arithmetic.config import Arithmetic
from seedbed.arithmetic.leaf import Contribution, ModelOutputError, leaf_contribution
from seedbed.arithmetic.replica import Replica
from seedbed.usercode.loading import UserModel
from seedbed.usercode.refusing import one_line, refused

PROBE_LEAVES = 2


def probe_step(
    user: UserModel, arithmetic: Arithmetic, leaves: Sequence[LeafRows], *, device: str = "cpu"
) -> None:
    """Refuse a network that gives other bits when asked again.

    `leaves` are micro-batches of step 0; the first two are used. Raises UserError ModelError
    `not deterministic: TENSOR`. Other failures of the network come out as ModelError too.
    """
    chosen = list(leaves[:PROBE_LEAVES])
    first = _replica(user, arithmetic, device)
    again = _replica(user, arithmetic, device)
    _compare(user, _weights(first), _weights(again), when="when built twice")
    answers = _contributions(user, first, chosen)
    _compare(user, answers, _contributions(user, again, chosen), when="when run twice")
    # what a leaf leaves behind in the network would make the bits depend on which worker owns it
    _compare(
        user, answers, _contributions(user, again, chosen[::-1]), when="when leaves run in another order"
    )


def _replica(user: UserModel, arithmetic: Arithmetic, device: str) -> Replica:
    network = user.build(classes=arithmetic.classes, seed=arithmetic.seed)
    try:
        return Replica(arithmetic, network, device, objective=user.objective)
    except ValueError as error:
        raise refused("entrypoint", user.entrypoint, one_line(error), "change the network") from error


def _weights(replica: Replica) -> dict[str, torch.Tensor]:
    return {f"{name} (initial value)": tensor for name, tensor in replica.named_weights().items()}


def _contributions(user: UserModel, replica: Replica, leaves: Sequence[LeafRows]) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    replica.statistics.remember()
    for rows in leaves:
        with user.blaming("forward and backward"):
            try:
                contribution = leaf_contribution(replica, 0, rows)
            except ModelOutputError as error:
                problem, _, fix = one_line(error).partition("; ")
                raise refused("entrypoint", user.entrypoint, problem, fix or "change the network") from error
        _require_dense(user, replica, contribution)
        found |= {f"{name} (leaf {rows.leaf})": t for name, t in _named(replica, contribution)}
    replica.statistics.restore()
    return found


def _require_dense(user: UserModel, replica: Replica, contribution: Contribution) -> None:
    for name, tensor in _named(replica, contribution):
        if tensor.layout != torch.strided:
            problem, fix = f"{name} is sparse, leaves add up dense ones", "build the layer with sparse=False"
            raise refused("entrypoint", user.entrypoint, problem, fix)


def _named(replica: Replica, contribution: Contribution) -> Iterator[tuple[str, torch.Tensor]]:
    names = [*(f"gradient of {name}" for name in replica.trained), "BatchNorm statistics", "loss"]
    yield from zip(names, contribution, strict=True)


def _compare(
    user: UserModel, once: dict[str, torch.Tensor], twice: dict[str, torch.Tensor], *, when: str
) -> None:
    for name in sorted(once, key=lambda name: not name.startswith("loss")):
        if name not in twice or not _same_bits(once[name], twice[name]):
            raise refused(
                "entrypoint",
                user.entrypoint,
                f"not deterministic: {name} differs {when}",
                "draw random numbers from torch alone, and keep no state outside of BatchNorm",
            )


def _same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    return torch.equal(a.reshape(-1).view(torch.uint8), b.reshape(-1).view(torch.uint8))
