"""Check of the export: a user's network, built anew, must load the model file with plain torch.

It must then hold the tensors of the trained network and give its outputs, bit for bit. It is built with
another seed, so that random values outside of state_dict() are found.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from safetensors.torch import load
from torch import nn

from seedbed.arithmetic.arithmetic_config import Arithmetic
from seedbed.arithmetic.evaluation import evaluation_logits
from seedbed.arithmetic.model_replica import Replica
from seedbed.feed import EvaluationBatch, MicroBatch
from seedbed.models.state_dict import non_persistent_buffers, same_bits, shared_tensor, stored_tensors
from seedbed.runs.tensor_serialization import serialize
from seedbed.training.worker_config import WorkerConfig
from seedbed.usercode import UserModel, load_entrypoint
from seedbed.usercode.user_error_messages import network_error

_OWN = "let load_state_dict() and state_dict() be torch's own"


def check_builds(user: UserModel, network: nn.Module, arithmetic: Arithmetic) -> nn.Module:
    """Build another network like `network`; reject tensors that both share, and uninitialised memory.

    Raises UserError ModelError. Return the other network.
    """
    with _filled_memory():
        built = user.build(classes=arithmetic.classes, seed=arithmetic.seed)
    name = shared_tensor(network, built)
    if name is not None:
        problem = f"{name} is one tensor in every network that build returns: trained once, trained for all"
        raise network_error(user.entrypoint, problem, "make it anew within build")
    return built


def check_export(
    user: UserModel,
    network: nn.Module,
    built: nn.Module,
    arithmetic: Arithmetic,
    rows: MicroBatch,
    *,
    device: str,
) -> None:
    """Reject a network whose export would not give the same network. Raises UserError ModelError.

    `network` and `built` are as `check_builds` takes and returns them.
    """
    _require_initialised(user, network, built)
    _require_no_parameters_outside(user)
    left_out = {name: buffer.clone() for name, buffer in non_persistent_buffers(built).items()}
    built_replica = Replica(arithmetic, built, device, objective=user.objective)
    fresh = load_export(user, arithmetic, serialize(built_replica.named_weights()))
    for name, buffer in non_persistent_buffers(fresh).items():
        if name not in left_out or not same_bits(buffer, left_out[name]):
            problem = f"{name} is drawn at random and not in state_dict(), so that it would be lost"
            raise network_error(user.entrypoint, problem, "register it with persistent=True")
    loaded = Replica(arithmetic, fresh, device, objective=user.objective)
    if not same_bits(*(_outputs(user, replica, rows) for replica in (built_replica, loaded))):
        problem = (
            "the exported model gives other outputs when it is loaded: it draws what is not in state_dict()"
        )
        fix = "register what is drawn as a buffer, and keep layers in nn.ModuleList or nn.ModuleDict"
        raise network_error(user.entrypoint, problem, fix)


@contextlib.contextmanager
def _filled_memory() -> Iterator[None]:
    """Make deterministic mode fill the memory of torch.empty with NaN, or the largest integer."""
    switches: Any = torch.utils.deterministic
    before = switches.fill_uninitialized_memory
    switches.fill_uninitialized_memory = True
    try:
        yield
    finally:
        switches.fill_uninitialized_memory = before


def _require_initialised(user: UserModel, network: nn.Module, filled: nn.Module) -> None:
    own, other = (stored_tensors(each) | non_persistent_buffers(each) for each in (network, filled))
    for name, tensor in own.items():
        if name in other and not same_bits(tensor, other[name]):
            problem = f"{name} holds uninitialised memory, which differs from process to process"
            raise network_error(user.entrypoint, problem, "give it a value: torch.empty gives none")


def _require_no_parameters_outside(user: UserModel) -> None:
    """Reject parameters of the entrypoint itself that got gradients: no optimizer trains them."""
    for name, value in getattr(user.subject, "__dict__", {}).items():
        if isinstance(value, torch.Tensor):
            own = {name: value}
        elif isinstance(value, nn.Module):
            own = {f"{name}.{below}": parameter for below, parameter in value.named_parameters()}
        else:
            continue
        for path, parameter in own.items():
            if parameter.is_leaf and parameter.grad is not None:
                problem = f"{path} of the entrypoint gets a gradient and is no parameter of the network"
                fix = "make it a layer of what build returns, or freeze it"
                raise network_error(user.entrypoint, problem, fix)


def require_loadable(config: WorkerConfig, weights: Mapping[str, torch.Tensor]) -> None:
    """Reject an export that plain torch cannot load: user code may have changed since `check_export`."""
    source = config.model
    if source.external is not None:
        user = load_entrypoint(source.external, source.args, source.code)
        load_export(user, config.arithmetic, serialize(weights))


def load_export(user: UserModel, arithmetic: Arithmetic, model_file: bytes) -> nn.Module:
    """Return a freshly built network with the tensors of a model file, loaded as plain torch loads them.

    Raises UserError ModelError where it rejects them, or holds other values afterwards.
    """
    given = load(model_file)
    fresh = user.build(classes=arithmetic.classes, seed=arithmetic.seed + 1)
    problem = _load_problem(fresh, given)
    if problem is not None:
        raise network_error(user.entrypoint, *_load_error(user, arithmetic, given, problem))
    return fresh


def _load_problem(network: nn.Module, given: Mapping[str, torch.Tensor]) -> str | None:
    """Load the tensors; return the problem, None if they are loaded unchanged."""
    try:
        network.load_state_dict({name: tensor.clone() for name, tensor in given.items()}, strict=True)
    except Exception as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    own = stored_tensors(network)
    for name in sorted(given.keys() | own.keys()):
        if name not in own or name not in given or not same_bits(own[name], given[name]):
            return f"{name} has another value afterwards"
    return None


def _load_error(
    user: UserModel, arithmetic: Arithmetic, given: Mapping[str, torch.Tensor], problem: str
) -> tuple[str, str]:
    """Return problem and fix; name the missing versions of the state_dict where only they are missing."""
    again = user.build(classes=arithmetic.classes, seed=arithmetic.seed + 1)
    versioned = again.state_dict()
    versioned.clear()
    versioned.update(given)
    problem_text = f"load_state_dict() does not take the exported model: {problem}"
    if _loads_with_versions(again, versioned):
        problem_text = (
            f"load_state_dict() wants versions (_metadata), which a model file does not hold: {problem}"
        )
        return problem_text, "let _load_from_state_dict() take a missing version for the present one"
    return problem_text, _OWN


def _loads_with_versions(network: nn.Module, versioned: Mapping[str, torch.Tensor]) -> bool:
    try:
        network.load_state_dict(versioned, strict=True)
    except Exception:
        return False
    own = stored_tensors(network)
    return all(name in own and same_bits(own[name], tensor) for name, tensor in versioned.items())


def _outputs(user: UserModel, replica: Replica, rows: MicroBatch) -> torch.Tensor:
    batch = EvaluationBatch(
        index=0,
        count=len(rows.labels_m),
        rows_b=rows.rows_m,
        labels_b=rows.labels_m,
        pixels_bhwc=rows.pixels_mhwc,
    )
    with (
        user.attribute_errors("forward"),
        contextlib.closing(evaluation_logits(replica, [batch], split="test")) as evaluated,
    ):
        return next(logits_bk for _, logits_bk in evaluated)
