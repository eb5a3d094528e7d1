"""Builds the replica of a model, built-in or of user code, with the same first weights on every worker."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from seedbed.arithmetic.arithmetic_config import Arithmetic
from seedbed.arithmetic.model_replica import Replica
from seedbed.arithmetic.torch_determinism import changed_switches, enable_denormals
from seedbed.environment.environment_pins import pinned_threads
from seedbed.environment.process_start import warn_about_hash_order
from seedbed.models.model_registry import build_model
from seedbed.models.name_patterns import matches, unused_patterns
from seedbed.runs.tensor_serialization import AVERAGE, Array, to_torch
from seedbed.training.initial_weights import start_from
from seedbed.training.worker_config import ModelSource
from seedbed.usercode.entrypoint_loader import load_entrypoint
from seedbed.usercode.process_globals import preserve_process_state
from seedbed.usercode.user_error_messages import network_error
from seedbed_api.errors import UserError, refusal


def build_replica(source: ModelSource, arithmetic: Arithmetic, *, device: str) -> Replica:
    """Return a fresh replica; `UserError("ModelError")` where the model cannot be built."""
    if source.external is not None:
        warn_about_hash_order(source.external)
        with preserve_process_state():
            user = load_entrypoint(source.external, source.args, source.code)
            _refuse_other_code(source, user.source_digest)
            enable_denormals()  # in every process: an import of the code may have disabled them
            network = user.build(classes=arithmetic.classes, seed=arithmetic.seed)
        require_determinism(source)
        check_patterns(network, arithmetic)
        _load_first_weights(network, source)
        return _replica(arithmetic, network, device, objective=user.objective)
    assert source.name is not None
    try:
        network = build_model(source.name, dict(source.args), arithmetic.classes, seed=arithmetic.seed)
    except ValueError as error:
        raise UserError("ModelError", f"spec.model.args: {error}") from error
    check_patterns(network, arithmetic)
    _load_first_weights(network, source)
    return _replica(arithmetic, network, device, objective=None)


def _load_first_weights(network: nn.Module, source: ModelSource) -> None:
    if source.weights is not None:
        start_from(network, source.weights)


def check_patterns(network: nn.Module, arithmetic: Arithmetic) -> None:
    """Reject patterns that match no parameter, and a model that is frozen whole, by the field."""
    parameters = [name for name, _ in network.named_parameters(remove_duplicate=False)]
    statistics = [name for name, _ in network.named_buffers(remove_duplicate=False)]
    groups = [group.match for group in arithmetic.groups]
    for field, patterns, names in (
        ("spec.training.freeze", arithmetic.frozen, parameters + statistics),
        ("spec.training.parameterGroups", groups, parameters),
    ):
        for pattern in unused_patterns(names, patterns):
            fix = f"names are for example {', '.join([*parameters[:3], *parameters[-2:]])}"
            raise UserError("ModelError", refusal(field, pattern, "matches no parameter of the model", fix))
    if all(matches(name, arithmetic.frozen) for name in parameters):
        fix = "leave out the last layers"
        shown = ", ".join(arithmetic.frozen)
        raise UserError(
            "ModelError", refusal("spec.training.freeze", shown, "leaves no parameter to train", fix)
        )


def _refuse_other_code(source: ModelSource, found: str) -> None:
    """Reject code with another digest than the run's, wherever it is installed."""
    if found != source.code_digest:
        problem = f"a worker found code with digest {found}"
        fix = "install one version on all machines and do not edit it during a run"
        line = refusal("spec.model.code.digest", source.code_digest, problem, fix)
        raise UserError("ModelError", line)


def require_determinism(source: ModelSource) -> None:
    """Reject user code that changed settings that bits depend on: threads, types, kernels."""
    if source.external is None or not (changed := changed_switches(threads=pinned_threads())):
        return
    problem = (
        "the code changed torch's threads or deterministic mode, types or precision, on which bits depend"
    )
    fix = f"remove calls such as {', '.join(changed)}"
    raise network_error(source.external, problem, fix)


def load_weights(replica: Replica, weights: Mapping[str, Array]) -> None:
    """Copy the tensors of a model in, as parameters and as averages; leave the optimizer state unchanged."""
    state = {name: tensor for name, tensor in replica.named_state().items() if name.startswith("optimizer.")}
    for name, tensor in to_torch(weights).items():
        state[f"model.{name}"] = tensor
        if f"{AVERAGE}.{name}" in state:
            state[f"{AVERAGE}.{name}"] = tensor
    replica.load(state)


def _replica(arithmetic: Arithmetic, network: object, device: str, *, objective: object) -> Replica:
    try:
        return Replica(arithmetic, network, device, objective=objective)  # type: ignore[arg-type]
    except ValueError as error:
        raise UserError("ModelError", f"spec.model: {error}") from error
