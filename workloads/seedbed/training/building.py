"""From a model's source to a replica with its first weights, the same on every worker."""

from __future__ import annotations

from collections.abc import Mapping

from seedbed.arithmetic.config import Arithmetic
from seedbed.arithmetic.replica import Replica
from seedbed.runs.tensors import Array, to_torch
from seedbed.training.programs import ModelSource
from seedbed_api.errors import UserError


def build_replica(source: ModelSource, arithmetic: Arithmetic, *, device: str) -> Replica:
    """Return a fresh replica; `UserError("ModelError")` where the model cannot be built."""
    if source.entrypoint is not None:
        from seedbed.usercode.loading import load_entrypoint

        user = load_entrypoint(source.entrypoint, source.args, source.code)
        network = user.build(classes=arithmetic.classes, seed=arithmetic.seed)
        return _replica(arithmetic, network, device, objective=user.objective)
    from seedbed.models.registry import build

    assert source.name is not None
    try:
        network = build(source.name, dict(source.args), arithmetic.classes, seed=arithmetic.seed)
    except ValueError as error:
        raise UserError("ModelError", f"spec.model.args: {error}") from error
    return _replica(arithmetic, network, device, objective=None)


def load_weights(replica: Replica, weights: Mapping[str, Array]) -> None:
    """Copy parameters and buffers in; the optimizer state stays."""
    state = {name: tensor for name, tensor in replica.named_state().items() if name.startswith("optimizer.")}
    replica.load(state | {f"model.{name}": tensor for name, tensor in to_torch(weights).items()})


def _replica(arithmetic: Arithmetic, network: object, device: str, *, objective: object) -> Replica:
    try:
        return Replica(arithmetic, network, device, objective=objective)  # type: ignore[arg-type]
    except ValueError as error:
        raise UserError("ModelError", f"spec.model: {error}") from error
