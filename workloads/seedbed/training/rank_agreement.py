"""Do all workers hold the same? They compare at every evaluation and checkpoint; what differs is named.

Each holds all weights and computes the same update, so a difference comes from what leaves left behind in a
network where no probe found it, or from a machine that computes wrongly.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from seedbed.arithmetic.model_replica import Replica
from seedbed.arithmetic.subtree_exchange import Exchange
from seedbed.arithmetic.tensor_digests import tensor_digest
from seedbed.models.state_dict import left_out_buffers
from seedbed.training.worker_config import WorkerConfig
from seedbed_api.errors import InfrastructureError, SeedbedError, UserError, refusal

Steps: TypeAlias = Mapping[int, tuple[float, npt.NDArray[np.int64]]]
"""0-based step -> loss and witness, as in a part of the ledger."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """What one worker holds."""

    steps: Steps
    """Since the last checkpoint."""
    digests: Mapping[str, str]
    """sha256 of every parameter, buffer and tensor of the optimizer."""


def account_of(replica: Replica, steps: Steps) -> Account:
    """Return what a worker holds, its buffers with persistent=False included."""
    tensors = replica.named_state()
    tensors |= {f"model.{name}": tensor for name, tensor in left_out_buffers(replica.model).items()}
    return Account(
        steps=steps, digests={name: tensor_digest(tensors[name]).sha256 for name in sorted(tensors)}
    )


def first_disagreement(accounts: Sequence[Account], *, witness: Sequence[str]) -> tuple[int, str] | None:
    """Return completed steps and name of the first tensor that differs; None where all workers agree.

    `witness` names the tensors of the witness in order. A tensor that it does not have is of the last step.
    """
    first, *others = accounts
    for step in sorted(first.steps):
        for other in others:
            differs = np.flatnonzero(first.steps[step][1] != other.steps[step][1])
            if len(differs):
                return step + 1, witness[int(differs[0])]
    completed = max(first.steps, default=-1) + 1
    for name in first.digests:
        if any(other.digests.get(name) != first.digests[name] for other in others):
            return completed, name.removeprefix("model.")
    return None


def require_agreement(
    program: WorkerConfig, exchange: Exchange, account: Account, *, witness: Sequence[str]
) -> None:
    """Raise the same error on every worker if their accounts differ.

    UserError ModelError for a network of the user's, else InfrastructureError WorkersLost.
    """
    gathered = exchange.gather_bytes(pickle.dumps(account))
    found = None
    if exchange.rank == 0:
        found = first_disagreement([pickle.loads(each) for each in gathered], witness=witness)
    found = pickle.loads(exchange.broadcast_bytes(pickle.dumps(found)))
    if found is not None:
        raise _apart(program, completed=found[0], name=found[1])


def _apart(program: WorkerConfig, *, completed: int, name: str) -> SeedbedError:
    problem = f"{name} differs between workers after step {completed}"
    if program.model.entrypoint is None:
        return InfrastructureError("WorkersLost", f"{problem}: a machine computes wrongly")
    fix = "keep no state outside of BatchNorm, and leave parameters to the optimizer"
    line = refusal("spec.model.entrypoint", program.model.entrypoint, f"not deterministic: {problem}", fix)
    return UserError("ModelError", line)
