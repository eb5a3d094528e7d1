"""Agreement of ranks: at each evaluation and checkpoint all workers compare what they hold, tensor by tensor.

Each worker holds all weights and computes the same update. A difference comes from state that a leaf left
behind in the user's network and that no probe found, or from a machine that computes wrongly.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from seedbed.arithmetic.model_replica import Replica
from seedbed.arithmetic.subtree_exchange import Exchange
from seedbed.arithmetic.tensor_digests import tensor_digest
from seedbed.models.state_dict import non_persistent_buffers
from seedbed.runs.ledger_exchange import Steps, parse_steps, require_array, step_arrays
from seedbed.runs.tensor_serialization import deserialize, serialize
from seedbed.training.run_state import RunContext, RunState
from seedbed.training.worker_config import WorkerConfig
from seedbed.usercode.user_error_messages import network_error
from seedbed_api.errors import InfrastructureError, SeedbedError


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerDigests:
    """Digests of all tensors of one worker."""

    steps: Steps
    """Since the last checkpoint."""
    tensors: Mapping[str, str]
    """sha256 of every parameter, buffer and tensor of the optimizer."""

    def to_bytes(self) -> bytes:
        """Return the digests as safetensors bytes."""
        names = np.frombuffer(json.dumps(dict(self.tensors)).encode(), dtype=np.uint8)
        return serialize({"tensors": names, **step_arrays(self.steps)})

    @classmethod
    def from_bytes(cls, data: bytes) -> WorkerDigests:
        """Return the digests of another worker; ValueError for other bytes."""
        arrays = deserialize(data)
        require_array(arrays, "tensors", "uint8", (None,))
        tensors = json.loads(arrays["tensors"].tobytes())
        if not (isinstance(tensors, dict) and all(isinstance(each, str) for each in tensors.values())):
            raise ValueError("tensors is no JSON object of digests")
        return cls(steps=parse_steps(arrays), tensors=tensors)


class RankAgreement:
    """Compares the workers of a run, once per completed step."""

    def __init__(self, context: RunContext, state: RunState) -> None:
        self._context, self._state = context, state
        self._agreed_step = 0

    def require(self) -> None:
        """Raise the same error on every worker if they differ; see `require_agreement`."""
        context, completed = self._context, self._state.completed
        if context.exchange.world > 1 and self._agreed_step < completed:
            digests = worker_digests(context.replica, self._state.ledger.steps)
            witness = list(context.replica.witnessed())
            require_agreement(context.config, context.exchange, digests, witness=witness)
            self._agreed_step = completed


def worker_digests(replica: Replica, steps: Steps) -> WorkerDigests:
    """Return the digests of a worker's tensors, including buffers with persistent=False."""
    tensors = replica.named_state()
    tensors |= {f"model.{name}": tensor for name, tensor in non_persistent_buffers(replica.model).items()}
    return WorkerDigests(
        steps=steps, tensors={name: tensor_digest(tensors[name]).sha256 for name in sorted(tensors)}
    )


def first_disagreement(workers: Sequence[WorkerDigests], *, witness: Sequence[str]) -> tuple[int, str] | None:
    """Return completed steps and name of the first tensor that differs; None where all workers agree.

    `witness` names the tensors of the witness in order. A tensor that it does not have is of the last step.
    """
    first, *others = workers
    for step in sorted(first.steps):
        for other in others:
            differs = np.flatnonzero(first.steps[step][1] != other.steps[step][1])
            if len(differs):
                return step + 1, witness[int(differs[0])]
    completed = max(first.steps, default=-1) + 1
    for name in first.tensors:
        if any(other.tensors.get(name) != first.tensors[name] for other in others):
            return completed, name.removeprefix("model.")
    return None


def require_agreement(
    config: WorkerConfig, exchange: Exchange, digests: WorkerDigests, *, witness: Sequence[str]
) -> None:
    """Raise the same error on every worker if their digests differ.

    UserError ModelError for a network of the user's, else InfrastructureError WorkersLost.
    """
    gathered = exchange.gather_bytes(digests.to_bytes())
    found = None
    if exchange.rank == 0:
        found = first_disagreement([WorkerDigests.from_bytes(each) for each in gathered], witness=witness)
    agreed = json.loads(exchange.broadcast_bytes(json.dumps(found).encode()))
    if agreed is not None:
        completed, name = agreed
        raise _disagreement(config, completed=int(completed), name=str(name))


def _disagreement(config: WorkerConfig, *, completed: int, name: str) -> SeedbedError:
    problem = f"{name} differs between workers after step {completed}"
    if config.model.external is None:
        return InfrastructureError("WorkersLost", f"{problem}: a machine computes wrongly")
    fix = "keep no state outside of BatchNorm, and leave parameters to the optimizer"
    return network_error(config.model.external, f"not deterministic: {problem}", fix)
